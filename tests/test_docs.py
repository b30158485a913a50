"""Every Python block of the README and the docs runs, page by page, top to bottom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskroute.broker.embedded.transport import drop

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_BLOCKS = [page for page in PAGES if BLOCK.search(page.read_text())]


@pytest.fixture(autouse=True)
def fresh_broker() -> Iterator[None]:
    drop()
    yield
    drop()


def test_the_pages_that_teach_have_examples() -> None:
    names = {page.name for page in WITH_BLOCKS}
    assert names >= {"README.md", "index.md", "quickstart.md", "concepts.md", "publishing.md", "embedded.md"}


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.name)
def test_every_block_runs(page: Path) -> None:
    text = page.read_text()
    namespace: dict[str, object] = {"__name__": page.stem}
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block[1], str(page), "exec"), namespace)

"""Every Python block of the README and the docs runs, page by page, top to bottom, and prints what the page says.

A block that begins with ```python runs on the embedded broker. One with ```python rabbitmq needs a server: it is
compiled everywhere, and runs where RabbitMQ is, after what stands before it, with the URL in the variable AMQP_URL.
One with ```python folder/name.py is a file of a program that its page's test puts together.
A block of ```text straight after one is what it prints; "…" in it stands for anything.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
from tests.kit.peer import looking

import taskroute
from taskroute.broker.embedded.transport import drop
from taskroute.graph.check.code import Code
from taskroute.message import outcome

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]
BLOCK = re.compile(
    r"^```python(?: (?P<kind>rabbitmq|\S+\.py))?\n(?P<code>.*?)^```$(?:\n+^```text\n(?P<prints>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
FENCE = re.compile(r"^ *`{3,} *\{?\w*py.*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of Python on a page, and how many lines of the page are before it."""

    lines_before: int
    code: str
    kind: str | None
    prints: str | None


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for block in BLOCK.finditer(text):
        yield Block(text.count("\n", 0, block.start("code")), block["code"], block["kind"], block["prints"])


def run(blocks: list[Block], file: Path) -> None:
    """Run them in one namespace, as parts of a file that has each line where the page has it."""
    source = ""
    for block in blocks:
        source += "\n" * (block.lines_before - source.count("\n")) + block.code
    file.write_text(source)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        code = compile("\n" * block.lines_before + block.code, str(file), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, namespace)
        if block.prints is not None:
            pattern = re.escape(block.prints.strip()).replace("…", ".*")
            assert re.fullmatch(pattern, printed.getvalue().strip(), re.DOTALL), printed.getvalue()


BLOCKS = {page: list(blocks_of(page)) for page in PAGES}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(autouse=True)
def fresh_broker() -> Iterator[None]:
    drop()
    yield
    drop()


def test_every_tutorial_and_guide_has_examples() -> None:
    tutorials_and_guides = (DOCS / "index.md").read_text().split(":caption: Explanation")[0]
    taught = set(re.findall(r"^([a-z-]+)$", tutorials_and_guides, re.MULTILINE)) - {"troubleshooting", "runbook"}

    assert len(taught) > 10
    assert {name for name in taught if not BLOCKS[DOCS / f"{name}.md"]} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_fence_is_a_block_that_compiles(page: Path) -> None:
    """A block that the search for blocks misses would never run."""
    fences = FENCE.findall(page.read_text())
    assert len(fences) == len(BLOCKS[page]), f"not every one of them is run: {fences}"

    for block in BLOCKS[page]:
        compile(block.code, str(page), "exec", dont_inherit=True)


def pages_with(kind: str | None) -> list[Path]:
    return [page for page, blocks in BLOCKS.items() if any(block.kind == kind for block in blocks)]


@pytest.mark.parametrize("page", pages_with(None), ids=name_of)
def test_every_block_runs_on_the_embedded_broker(page: Path, tmp_path: Path) -> None:
    run([block for block in BLOCKS[page] if block.kind is None], tmp_path / f"{page.stem}.py")


@pytest.mark.parametrize("page", pages_with("rabbitmq"), ids=name_of)
def test_every_block_runs_on_rabbitmq(
    page: Path, tmp_path: Path, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMQP_URL", rabbitmq_url)

    run([block for block in BLOCKS[page] if block.kind in (None, "rabbitmq")], tmp_path / f"{page.stem}.py")


def test_every_public_name_is_in_the_reference() -> None:
    page = (DOCS / "api.md").read_text()
    documented = set(re.findall(r"^\.\. auto\w+:: taskroute\.(\w+)$", page, re.MULTILINE))

    assert documented >= set(taskroute.__all__) - {"__version__"}


def test_tests_on_the_page_about_testing_pass(pytester: pytest.Pytester) -> None:
    source = "\n".join(block[2] for block in BLOCK.finditer((DOCS / "testing.md").read_text()))
    pytester.makepyfile(source)

    pytester.runpytest("-W", "error").assert_outcomes(passed=source.count("\ndef test_"))


@pytest.fixture
def service_of_the_tutorial(tmp_path: Path) -> Path:
    """The folder that the second part of the tutorial has its reader make."""
    for block in BLOCKS[DOCS / "service.md"]:
        assert block.kind is not None
        file = tmp_path / block.kind
        file.parent.mkdir(exist_ok=True)
        file.write_text(block.code)
    return tmp_path


def test_tests_of_the_tutorial_pass(service_of_the_tutorial: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q"]

    tests = subprocess.run(
        command, cwd=service_of_the_tutorial, capture_output=True, text=True, timeout=60, check=False
    )

    assert "4 passed" in tests.stdout, tests.stdout + tests.stderr


SHOP_THAT_TELLS = """
import runpy, sys
from shop.handlers import Warehouse
Warehouse.reserve = lambda self, number, item: print("reserved", item, file=sys.stderr, flush=True)
runpy.run_module("shop", run_name="__main__")
"""
"""`python -m shop`, which tells when its handler is called: a message that none has begun would go back at SIGTERM."""


def test_service_of_the_tutorial_handles_its_example(service_of_the_tutorial: Path, rabbitmq_url: str) -> None:
    """Both programs run as processes on RabbitMQ, and the service ends with 0 at SIGTERM."""
    start = partial(
        subprocess.Popen[str],
        cwd=service_of_the_tutorial,
        env={**os.environ, "TASKROUTE_URL": rabbitmq_url},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )

    with start([sys.executable, "-W", "error", "-c", SHOP_THAT_TELLS]) as service:
        assert service.stderr is not None
        assert "consuming queue=packing prefetch=1 " in service.stderr.readline()
        with start([sys.executable, "-W", "error", "-m", "shop.example"]) as example:
            assert example.stderr is not None
            assert example.wait(60) == 0, example.stderr.read()
        assert any("consuming queue=packing prefetch=128" in line for line in service.stderr)  # now that one has come
        assert any("reserved tea" in line for line in service.stderr)
        service.terminate()
        assert service.wait(60) == 0, service.stderr.read()

    with looking(rabbitmq_url) as peer:
        assert [peer.ready(queue) for queue in ("packing", "packing.dead")] == [0, 0]


def code_in(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", (DOCS / page).read_text()))


def test_every_error_is_explained() -> None:
    errors = {name for name in taskroute.__all__ if isinstance(getattr(taskroute, name), type(Exception))}
    raised = {name for name in errors if issubclass(getattr(taskroute, name), taskroute.TaskrouteError)}

    assert len(raised) > 20
    assert raised - code_in("troubleshooting.md") == set()


def test_every_event_of_the_log_is_explained() -> None:
    events = {event for path in (ROOT / "src").rglob("*.py") for event in logged_events(path)}

    assert events >= {"message_failed", "connect_failed", "connection_lost"}
    assert events - code_in("troubleshooting.md") == set()


def logged_events(path: Path) -> Iterator[str]:
    """Yield the first word of each log line; for a format that begins with %s, every word that may stand there."""
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            formats = [format_of(node) for node in ast.walk(function) if is_log_call(node)]
            yield from (text.split()[0] for text in formats if not text.startswith("%s"))
            if any(text.startswith("%s") for text in formats):
                yield from (text for text in strings_in(function) if re.fullmatch(r"[a-z]+(_[a-z]+)+", text))


def is_log_call(node: ast.AST) -> bool:
    """Return whether it writes a line: `log.warning`, or `tell`, a name for one of these."""
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    return name.startswith("log.") or (name == "tell" and bool(strings_in(node.args[0])))


def format_of(node: ast.AST) -> str:
    assert isinstance(node, ast.Call)
    (text,) = strings_in(node.args[0])  # a message that is put together would escape this test
    return text


def strings_in(node: ast.AST) -> list[str]:
    return [leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)]


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    assert set(get_args(outcome.Reason)) - code_in("retries.md") == set()


def test_every_finding_is_explained() -> None:
    assert set(get_args(Code)) - code_in("checking.md") == set()


@pytest.mark.parametrize("configured", [taskroute.Worker, taskroute.Publisher])
def test_every_argument_and_its_default_are_in_the_reference(configured: type) -> None:
    text = (DOCS / "configuration.md").read_text()
    section = text.split(f"\n## {configured.__name__}\n")[1].split("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \|(?: `(.+?)`)? \|", section, re.MULTILINE)
    parameters = inspect.signature(configured).parameters.values()
    expected = [(each.name, "" if each.default is each.empty else repr(each.default)) for each in parameters]

    assert sorted(documented) == sorted(expected)

"""A headless Chromium for the whole run, and pages in it that ask nobody for anything and complain of nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; where there is none the test is skipped, in CI it fails."""
    program = shutil.which("chromium")
    if program is None or find_spec("playwright") is None:
        reason = "no browser: scripts/setup --browser browser installs one"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page. At the end of the test none has asked for more, or complained."""
    context = browser.new_context()
    context.set_default_timeout(10_000)
    asked: list[str] = []
    complaints: list[str] = []

    def open_page(text: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if dark else "light")
        file = tmp_path / f"page{len(context.pages)}.html"
        file.write_text(text, encoding="utf-8")
        page.goto(file.as_uri())
        return page

    yield open_page

    pages = [page.url for page in context.pages]
    context.close()
    assert [url for url in asked if url not in pages and not url.startswith("data:")] == []
    assert complaints == []

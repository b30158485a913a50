"""Each command line of taskroute that a page shows is one that the parser takes: its sub-command and its options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from taskroute.cli.exits import UsageError
from taskroute.cli.parser import make_parser
from taskroute.cli.table import command_named

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^ *```(console|sh)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
TYPED = {"console": r"^ *\$ (?:.*; )?(taskroute .*)$", "sh": r"^ *(taskroute .*)$"}
IN_TEXT = re.compile(r"`(taskroute [a-z ]+ shop\.service:service[^`\n]*)`")


def lines_of(page: Path) -> list[str]:
    text = page.read_text()
    fenced = [line for kind, fence in FENCE.findall(text) for line in re.findall(TYPED[kind], fence, re.MULTILINE)]
    return fenced + [line for line in IN_TEXT.findall(text) if "|" not in line]


WITH_LINES = [page for page in PAGES if lines_of(page)]


def parse(line: str) -> None:
    """Raise UsageError if it is no command line."""
    _, *words = shlex.split(re.split(r" [>|] ", line)[0], comments=True)
    if words and words[0] in ("--version", "--help"):
        return
    command = command_named(words[0])
    if command is None:
        raise UsageError(f"there is no command {words[0]}")
    arguments, more = make_parser([command]).parse_known_args(words)
    if more:
        arguments.refuse(more)


@pytest.mark.parametrize("page", WITH_LINES, ids=lambda page: page.stem)
def test_command_lines_of_a_page_parse(page: Path) -> None:
    wrong = {}
    for line in lines_of(page):
        try:
            parse(line)
        except UsageError as error:
            wrong[line] = str(error)

    assert wrong == {}


def test_commands_of_the_runbook_are_found() -> None:
    lines = lines_of(ROOT / "docs" / "runbook.md")

    assert {words[1] for words in map(str.split, lines)} >= {"health", "stats", "dead", "plan", "apply", "check", "run"}
    assert len(lines) > 20


@pytest.mark.parametrize("line", ["taskroute stat a:b", "taskroute stats a:b --apis x", "taskroute dead lists a:b"])
def test_command_line_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line)

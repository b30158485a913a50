"""Markers and the page about reliability agree on which tests hold which row of the catalogue."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.mutations import MUTATIONS, SOURCE, Mutation

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "tests" / "faults", ROOT / "tests" / "cluster")
PAGE = (ROOT / "docs" / "reliability.md").read_text()
NUMBERS = [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)]
ROWS = set(NUMBERS)

Name = tuple[str, str]
"""Of a test: its file, and its function."""


def find_tests(path: Path) -> Iterator[tuple[Name, set[int]]]:
    """Yield the name and the rows of each test in a file."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield (path.name, node.name), rows_of(node)


def rows_of(test: ast.FunctionDef) -> set[int]:
    """Return the rows that the marker of a test names: 8 and 33 for `@pytest.mark.row(8, 33)`."""
    calls = [decorator for decorator in test.decorator_list if isinstance(decorator, ast.Call)]
    marks = [call for call in calls if ast.unparse(call.func) == "pytest.mark.row"]
    return {ast.literal_eval(row) for mark in marks for row in mark.args}


TESTS = {test: rows for folder in FOLDERS for path in folder.glob("test_*.py") for test, rows in find_tests(path)}


def named(text: str) -> set[Name]:
    """Return the tests that a table's cell names: ``test_x.py: `test_a`, `test_b`; test_y.py: ...``."""
    return {
        (file, name)
        for file, names in re.findall(r"(test_\w+\.py): ((?:`test_\w+`(?:, )?)+)", text)
        for name in re.findall(r"`(test_\w+)`", names)
    }


def test_page_has_each_row_once() -> None:
    assert sorted(NUMBERS) == sorted(ROWS)


def test_markers_name_rows_of_the_page_alone() -> None:
    assert set().union(*TESTS.values()) <= ROWS


@pytest.mark.parametrize("row", sorted(ROWS))
def test_row_has_tests_and_names_exactly_those(row: int) -> None:
    """Row 50 refers to the list under "Security"."""
    _, _, security = PAGE.partition("\n## Security\n")
    line = security if row == 50 else next(line for line in PAGE.splitlines() if line.startswith(f"| {row} |"))
    marked = {test for test, rows in TESTS.items() if row in rows}

    assert marked
    assert named(line) == marked


def test_every_test_named_on_the_page_exists() -> None:
    assert named(PAGE) <= TESTS.keys()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_finds_its_place_and_its_scenario(mutation: Mutation) -> None:
    assert (SOURCE / mutation.file).read_text().count(mutation.old) == 1
    path, _, test = mutation.test_path.partition("::")
    file = ROOT / path
    assert test.partition("[")[0] in {name for (_, name), _ in find_tests(file)}

"""The page about reliability names a test for every row, and every test of a row is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.faults.mutations import MUTATIONS, SOURCE, Mutation

FOLDER = Path(__file__).parent
PAGE = (FOLDER.parents[1] / "docs" / "reliability.md").read_text()
ROWS = {*range(1, 43), 48, 49, 50}
TESTS = {
    (path.name, name)
    for path in FOLDER.glob("test_*.py")
    for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
}


def named(text: str) -> set[tuple[str, str]]:
    """File and test, as a table's cell has them: ``test_x.py: `test_a`, `test_b`; test_y.py: ...``."""
    return {
        (file, name)
        for file, names in re.findall(r"(test_\w+\.py): ((?:`test_\w+`(?:, )?)+)", text)
        for name in re.findall(r"`(test_\w+)`", names)
    }


def test_every_row_is_there_once_and_names_its_tests() -> None:
    rows = {int(number): line for line in PAGE.splitlines() for number in re.findall(r"^\| (\d+) \|", line)}
    assert set(rows) == ROWS
    for number, line in rows.items():
        of_this_row = {test for test in TESTS if test[1].startswith(f"test_row_{number:02}_")}
        assert of_this_row <= named(line), number
        assert named(line) or number == 50, number


def test_every_test_that_is_named_exists() -> None:
    assert named(PAGE) <= TESTS


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_finds_its_place_and_its_scenario(mutation: Mutation) -> None:
    assert (SOURCE / mutation.file).read_text().count(mutation.old) == 1
    file, _, test = mutation.test.partition("::")
    assert (file, test.partition("[")[0]) in TESTS

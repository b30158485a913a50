"""The table of what has run agrees with the bounds that the package declares, and says of each row what it is."""

from __future__ import annotations

import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compatibility.md").read_text()
INTRODUCTION = " ".join(PAGE.partition("|")[0].split())
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
BOUNDS = {each.name: each.specifier for each in map(Requirement, PROJECT["dependencies"])}
COLUMNS = {"kombu": "kombu", "py-amqp": "amqp", "pydantic": "pydantic"}
"""Columns of the table, and the names of what they hold."""


def table() -> list[dict[str, str]]:
    lines = PAGE[PAGE.index("| RabbitMQ |") :].partition("\n\n")[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, row, strict=True)) for row in rows]


def seen() -> list[dict[str, str]]:
    return [row for row in table() if row["day"]]


def minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


@pytest.mark.parametrize("row", table(), ids=lambda row: " ".join(list(row.values())[:6]))
def test_row_lies_within_the_bounds_and_says_what_was_seen(row: dict[str, str]) -> None:
    for column, name in COLUMNS.items():
        assert row[column] == "newest" or row[column] in BOUNDS[name]
    if row["result"] == "expected, not run":
        assert row["day"] == ""
    else:
        assert re.fullmatch(r"\d[\d,]* passed(?:, \d+ failed: .+)?", row["result"])
        assert date.fromisoformat(row["day"]) >= date(2026, 11, 29)
        assert "newest" not in row.values()


def test_lowest_version_of_each_dependency_has_run() -> None:
    lowest = {column: lowest_of(BOUNDS[name]) for column, name in COLUMNS.items()}

    run = [row["suite"] for row in seen() if all(Version(row[column]) == lowest[column] for column in COLUMNS)]

    assert run == ["no server", "short"]
    for column, version in lowest.items():
        assert re.search(rf"\b{column} from {version}(?![.\d]*\d)", INTRODUCTION)


def lowest_of(bound: SpecifierSet) -> Version:
    (lowest,) = (Version(each.version) for each in bound if each.operator == ">=")
    return lowest


def test_each_version_that_the_package_and_the_workflow_name_has_a_row() -> None:
    pythons = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    (brokers,) = re.findall(r"^ +rabbitmq: \[(.*)\]$", WORKFLOW, re.MULTILINE)
    (pydantics,) = re.findall(r"^ +pydantic: \[(.*)\]$", WORKFLOW, re.MULTILINE)

    rows = table()

    assert {minor(row["Python"]) for row in rows} >= {*pythons, "3.14t"}
    assert {minor(row["RabbitMQ"]) for row in rows} >= {"3.10", *re.findall(r'"(.+?)"', brokers)}
    assert {minor(row["pydantic"]) for row in rows} >= set(re.findall(r'"(.+?)"', pydantics))


def test_bounds_of_the_extras_are_those_of_the_page() -> None:
    for extra in PROJECT["optional-dependencies"].values():
        for each in map(Requirement, extra):
            assert f"{each.name} from {lowest_of(each.specifier)}" in INTRODUCTION

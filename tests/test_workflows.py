"""The hosted workflows check what .ci/run checks, on the versions that the package says it supports."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.kit.installed import PYDANTIC

ROOT = Path(__file__).parents[1]
CI = (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_workflow_runs_every_command_of_the_ci_script() -> None:
    script = (ROOT / ".ci" / "run").read_text().replace("$bin/", ".venv/bin/")
    commands = re.findall(r"^(?:timeout -k \S+ \S+ )?((?:\.venv/bin|scripts)/.*)$", script, re.MULTILINE)

    assert len(commands) >= 9
    assert [command for command in commands if f"- run: {command}\n" not in CI] == []


def test_suite_runs_on_each_python_that_the_package_names() -> None:
    (versions,) = re.findall(r"^ +python: \[(.*)\]$", CI, re.MULTILINE)
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    named = [found[1] for each in classifiers if (found := re.fullmatch(r"Programming Language .* (3\.\d+)", each))]

    assert re.findall(r'"(.+?)"', versions) == named


def test_each_minor_of_pydantic_is_run_from_the_lowest_that_the_package_takes() -> None:
    (versions,) = re.findall(r"^ +pydantic: \[(.*)\]$", CI, re.MULTILINE)
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (lowest,) = (found[1] for each in required if (found := re.fullmatch(r"pydantic>=2\.(\d+),<3", each)))

    minors = [int(minor) for minor in re.findall(r'"2\.(\d+)"', versions)]
    assert minors == list(range(int(lowest), minors[-1] + 1))
    assert minors[-1] >= PYDANTIC[1]


def test_mypy_runs_with_the_packages_that_the_tests_import() -> None:
    (groups,) = re.findall(r"^scripts/setup --broker (.*)$", (ROOT / "scripts" / "test").read_text(), re.MULTILINE)
    (checked,) = re.findall(r"- run: scripts/setup (.*?)(?: #.*)?\n(?=      - run: \.venv/bin/ruff check)", CI)

    assert set(groups.split()) - set(checked.split()) == {"test"}  # which is part of lint

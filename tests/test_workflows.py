"""The hosted workflows check what .ci/run checks, on the versions that the package says it supports."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

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


def test_mypy_runs_with_the_packages_that_the_tests_import() -> None:
    (groups,) = re.findall(r"^scripts/setup --broker (.*)$", (ROOT / "scripts" / "test").read_text(), re.MULTILINE)
    (checked,) = re.findall(r"- run: scripts/setup (.*?)(?: #.*)?\n(?=      - run: \.venv/bin/ruff check)", CI)

    assert set(groups.split()) - set(checked.split()) == {"test"}  # which is part of lint

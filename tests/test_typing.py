"""User code under mypy and pyright, both strict: correct use passes, and every wrong use is an error."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mypy import api

import taskroute

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "typing"

Checker = Callable[[str, Path], Mapping[int, str]]
"""Checks source code, with a folder to work in, and returns the errors by line."""


def mypy(source: str, folder: Path) -> Mapping[int, str]:
    """Check it as this project is checked, pydantic's plugin included."""
    file = folder / "sample.py"
    file.write_text(source)
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(folder)]
    out, err, _ = api.run([*config, "--no-error-summary", "--hide-error-context", str(file)])
    assert err == ""
    lines = [line.split(":", 2) for line in out.splitlines() if ": error:" in line]
    assert {Path(name).name for name, *_ in lines} <= {file.name}, out
    return {int(number): text for _, number, text in lines}


def pyright(source: str, folder: Path) -> Mapping[int, str]:
    """Check it as an editor does that knows nothing of this project."""
    (folder / "sample.py").write_text(source)
    (folder / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict", "pythonVersion": "3.11"}))
    report = run_pyright("--project", str(folder))
    assert report["summary"]["filesAnalyzed"] == 1
    return {found["range"]["start"]["line"] + 1: found["message"] for found in report["generalDiagnostics"]}


def run_pyright(*arguments: str) -> Any:
    # It asks the `python` of the path where modules are.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", *arguments],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


checkers = pytest.mark.parametrize("check", [mypy, pyright], ids=lambda check: check.__name__)


@checkers
def test_correct_use_passes_the_checker(check: Checker, tmp_path: Path) -> None:
    assert check((SAMPLES / "service.py").read_text(), tmp_path) == {}


@checkers
def test_every_wrong_use_is_an_error_of_the_checker(check: Checker, tmp_path: Path) -> None:
    lines = (SAMPLES / "mistakes.py").read_text().splitlines()
    wrong = [number for number, line in enumerate(lines, 1) if "# type: ignore" in line]
    bare = "\n".join(line.partition("  # type: ignore")[0] for line in lines)

    assert sorted(check(bare, tmp_path)) == wrong
    assert len(wrong) >= 30


def test_no_type_of_the_public_api_is_left_to_be_inferred() -> None:
    """Checkers infer differently, or not at all in an installed package."""
    root = ast.parse(Path(taskroute.__file__).read_text())
    imports = [node for node in ast.walk(root) if isinstance(node, ast.ImportFrom) and "taskroute." in str(node.module)]
    public = tuple(f"{node.module}.{alias.name}." for node in imports for alias in node.names)
    symbols = run_pyright("--verifytypes", "taskroute", "--ignoreexternal")["typeCompleteness"]["symbols"]

    ours = [symbol for symbol in symbols if f"{symbol['name']}.".startswith(public)]
    assert len(ours) > 250

    vague = [symbol for symbol in ours if symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"]]
    problems = [(symbol["name"], problem["message"]) for symbol in vague for problem in symbol["diagnostics"]]
    # "Partially unknown" is the one that names another symbol, where the cause is.
    assert [problem for problem in problems if "partially unknown" not in problem[1]] == []

"""The check of commit subjects, run as the hook and as CI run it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check-commit-subject"


def run(*files: Path, subjects: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *files], input=subjects, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("Say why\n\nThe reason.\n", None),
        ("# A comment\n\nSay why\n# Another\n", None),
        ("x" * 72, None),
        ("ä" * 72, None),
        ("x" * 73, "73 characters"),
        ("x" * 40 + "\n" + "y" * 40, "81 characters"),  # git joins lines that no empty line separates
        ("Say why.", "dot"),
        ("", "empty"),
        ("# A comment\n", "empty"),
        (f"Say why\n# {'-' * 24} >8 {'-' * 24}\n# Do not touch\ndiff --git a/{'x' * 80}", None),  # git commit -v
        (f"Merge branch '{'x' * 72}' of there", None),
        ("fixup! " + "x" * 72, None),
    ],
)
def test_hook_refuses_a_message_with_a_bad_subject(message: str, problem: str | None, tmp_path: Path) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message, "utf-8")

    done = run(file)

    assert done.returncode == (problem is not None)
    assert (problem or "") in done.stderr


def test_each_line_of_standard_input_is_a_subject() -> None:
    assert run(subjects="Say why\nSay how\n").returncode == 0

    done = run(subjects="Say why\nSay how.\n\n")
    assert done.returncode == 1
    assert done.stderr.splitlines() == ["'Say how.': the subject ends with a dot", "'': the subject is empty"]

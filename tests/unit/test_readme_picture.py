"""The picture that the README shows is the one that the command makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_picture_of_the_readme_is_what_the_command_draws() -> None:
    command = [sys.executable, "-m", "taskroute", "graph", "media_pipeline:routes", "--format", "svg"]

    made = subprocess.run(command, cwd=ROOT / "examples", capture_output=True, text=True, timeout=60, check=True).stdout

    assert "(docs/diagrams/media-pipeline.svg)" in (ROOT / "README.md").read_text()
    assert made == (ROOT / "docs" / "diagrams" / "media-pipeline.svg").read_text()

"""The page about definitions: what it shows is what is printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine

PAGE = (Path(__file__).parents[2] / "docs" / "definitions.md").read_text()


def test_page_shows_what_import_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = CommandLine(tmp_path, capsys, monkeypatch)
    (definitions,) = re.findall(r"^```json broker.json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    ((command, prints),) = re.findall(r"^\$ taskroute (.*)\n((?:(?!```).*\n)*)", PAGE, re.MULTILINE)
    line.write("broker.json", definitions)

    ended = line.run(*command.split())
    line.write("printed.py", ended.out)
    exported = json.loads(line.run("schema", "printed:topology", "--format", "definitions").out)

    assert ended.out == prints
    assert [each["name"] for each in exported["queues"]] == ["mail"]
    assert exported["exchanges"] == json.loads(definitions)["exchanges"]

"""User code under mypy strict: right use passes, and every wrong use is an error."""

from __future__ import annotations

from pathlib import Path

from mypy import api

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "typing"


def check(path: Path, tmp_path: Path) -> list[str]:
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path)]
    out, err, _ = api.run([*config, "--no-error-summary", str(path)])
    assert err == ""
    return out.splitlines()


def test_right_use_passes(tmp_path: Path) -> None:
    assert check(SAMPLES / "service.py", tmp_path) == []


def test_every_wrong_use_is_an_error(tmp_path: Path) -> None:
    source = (SAMPLES / "mistakes.py").read_text()
    wrong = [number for number, line in enumerate(source.splitlines(), 1) if "# type: ignore" in line]
    bare = tmp_path / "mistakes.py"
    bare.write_text("\n".join(line.partition("  # type: ignore")[0] for line in source.splitlines()))
    found = {int(line.split(":")[1]) for line in check(bare, tmp_path) if ": error:" in line}
    assert sorted(found) == wrong
    assert len(wrong) >= 15

"""Safekeeping: a file is whole and on the disk, or is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskroute.operate.dead_letters.safekeeping import write_safely


def test_file_that_cannot_be_finished_is_not_there(tmp_path: Path) -> None:
    def lines() -> Iterator[str]:
        yield "one"
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_safely(tmp_path / "removed.jsonl", lines())

    assert list(tmp_path.iterdir()) == []


def test_file_and_its_name_are_on_the_disk_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed after it is nowhere else."""
    file, synced = tmp_path / "removed.jsonl", list[tuple[int, str]]()

    def sync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, file.read_text()))

    monkeypatch.setattr(os, "fsync", sync)

    write_safely(file, ["one", "two"])

    assert synced == [(file.stat().st_ino, "one\ntwo\n"), (tmp_path.stat().st_ino, "one\ntwo\n")]

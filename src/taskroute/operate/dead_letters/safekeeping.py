"""Safekeeping: a file that has what is about to be removed, and has it on the disk before that."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_safely(path: Path, lines: Iterable[str]) -> None:
    """Make a file of lines that only its owner may read, and return once it is on the disk.

    Raises:
        OSError: it is there already, or cannot be written; it is not there then.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Have the name of a new file on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

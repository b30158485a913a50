"""What is installed beside the library, where a test expects another thing of another version."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final


def minor(distribution: str) -> tuple[int, int]:
    """Return the first two numbers of the version that is installed."""
    first, second, *_ = version(distribution).split(".")
    return int(first), int(second)


PYDANTIC: Final = minor("pydantic")

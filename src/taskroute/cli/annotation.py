"""Annotation: a line that GitHub shows at a place of a pull request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_LEVELS: Final = {"error": "error", "warning": "warning", "info": "notice"}


def show_annotation(severity: str, message: str, properties: Mapping[str, str]) -> None:
    """Print a workflow command.

    Args:
        severity: ``error``, ``warning`` or ``info``.
        message: of any text.
        properties: ``file``, ``line`` and ``title``.
    """
    fields = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    print(f"::{_LEVELS[severity]} {fields}::{_escaped(message)}")


def _escaped(text: str, also: str = "") -> str:
    return "".join(f"%{ord(each):02X}" if each in f"%\r\n{also}" else each for each in text)

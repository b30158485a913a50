"""Whole numbers: which of them are read as a float. Pydantic is asked, as before 2.12 it reads no long ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import SchemaValidator, ValidationError

_LONG: Final = 10**18
"""The first that an older pydantic does not read, neither as positive nor as negative number."""


def _are_long_ones_read() -> bool:
    try:
        SchemaValidator({"type": "float"}).validate_json(str(_LONG))
    except ValidationError:
        return False
    return True


_ALL_ARE_READ: Final = _are_long_ones_read()
LARGE: Final = 2**70 if _ALL_ARE_READ else _LONG - 1
"""An example that is read as a float."""

NOT_READ: Final = f"pydantic before 2.12 reads no whole number of {len(str(_LONG))} digits as a float"


def is_read_as_float(number: int) -> bool:
    """Return whether a whole number is read as a float."""
    return _ALL_ARE_READ or -_LONG < number < _LONG


def are_read_as_floats(given: Mapping[str, Any]) -> bool:
    """Return whether all whole numbers within the constraints `given` are read as floats."""
    least = given.get("ge", given.get("gt", -_LONG - 1) + 1)
    most = given.get("le", given.get("lt", _LONG + 1) - 1)
    return is_read_as_float(least) and is_read_as_float(most)

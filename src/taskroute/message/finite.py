"""Finite: where a value has numbers that are NaN or infinite, which neither JSON nor a broker takes. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

Place = tuple[str, ...]
"""Names of fields and numbers of items, from the outside in."""


def not_finite(value: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the places of numbers that are NaN or infinite."""
    if isinstance(value, float | Decimal):
        if not (math.isfinite(value) if isinstance(value, float) else value.is_finite()):
            yield place
    elif isinstance(value, str | bytes | int):
        return
    elif isinstance(value, Mapping):
        for key, inside in value.items():
            yield from not_finite(key, (*place, "a key"))
            yield from not_finite(inside, (*place, str(key)))
    elif isinstance(value, list | tuple | AbstractSet):
        for at, inside in enumerate(value):
            yield from not_finite(inside, (*place, str(at)))
    else:
        for name, inside in (*declared(value), *extra(value).items()):
            yield from not_finite(inside, (*place, name))


def declared(value: Any) -> Iterable[tuple[str, Any]]:
    """Return the fields of a model or a dataclass, with their values; nothing for any other value."""
    if isinstance(value, BaseModel):
        names: Iterable[str] = type(value).model_fields
    else:
        names = (field.name for field in fields(value)) if is_dataclass(value) else ()
    return ((name, getattr(value, name)) for name in names if hasattr(value, name))


def extra(value: Any) -> Mapping[str, Any]:
    """Return what a model holds besides its fields."""
    return (isinstance(value, BaseModel) and value.model_extra) or {}

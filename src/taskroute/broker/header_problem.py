"""Header problem: which header AMQP cannot carry, of what kind it is, and what to send instead. Never its value.

Looked for only once a table could not be encoded. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from taskroute.broker.header_table import MAX_DEPTH, encode_table
from taskroute.message.finite import Place
from taskroute.quoting import quoted

_CARRIED: Final = "AMQP has text, numbers, bool, bytes, datetime, None, lists and dicts of them"

_WAYS_OUT: Final[tuple[tuple[tuple[type, ...], str, str], ...]] = (
    ((Enum,), "", "value.value"),
    ((int,), " beyond 64 bits", "str(value)"),
    ((Decimal,), " beyond AMQP's 32 bits", "str(value)"),
    ((datetime,), " before 1970", "value.isoformat()"),
    ((date, time), "", "value.isoformat()"),
    ((timedelta,), "", "value.total_seconds()"),
    ((bytearray, memoryview), "", "bytes(value)"),
    ((PurePath, UUID), "", "str(value)"),
    ((AbstractSet,), "", "list(value)"),
    ((BaseModel,), "", "value.model_dump(mode='json')"),
    ((Mapping,), "", "dict(value)"),
)
"""Types, why AMQP cannot carry a value of one that it has, and what to send."""


def is_too_deep(value: object, levels: int = MAX_DEPTH) -> bool:
    """Return whether a value has more lists and dicts inside of each other than are read, or contains itself."""
    if not isinstance(value, dict | list | tuple):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_too_deep(each, levels - 1) for each in inside)


def header_problem(headers: Mapping[str, object]) -> str:
    """Return what keeps headers from being encoded. They are not too deep."""
    for name, value in headers.items():
        for place, problem in _problems(value, ()):
            where = f" at {quoted('.'.join(place))}" if place else ""
            return f"header {name!r} {problem[0]}{where}: {problem[1]}"
    return "AMQP cannot carry the headers: send texts and numbers"


def _problems(value: Any, place: Place) -> Iterator[tuple[Place, tuple[str, str]]]:
    """Yield each place of a value that cannot be encoded, what it is, and the way out."""
    if _is_encoded(value):
        return
    if isinstance(value, dict):
        for key, inside in value.items():
            if not _is_encoded({key: None}):
                yield (
                    place,
                    (f"has a key that is {_kind(key)}", "AMQP has texts of 255 bytes at most: send a short one"),
                )
            yield from _problems(inside, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for at, inside in enumerate(value):
            yield from _problems(inside, (*place, str(at)))
    else:
        why, way_out = next((rest for kinds, *rest in _WAYS_OUT if isinstance(value, kinds)), ("", "a text"))
        if is_dataclass(value):
            way_out = "dataclasses.asdict(value)"
        yield place, (f"is {_kind(value)}{why}", f"{_CARRIED}: send {way_out}")


def _is_encoded(value: object) -> bool:
    try:
        encode_table({"": value})
    except Exception:  # noqa: BLE001 - py-amqp raises many kinds
        return False
    return True


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"

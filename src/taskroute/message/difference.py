"""Difference: where a value that was read is not the one that was written. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import from_json, to_json

from taskroute.message.finite import Place, declared, extra

ARRAYS: Final = (list, tuple, deque)
"""JSON has one array for them: each may be read as another one."""

_TEXT: Final = frozenset({str})
_JSON_VALUES: Final = (str, int, float, list, dict)


def differences(given: Any, read: Any, is_typed: bool, place: Place = ()) -> Iterator[Place]:
    """Yield the places where a value that was read is not the one that was given. What is private is not compared."""
    if isinstance(given, type(read)) and (isinstance(read, BaseModel) or is_dataclass(read)):
        names = dict(declared(read))
        if place:  # a body's type is chosen by who declares it, with what a subclass adds left out
            yield from ((*place, name) for name, _ in declared(given) if name not in names)
        for name, inside in names.items():
            yield from differences(getattr(given, name, None), inside, is_typed, (*place, name))
        yield from differences(extra(given), extra(read), False, place)
    elif isinstance(given, Mapping) and isinstance(read, Mapping):
        yield from _of_mappings(given, read, is_typed, place)
    elif isinstance(given, ARRAYS) and isinstance(read, ARRAYS) and len(given) == len(read):
        for at, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from differences(one, other, is_typed, (*place, str(at)))
    elif not _is_same(given, read) and (is_typed or not _is_same_json(given, read)):
        yield place


def _of_mappings(given: Mapping[Any, Any], read: Mapping[Any, Any], is_typed: bool, place: Place) -> Iterator[Place]:
    if not is_typed and _TEXT.issuperset(map(type, read)):
        given = {key if type(key) is str else _as_text(key): inside for key, inside in given.items()}
    if given.keys() != read.keys():
        yield place
        return
    for key, inside in given.items():
        yield from differences(inside, read[key], is_typed, (*place, str(key)))


def _as_text(key: Any) -> Any:
    """Return a key as JSON has it."""
    return next(iter(from_json(to_json({key: None}))))


def _is_same(given: Any, read: Any) -> bool:
    return isinstance(given, bool) is isinstance(read, bool) and bool(given == read)


def _is_same_json(given: Any, read: Any) -> bool:
    """Return whether a value was read as JSON has it: a moment as a text, where a type says nothing."""
    is_secret = hasattr(given, "get_secret_value")
    return not is_secret and isinstance(read, _JSON_VALUES) and to_json(given) == to_json(read)

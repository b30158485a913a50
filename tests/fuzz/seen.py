"""What is seen of a broker, as plain values that can be compared and shown: types count, the time of day does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")

Seen = object
"""Tuples, texts and numbers."""

_OF_DELIVERY = ("consumer_tag", "delivery_tag", "redelivered", "exchange", "routing_key")
"""Not the `message_count` of a get, which is what a queue knows at that moment: the count is looked at afterwards."""


def seen(value: object) -> Seen:
    """Return a value of a table, such that only values of the same type are equal."""
    if isinstance(value, Mapping):
        return {str(key): "a moment" if key == "time" else seen(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [seen(item) for item in value]
    if isinstance(value, str | bytes | type(None)):
        return value
    return (type(value).__name__, value.isoformat() if isinstance(value, datetime) else value)


def seen_message(message: Any) -> Seen:
    """Return all that a delivery carries."""
    info = {name: message.delivery_info[name] for name in _OF_DELIVERY if message.delivery_info.get(name, "") != ""}
    return ("message", bytes(message.body), info, seen(message.properties))


def renamed(value: T, names: Mapping[str, str]) -> T:
    """Return a copy of a value, an operation or a table, with other names where a text is one of `names`."""
    new: Any = value
    if isinstance(value, str):
        new = names.get(value, value)
    elif isinstance(value, Mapping):
        new = {key: renamed(item, names) for key, item in value.items()}
    elif isinstance(value, list):
        new = [renamed(item, names) for item in value]
    elif isinstance(value, tuple):
        new = tuple(renamed(item, names) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        new = replace(value, **{each.name: renamed(getattr(value, each.name), names) for each in fields(value)})
    result: T = new
    return result

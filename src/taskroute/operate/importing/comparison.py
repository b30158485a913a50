"""Whether arguments that were found are those that a spec declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from taskroute.quoting import shown


def difference(found: Mapping[str, Any], declared: Mapping[str, Any]) -> str | None:
    """Return how arguments differ from what a spec would declare, None if they are the same.

    A broker tells true from 1.

    >>> difference({"x-max-length": 1}, {"x-max-length": 2, "x-delivery-limit": 20})
    'a spec would declare x-delivery-limit=20 where the broker has none, and x-max-length=2 instead of 1'
    """
    parts = []
    for name in sorted({*found, *declared}):
        if name not in declared:
            parts.append(f"no {name}, where the broker has {shown(found[name])}")
        elif name not in found:
            parts.append(f"{name}={shown(declared[name])} where the broker has none")
        elif _text(found[name]) != _text(declared[name]):
            parts.append(f"{name}={shown(declared[name])} instead of {shown(found[name])}")
    return f"a spec would declare {', and '.join(parts)}" if parts else None


def same(found: Mapping[str, Any], declared: Mapping[str, Any]) -> bool:
    """Return whether they are the same."""
    return _text(found) == _text(dict(declared))


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)

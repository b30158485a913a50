"""Identifiers: the names of a module for entities whose names may be anything. Pure."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import count
from typing import Final

_LONGEST: Final = 40
_OTHERS: Final = re.compile(r"[^a-z0-9]+")
_TAKEN: Final = frozenset([*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "topology", "l"])
"""Names that a module's own would hide, or that it has, or that look like a digit."""

Entity = tuple[str, str]
"""Its kind and its name."""


def identifiers(entities: Iterable[Entity]) -> Mapping[Entity, str]:
    """Return a name for each: no two are the same, none is a keyword or hides a builtin.

    >>> list(identifiers([("exchange", "shop.v2"), ("queue", "shop-v2"), ("queue", "7"), ("queue", "class")]).values())
    ['shop_v2', 'shop_v2_queue', 'queue_7', 'class_queue']
    """
    found: dict[Entity, str] = {}
    taken = set(_TAKEN)
    for entity in entities:
        name = next(each for each in _candidates(*entity) if each not in taken)
        taken.add(name)
        found[entity] = name
    return found


def _candidates(kind: str, name: str) -> Iterable[str]:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = _OTHERS.sub("_", plain)[:_LONGEST].strip("_")
    if not words:
        words = kind
    elif words[0].isdigit():
        words = f"{kind}_{words}"
    else:
        yield words
    yield f"{words}_{kind}" if not words.startswith(kind) else words
    for number in count(2):
        yield f"{words}_{number}"

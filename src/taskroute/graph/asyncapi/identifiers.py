"""Identifiers: a name for each thing of a document, of the characters that AsyncAPI and JSON pointers take as they are.

A name depends on what the thing is and not on the order of the others: where two would have the same, each gets a
digest of what it is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, TypeVar

Thing = TypeVar("Thing", bound=Hashable)

_OTHERS: Final = re.compile(r"[^A-Za-z0-9_.-]+")
_DIGITS: Final = 8


class Naming(NamedTuple):
    """What a thing is named by.

    Attributes:
        parts: of its name, where no other one has it.
        identity: what tells it from all others.
    """

    parts: Sequence[str]
    identity: Sequence[str]


def identifier(parts: Iterable[str]) -> str:
    """Return one name of several parts.

    >>> identifier(("shop", "order", "a b"))
    'shop.order.a_b'
    """
    return _OTHERS.sub("_", ".".join(part for part in parts if part)) or "_"


def identifiers(things: Mapping[Thing, Naming]) -> dict[Thing, str]:
    """Return a name for each thing, in the order of the things. Those that nothing tells apart are numbered."""
    names = wanted = {thing: identifier(naming.parts) for thing, naming in things.items()}
    digests = _digests(things)
    digits = _DIGITS
    while shared := {name for name, count in Counter(names.values()).items() if count > 1}:
        names = {
            thing: f"{wanted[thing]}-{digests[thing][:digits]}" if name in shared else name
            for thing, name in names.items()
        }
        digits += 1
    return names


def _digests(things: Mapping[Thing, Naming]) -> dict[Thing, str]:
    met: Counter[tuple[str, ...]] = Counter()
    digests = {}
    for thing, naming in things.items():
        identity = tuple(naming.identity)
        met[identity] += 1
        digests[thing] = sha256(repr((*identity, met[identity])).encode(errors="backslashreplace")).hexdigest()
    return digests

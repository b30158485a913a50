"""AMQP's short string: which names, binding keys and routing keys can be sent."""

from __future__ import annotations

import re
from typing import Final

from taskroute.quoting import shorten

MAX_KEY_BYTES: Final = 255
"""AMQP 0-9-1 carries binding keys, routing keys and names as short strings of at most this many bytes."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def check_key(key: object, what: str, error: type[Exception]) -> None:
    """Raise `error` unless `key` is a str that AMQP can carry; see `key_problem`."""
    problem = key_problem(key, what)
    if problem is not None:
        raise error(problem)


def key_problem(key: object, what: str) -> str | None:
    """Return why `key` cannot be a short string (at most 255 bytes, no control characters), or None if it can.

    >>> key_problem(7, "routing key")
    'a routing key is a str, not int'
    """
    if not isinstance(key, str):
        return f"a {what} is a str, not {type(key).__name__}"
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return f"the {what} {shorten(key)} cannot be encoded as UTF-8"
    if size > MAX_KEY_BYTES:
        return f"the {what} {shorten(key)} has {size} bytes; AMQP allows {MAX_KEY_BYTES}"
    if _CONTROL.search(key):
        return f"the {what} {shorten(key)} contains a control character"
    return None


def cut_key(made_up: str) -> str:
    """Return a name that this library has made up, cut to what a short string can carry, between two characters.

    >>> len(cut_key("\u00e4" * 200).encode())
    254
    """
    return made_up.encode()[:MAX_KEY_BYTES].decode(errors="ignore")

"""The arguments of queues that RabbitMQ knows: which types of queue have one, and which values it takes. Pure.

What it does not know, it ignores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from taskroute.broker.embedded.refusal import INTERNAL_ERROR, PRECONDITION_FAILED

_LONGEST: Final = 315_360_000_000
"""Milliseconds: ten years."""
_MAX_PRIORITY: Final = 255

_Check = Callable[[object], bool]


class Argument(NamedTuple):
    """One argument of queues."""

    kinds: tuple[str, ...]
    """The types of queue that have it."""
    takes: _Check
    """Whether a value is right."""
    wanted: str
    """What is right, for people."""
    code: int = PRECONDITION_FAILED
    """What a wrong value is refused with."""


Arguments = Mapping[str, Argument]
"""By name. What a queue's type has is compared in this order when it is declared again."""


def _whole(*kinds: str, least: int = 0, most: int = 2**63 - 1) -> Argument:
    def takes(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return Argument(kinds, takes, f"a whole number from {least} to {most}")


def _choice(*choices: object, kinds: tuple[str, ...], code: int = PRECONDITION_FAILED) -> Argument:
    def takes(value: object) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in choices)

    return Argument(kinds, takes, "one of " + ", ".join(map(str, choices)), code)


def _unchecked(*kinds: str) -> Argument:
    return Argument(kinds, lambda _: True, "anything")


_BOTH: Final = ("classic", "quorum")
_TEXT: Final = Argument(_BOTH, lambda value: isinstance(value, str), "a text")
_LOCATORS: Final = ("client-local", "balanced", "random", "least-leaders")

_SINCE_3_10: Final[Arguments] = {
    "x-queue-type": _choice("classic", "quorum", "stream", kinds=(*_BOTH, "stream")),
    "x-expires": _whole(*_BOTH, least=1, most=_LONGEST),
    "x-message-ttl": _whole(*_BOTH, most=_LONGEST),
    "x-dead-letter-exchange": _TEXT,
    "x-dead-letter-routing-key": _TEXT,
    "x-dead-letter-strategy": _choice("at-most-once", "at-least-once", kinds=("quorum",)),
    "x-max-length": _whole(*_BOTH),
    "x-max-length-bytes": _whole(*_BOTH),
    "x-max-in-memory-length": _whole("quorum"),
    "x-max-in-memory-bytes": _whole("quorum"),
    "x-max-priority": _whole("classic", most=_MAX_PRIORITY),
    "x-overflow": _choice("drop-head", "reject-publish", "reject-publish-dlx", kinds=_BOTH),
    "x-queue-mode": _choice("default", "lazy", kinds=("classic",)),
    "x-queue-version": _choice(1, 2, kinds=("classic",)),
    "x-queue-master-locator": _choice("min-masters", "client-local", "random", kinds=("classic",), code=INTERNAL_ERROR),
    "x-queue-leader-locator": _choice(*_LOCATORS, kinds=("quorum",)),
    "x-quorum-initial-group-size": _whole("quorum", least=1),
    "x-delivery-limit": _unchecked("quorum"),
    "x-single-active-consumer": _choice(True, False, kinds=_BOTH),
    "x-initial-cluster-size": _unchecked("stream"),
    "x-max-age": _unchecked("stream"),
    "x-stream-max-segment-size-bytes": _unchecked("stream"),
}
_SINCE_4_0: Final[Arguments] = {
    **_SINCE_3_10,
    "x-queue-master-locator": _unchecked("classic"),
    "x-queue-leader-locator": _choice(*_LOCATORS, "min-masters", kinds=_BOTH),
}
_SINCE_4_3: Final[Arguments] = {
    **_SINCE_4_0,
    "x-queue-mode": _unchecked("classic"),
    "x-queue-version": _choice(2, kinds=("classic",)),
    "x-queue-master-locator": Argument(
        ("classic",), lambda _: False, "x-queue-leader-locator: it is deprecated and not permitted", INTERNAL_ERROR
    ),
    "x-consumer-timeout": _whole("quorum"),
    "x-consumer-disconnected-timeout": _whole("quorum"),
    "x-delayed-retry-type": _unchecked("quorum"),
    "x-delayed-retry-min": _unchecked("quorum"),
    "x-delayed-retry-max": _unchecked("quorum"),
    "x-stream-filter-size-bytes": _unchecked("stream"),
}

ARGUMENTS: Final[Mapping[str, Arguments]] = {"3.10": _SINCE_3_10, "4.0": _SINCE_4_0, "4.3": _SINCE_4_3}
"""By the version in which they came."""

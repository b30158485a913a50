"""Generation: a sequence of operations from a random number generator. Names are few, so that they meet often."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final

from tests.fuzz import operations as do
from tests.fuzz.operations import Operation

EXCHANGES: Final = ("x0", "x1", "x2")
QUEUES: Final = ("q0", "q1", "q2")
ENTITIES: Final = (*EXCHANGES, *QUEUES)
LENGTH: Final = 32
"""Operations after those that declare something to begin with."""

SHORT: Final = 1000
"""Milliseconds: over after a wait, and not before. One sequence in six has waits and such lifetimes."""
LONG: Final = 60_000
"""Never over."""

_LINES: Final = (0, 0, 0, 1, 1, 2)
_KINDS: Final = ("topic", "direct", "fanout", "headers")
_KEYS: Final = ("a", "a.b", "b", "", "a.b.c", *QUEUES)
_PATTERNS: Final = ("a", "a.*", "#", "*.b", "a.#", "#.b.#", "", "*", "q0", "#.a.#.b.#")
_TAGS: Final = ("c0", "c1", "c2")
_VALUES: Final[tuple[Any, ...]] = (
    1, 0, -1, 2**31, 2**62, -(2**40), 1.0, 0.5, True, False, "1", "", "ü", b"\xff", None, Decimal("1.5"),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), [], [1, "a"], {}, {"n": 1},
)  # fmt: skip
"""Every type that a table can hold."""
_UNREADABLE: Final = {"n": math.nan}
"""Headers that end the connection."""

_LIFETIMES: Final = (SHORT, 0, LONG)
_CLASSIC: Final[Mapping[str, tuple[Any, ...]]] = {
    "x-max-length": (1, 2, 3, 0),
    "x-max-length-bytes": (4, 10),
    "x-overflow": ("drop-head", "reject-publish", "reject-publish-dlx"),
    "x-message-ttl": _LIFETIMES,
    "x-expires": (SHORT, LONG),
    "x-single-active-consumer": (True, False),
    "x-max-priority": (1, 2, 5, 10),
    "x-queue-type": ("classic",),
}
_LETTERS: Final[Mapping[str, tuple[Any, ...]]] = {
    "x-dead-letter-exchange": ("", "", "", "", *EXCHANGES, "amq.fanout", "missing"),
    "x-dead-letter-routing-key": (*QUEUES, *QUEUES, "a", "a.b"),
}
_QUORUM: Final[Mapping[str, tuple[Any, ...]]] = {
    **{name: _CLASSIC[name] for name in _CLASSIC if name not in ("x-max-length-bytes", "x-max-priority")},
    "x-queue-type": ("quorum",),
    "x-delivery-limit": (0, 1, 2),
    "x-dead-letter-strategy": ("at-most-once",),
}
_WRONG: Final[tuple[Mapping[str, Any], ...]] = (
    {"x-message-ttl": -1}, {"x-message-ttl": "1"}, {"x-expires": 0}, {"x-max-length": -1}, {"x-overflow": "none"},
    {"x-max-priority": 256}, {"x-dead-letter-routing-key": "a"}, {"x-queue-type": "other"}, {"x-delivery-limit": 1},
    {"x-single-active-consumer": "yes"}, {"x-unknown": 1}, {"x-queue-type": "quorum", "x-max-priority": 5},
)  # fmt: skip
_PROPERTIES: Final[Mapping[str, tuple[Any, ...]]] = {
    "expiration": (str(SHORT), "0", str(LONG)),
    "priority": (0, 1, 4, 5, 9),
    "delivery_mode": (1, 2),
    "content_type": ("text/plain",),
    "correlation_id": ("c",),
    "message_id": ("i",),
    "type": ("t",),
    "user_id": ("guest",) * 9 + ("other",),
    "app_id": ("a",),
    "reply_to": ("r",),
    "timestamp": (1_700_000_000,),
}


class Generation:
    """Draws operations."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._pick = random.choice
        self._has_waits = random.random() < 1 / 6

    def sequence(self) -> tuple[Operation, ...]:
        """Return a sequence. It begins with declarations, most of the time, for something to happen."""
        begin = [self._declare_queue(name) for name in QUEUES if not self._seldom()]
        begin += [self._declare_exchange(name) for name in EXCHANGES if not self._seldom()]
        begin += [self._pick((self._bind, self._bind, self._bind_exchange))() for _ in range(5)]
        rest = self._random.choices(self._makers, self._weights, k=LENGTH)
        return (*begin, *(make() for make in rest))

    def _seldom(self) -> bool:
        return self._random.random() < 0.06

    def _flag(self) -> bool:
        return self._random.random() < 0.25

    def _on(self) -> int:
        return self._pick(_LINES)

    def _some(self, choices: Mapping[str, tuple[Any, ...]], likely: float) -> dict[str, Any]:
        """Return some of the choices. A short lifetime is a long one where nothing waits for its end."""
        some = {name: self._pick(values) for name, values in choices.items() if self._random.random() < likely}
        longer = {} if self._has_waits else {SHORT: LONG, str(SHORT): str(LONG)}
        return {name: longer.get(value, value) for name, value in some.items()}

    # What operations are about

    def _headers(self) -> dict[str, Any]:
        return {name: self._pick(_VALUES) for name in ("n", "s", "x-h") if self._flag()}

    def _matches(self) -> dict[str, Any]:
        if self._random.random() < 0.7:
            return {}
        return self._headers() | self._some({"x-match": ("all", "any", "all-with-x", "any-with-x")}, 0.7)

    def _copies(self) -> dict[str, Any]:
        targets = ("a", "a.b", *QUEUES)
        return {name: self._random.choices(targets, k=self._pick((0, 1, 2))) for name in ("CC", "BCC") if self._flag()}

    def _message(self) -> dict[str, Any]:
        headers = self._pick((None, None, None, None, self._headers, self._copies))
        is_unreadable = self._random.random() < 0.005
        return {
            "headers": _UNREADABLE if is_unreadable else headers and headers(),
            "properties": self._some(_PROPERTIES, 0.2) if self._flag() else {},
            "size": self._pick((0, 0, 0, 5, 11)),
            "mandatory": self._flag(),
        }

    def _queue_arguments(self) -> dict[str, Any]:
        kind = self._random.random()
        if kind < 0.02:
            return dict(self._pick(_WRONG))
        letters = self._some(_LETTERS, 0.8) if self._flag() or self._flag() else {}
        if "x-dead-letter-exchange" not in letters:
            letters = {}
        if kind < 0.6:
            return self._some(_CLASSIC, 0.2) | letters
        sizes = {"x-max-length-bytes": _CLASSIC["x-max-length-bytes"]}  # they end a sequence early: docs/embedded.md
        return self._some(_QUORUM, 0.2) | self._some(sizes, 0.03) | {"x-queue-type": "quorum"} | letters

    # Operations

    def _declare_queue(self, name: str | None = None) -> Operation:
        arguments = self._queue_arguments()
        name, anew = name or self._pick(QUEUES), name is None
        if name != QUEUES[0] and arguments.get("x-message-ttl") == SHORT:
            # Messages that pass two short-lived queues would come to their end between two waits.
            arguments["x-message-ttl"] = LONG
        is_plain = arguments.get("x-queue-type") == "quorum" and not self._seldom()  # it can be nothing else
        return do.DeclareQueue(
            name,
            arguments,
            durable=is_plain or not self._seldom(),
            exclusive=not is_plain and self._seldom(),
            auto_delete=not is_plain and self._seldom(),
            passive=anew and self._flag(),
            on=self._on(),
        )

    def _declare_exchange(self, name: str | None = None) -> Operation:
        alternates = (*EXCHANGES, "amq.fanout", "missing")
        return do.DeclareExchange(
            name or self._pick(EXCHANGES),
            self._pick(_KINDS),
            durable=not self._seldom(),
            auto_delete=self._seldom(),
            internal=self._seldom(),
            passive=name is None and self._flag(),
            arguments=self._some({"alternate-exchange": alternates}, 0.25),
            on=self._on(),
        )

    def _bind(self) -> Operation:
        key = self._pick(_PATTERNS)
        return do.Bind(self._pick(QUEUES), self._pick(EXCHANGES), key, self._matches(), on=self._on())

    def _unbind(self) -> Operation:
        key = self._pick(_PATTERNS)
        return do.Bind(self._pick(QUEUES), self._pick(EXCHANGES), key, self._matches(), undo=True, on=self._on())

    def _bind_exchange(self) -> Operation:
        key, undo = self._pick(_PATTERNS), self._seldom()
        return do.BindExchange(
            self._pick(EXCHANGES), self._pick(EXCHANGES), key, self._matches(), undo=undo, on=self._on()
        )

    def _publish(self) -> Operation:
        exchange = self._pick(("", "", *EXCHANGES, *EXCHANGES, "amq.fanout"))
        return do.Publish(exchange, self._pick(_KEYS), **self._message(), on=self._on())

    def _publish_to_queue(self) -> Operation:
        return do.Publish("", self._pick(QUEUES), **self._message(), on=self._on())

    def _consume(self) -> Operation:
        queue, tag = self._pick(QUEUES), self._pick(_TAGS)
        return do.Consume(queue, tag, no_ack=self._flag(), exclusive=self._seldom(), on=self._on())

    def _which(self) -> int:
        return self._pick((0, 0, 0, 0, 1, 1, 2, 3)) if self._random.random() < 0.985 else -1

    @property
    def _makers(self) -> list[Callable[[], Operation]]:
        return [make for _, make in self._weighted()]

    @property
    def _weights(self) -> list[int]:
        return [weight for weight, _ in self._weighted()]

    def _weighted(self) -> tuple[tuple[int, Callable[[], Operation]], ...]:
        """How often each operation comes, and what makes it."""
        pick, flag, on = self._pick, self._flag, self._on
        return (
            (10, self._publish),
            (24, self._publish_to_queue),
            (9, self._consume),
            (10, lambda: do.Get(pick(QUEUES), no_ack=flag(), on=on())),
            (6, lambda: do.Ack(self._which(), flag(), on=on())),
            (6, lambda: do.Nack(self._which(), flag(), pick((True, False)), on=on())),
            (6, lambda: do.Reject(self._which(), pick((True, False)), on=on())),
            (2, lambda: do.Cancel(pick(_TAGS), on=on())),
            (4, lambda: do.Prefetch(pick((1, 2, 3, 0)), on=on())),
            (2, lambda: do.Recover(on=on())),
            (1, lambda: do.CloseChannel(on=on())),
            (1, lambda: do.CloseConnection(on=pick((0, 2)))),
            (2 if self._has_waits else 0, do.Wait),
            (2, self._declare_queue),
            (1, self._declare_exchange),
            (3, self._bind),
            (1, self._unbind),
            (2, self._bind_exchange),
            (1, lambda: do.Purge(pick(QUEUES), on=on())),
            (1, lambda: do.DeleteQueue(pick(QUEUES), self._seldom(), self._seldom(), on=on())),
            (1, lambda: do.DeleteExchange(pick(EXCHANGES), flag(), on=on())),
        )

"""Comparison: one sequence on the embedded broker and on a RabbitMQ, side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from tests.fuzz.client import Client, Observation
from tests.fuzz.generation import ENTITIES, SHORT
from tests.fuzz.operations import (
    Ack,
    CloseChannel,
    CloseConnection,
    DeclareQueue,
    Nack,
    Operation,
    Publish,
    Recover,
    Wait,
)

PATIENCE = 0.8
"""Seconds without news after which nothing more is expected of a RabbitMQ."""

LOOK_AGAIN_AFTER = 0.01
HURRY = 0.6 * SHORT / 1000
"""Seconds in which whatever lives short must reach the next wait: twice its lifetime takes longer than both."""


class Undecided(Enum):
    """Why a sequence says nothing from some operation on."""

    SLOW = "the machine was too slow for the short lifetimes"
    ORDER = "messages of several queues met in another order"
    CHANNELS = "channels of one connection, which closed, consumed one queue"


@dataclass(frozen=True)
class Difference:
    """Where the brokers part: after the last operation of `done`."""

    done: tuple[Operation, ...]
    embedded: Observation
    rabbitmq: Observation

    @property
    def is_a_race(self) -> bool:
        """Whether only the order differs, where queues that work side by side fill the same queue.

        That are two that dead-letter; one while a quorum queue, which takes its time, is given the same message; or one
        while the same operation settles what came from other queues. A queue that dead-letters alone is in no race.
        Of a message that is due at once, its place decides whether it stays.
        """
        queues = [operation for operation in self.done if isinstance(operation, DeclareQueue)]
        quorum = _quorum(self.done)
        sources = {queue.name for queue in queues if "x-dead-letter-exchange" in queue.arguments}
        others = {queue.name for queue in queues} - sources if self._settles_many else quorum - sources
        can_race = len(sources) > 1 or (len(sources) == 1 and bool(others))
        last = self.last
        is_due = isinstance(last, Publish) and last.exchange != "" and last.properties.get("expiration") == "0"
        return can_race and (is_due or self.embedded.differs_in_order(self.rabbitmq))

    @property
    def _settles_many(self) -> bool:
        """Whether the last operation may settle deliveries of several queues. An error does: it closes the channel."""
        last, answer = self.last, self.embedded.answer
        is_refused = isinstance(answer, tuple) and answer[0] in ("channel closed", "connection closed")
        closes = is_refused or isinstance(last, CloseChannel | CloseConnection)
        return closes or isinstance(last, Recover) or (isinstance(last, Ack | Nack) and last.multiple)

    @property
    def last(self) -> Operation:
        """The operation after which they part."""
        return self.done[-1]

    def __str__(self) -> str:
        lines = [*map(str, self.done), "", "embedded:", *_shown(self.embedded, self.rabbitmq)]
        return "\n".join([*lines, "RabbitMQ:", *_shown(self.rabbitmq, self.embedded)])


def compare(
    sequence: Sequence[Operation], embedded: Client, rabbitmq: Client, patience: float = PATIENCE
) -> Difference | Undecided | None:
    """Follow a sequence on both, up to the first operation after which they differ."""
    done: list[Operation] = []
    pace = _Pace()
    for operation in _all_of(sequence, embedded):
        done.append(operation)
        if operation == Wait() and not pace.counts:  # nothing can end meanwhile
            continue
        pace.begin(operation)
        shared = embedded.queues_of_several(operation.on, _quorum(done))
        expected = embedded.follow(operation)
        seen = _look_until(expected, rabbitmq, rabbitmq.follow(operation), patience)
        if pace.is_too_slow(operation):
            return Undecided.SLOW
        if shared and _closes_connection(operation, expected):
            return Undecided.CHANNELS  # what one of them lost may have come to another one before that was closed
        if seen != expected:
            difference = Difference(tuple(done), expected, seen)
            return Undecided.ORDER if difference.is_a_race else difference
    return None


class _Pace:
    """The time that passes between two waits, once something may live short."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def counts(self) -> bool:
        return self._since is not None

    def begin(self, operation: Operation) -> None:
        if self._since is None and _has_short_lifetime(operation):
            self._since = time.monotonic()

    def is_too_slow(self, operation: Operation) -> bool:
        if self._since is None:
            return False
        if operation == Wait():
            self._since = time.monotonic()
        return time.monotonic() - self._since > HURRY


def _all_of(sequence: Sequence[Operation], client: Client) -> Iterator[Operation]:
    """Yield a sequence's operations and, when they are done, those that end it."""
    yield from sequence
    yield from client.last_operations


def names_of(number: int) -> dict[str, str]:
    """Return the names of the entities of one sequence: never used again, as a deletion may take its time."""
    return {name: f"{name}-{number}" for name in ENTITIES}


def _look_until(expected: Observation, client: Client, first: Observation, patience: float) -> Observation:
    """Look until what was expected is seen, or nothing changes any more."""
    seen, changed_at = first, time.monotonic()
    while seen != expected and time.monotonic() - changed_at < patience:
        client.read(LOOK_AGAIN_AFTER)
        again = client.look_again(seen)
        if again != seen:
            seen, changed_at = again, time.monotonic()
    return seen


def _has_short_lifetime(operation: Operation) -> bool:
    return f"{SHORT}" in repr(operation)


def _quorum(done: Sequence[Operation]) -> set[str]:
    """Return the names of the quorum queues that were declared."""
    queues = (operation for operation in done if isinstance(operation, DeclareQueue))
    return {queue.name for queue in queues if queue.arguments.get("x-queue-type") == "quorum"}


def _closes_connection(operation: Operation, seen: Observation) -> bool:
    told = (seen.answer, *(event for events in seen.events for event in events))
    return isinstance(operation, CloseConnection) or any(
        isinstance(each, tuple) and each[0] == "connection closed" for each in told
    )


def _shown(one: Observation, other: Observation) -> list[str]:
    """Return the lines that tell an observation from another."""
    lines = [f"  answer {one.answer}"] if one.answer != other.answer else []
    for number, (events, others) in enumerate(zip(one.events, other.events, strict=True)):
        if events != others:
            lines += [f"  channel {number}: {event}" for event in events] or [f"  channel {number}: silent"]
    lines += [
        f"  {queue}: {counts} (ready, consumers)"
        for queue, counts in one.queues.items()
        if other.queues.get(queue) != counts
    ]
    return lines

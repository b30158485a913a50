"""Client: two connections with three channels to one broker, on which a sequence of operations is followed."""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

from amqp.exceptions import AMQPError, FrameSyntaxError
from tests.fuzz.generation import SHORT
from tests.fuzz.line import Line
from tests.fuzz.operations import DeclareExchange, DeclareQueue, Drain, Operation
from tests.fuzz.seen import Seen, renamed

CONNECTION_OF_LINE = (0, 0, 1)
CONNECTIONS = 2
WAIT = 1.2 * SHORT / 1000
"""Seconds that pass in a wait."""
_UNSENDABLE = (FrameSyntaxError, TypeError, ValueError, OverflowError, struct.error)


@dataclass(frozen=True)
class Observation:
    """What is seen of a broker after an operation: its answer, what each channel was told, what each queue holds."""

    answer: Seen
    events: tuple[tuple[Seen, ...], ...]
    queues: Mapping[str, Seen]

    def differs_in_order(self, other: Observation) -> bool:
        """Return whether the same messages came to the same places, but in another order."""
        mine, others = ((*one.events, _listed(one.answer)) for one in (self, other))
        return self.queues == other.queues and all(
            sorted(map(_body, some)) == sorted(map(_body, more)) for some, more in zip(mine, others, strict=True)
        )


def _listed(answer: Seen) -> tuple[Seen, ...]:
    return tuple(answer) if isinstance(answer, list) else (answer,)


def _cancelled_last(*events: Seen) -> tuple[Seen, ...]:
    """Put the ends of consumers behind all else, by their tags: in which order a queue ends its consumers is chance."""
    ends = [event for event in events if isinstance(event, tuple) and event[0] == "cancelled"]
    return (*(event for event in events if event not in ends), *sorted(ends))


def _body(event: Seen) -> str:
    return repr(event[:2] if isinstance(event, tuple) else event)


class Client:
    """The clients of one broker, used by one thread.

    Args:
        connect: opens a connection.
        pass_time: lets the broker's time pass; None: it passes by itself, and the client waits.
    """

    def __init__(self, connect: Callable[[], Any], pass_time: Callable[[float], None] | None = None) -> None:
        self._connect = connect
        self._pass_time = pass_time or self.read
        self._connections = [connect() for _ in range(CONNECTIONS)]
        self.lines = [Line(connection) for connection in CONNECTION_OF_LINE]
        self._controls = [connection.channel() for connection in self._connections]
        for line in self.lines:
            line.open(self._connections[line.connection].channel())
        self._bodies = 0
        self._names: dict[str, str] = {}
        self.queues: dict[str, int] = {}
        self._exchanges: set[str] = set()

    # A sequence

    def begin(self, names: Mapping[str, str]) -> None:
        """Begin a sequence, whose entities get other names at the broker."""
        self._names = dict(names)
        self._bodies = 0

    def follow(self, operation: Operation) -> Observation:
        """Do an operation, and look."""
        named = renamed(operation, self._names)
        answer = self._attempt(operation.on, lambda: named.apply(self))
        match operation:
            case DeclareQueue(passive=False) if answer == self._names.get(operation.name, operation.name):
                self.queues[operation.name] = self.lines[operation.on].connection
            case DeclareExchange(passive=False):
                self._exchanges.add(operation.name)
        return self.look(answer)

    def look(self, answer: Seen, before: Observation | None = None) -> Observation:
        """Look after an operation, again if there was a look `before`."""
        counts = dict(before.queues) if before else {}  # a queue that is gone is found so once
        counts |= {name: self._counts(name, connection) for name, connection in tuple(self.queues.items())}
        for number, line in enumerate(self.lines):
            refusal = self._attempt(number, line.ask)
            if refusal is not None:
                line.events.append(refusal)
        self.read()
        back = {new: old for old, new in self._names.items()}
        earlier = before.events if before else ((),) * len(self.lines)
        events = tuple(
            _cancelled_last(*old, *(renamed(event, back) for event in line.take_events()))
            for old, line in zip(earlier, self.lines, strict=True)
        )
        return Observation(renamed(answer, back), events, counts)

    def look_again(self, before: Observation) -> Observation:
        """Look once more at what an operation has done, some time after it was done."""
        return self.look(before.answer, before)

    def end(self) -> None:
        """Delete what the sequence has declared, and open new channels."""
        for number in range(len(self.lines)):
            self.hang_up_line(number)
        for name, connection in self.queues.items():
            self._control(connection, methodcaller("queue_delete", self._names.get(name, name)))
        for name in self._exchanges:
            self._control(0, methodcaller("exchange_delete", self._names.get(name, name)))
        self.queues.clear()
        self._exchanges.clear()
        for line in self.lines:
            line.take_events()

    @property
    def last_operations(self) -> list[Operation]:
        """What ends a sequence: everything that queues hold is taken."""
        first = {connection: number for number, connection in reversed(list(enumerate(CONNECTION_OF_LINE)))}
        return [Drain(name, on=first[connection]) for name, connection in self.queues.items()]

    def queues_of_several(self, number: int, quorum: set[str]) -> set[str]:
        """Return the queues that several channels consume, of the connection of channel `number`.

        Those of `quorum` count as well that one of them consumed, and whose deliveries it has not settled.
        """
        lines = [line for line in self.lines if line.connection == self.lines[number].connection]
        consumed = [set(line.consumed.values()) for line in lines]
        held = [quorum & set(line.unsettled.values()) for line in lines]
        times = Counter(queue for queues in map(set.union, consumed, held) for queue in queues)
        return {queue for queue, count in times.items() if count > 1}

    def close(self) -> None:
        """Close the connections."""
        for connection in self._connections:
            with suppress(AMQPError, OSError):
                connection.close()

    # What operations ask

    def line(self, number: int) -> Line:
        return self.lines[number]

    def next_body(self, size: int) -> bytes:
        self._bodies += 1
        return f"m{self._bodies}".encode().ljust(size, b".")

    def hang_up_line(self, number: int) -> None:
        line = self.lines[number]
        with suppress(AMQPError):
            line.channel.close()
        line.open(self._connections[line.connection].channel())

    def hang_up(self, connection: int) -> None:
        with suppress(AMQPError, OSError):
            self._connections[connection].close()
        self._reconnect(connection)

    def pass_time(self) -> None:
        self._pass_time(WAIT)

    # Reading

    def read(self, seconds: float = 0.0) -> None:
        """Read what has come, and wait up to `seconds` for more."""
        for number, connection in enumerate(self._connections):
            deadline = time.monotonic() + seconds
            while True:
                try:
                    connection.drain_events(timeout=max(deadline - time.monotonic(), 0.0))
                except TimeoutError:
                    break
                except AMQPError as error:
                    self.lines[number].events.append(("unasked", type(error).__name__, error.reply_code))
                    break

    def _attempt(self, number: int, call: Callable[[], Any]) -> Seen:
        """Make a call on a channel; return its answer or its refusal, after which the channel is another one."""
        connection = self.lines[number].connection
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            code = error.reply_code if isinstance(error, AMQPError) else None
            if not self._connections[connection].connected:
                self._reconnect(connection)
                return ("connection closed", code)
            if isinstance(error, _UNSENDABLE):
                return "cannot be sent"
            self.hang_up_line(number)
            return ("channel closed", code) if code else ("raised", type(error).__name__)

    def _reconnect(self, connection: int) -> None:
        with suppress(AMQPError, OSError):
            self._connections[connection].collect()
        self._connections[connection] = self._connect()
        self._controls[connection] = self._connections[connection].channel()
        for line in self.lines:
            if line.connection == connection:
                line.take_events()  # what a channel heard while its connection was closed is chance
                line.open(self._connections[connection].channel())

    def _counts(self, name: str, connection: int) -> Seen:
        """Return how many messages of a queue are ready, and how many consumers it has."""
        named = self._names.get(name, name)
        answer = self._control(connection, methodcaller("queue_declare", named, passive=True))
        if not isinstance(answer, int):
            return (answer.message_count, answer.consumer_count)
        del self.queues[name]
        return ("gone", answer)

    def _control(self, connection: int, call: Callable[[Any], Any]) -> Any:
        """Make a call beside the sequence; return its answer or the code of its refusal."""
        try:
            return call(self._controls[connection])
        except AMQPError as error:
            code: int = error.reply_code
            if not self._connections[connection].connected:
                self._reconnect(connection)
            return code

"""Operations: what a client may ask of a broker, as data. Their text is Python, so that a case can be pasted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import amqp
from tests.fuzz.line import Line
from tests.fuzz.seen import Seen

Table = Mapping[str, Any]

NO_DELIVERY = 99
"""A delivery tag that no delivery has."""


class Site(Protocol):
    """What operations need of a client."""

    @property
    def lines(self) -> Sequence[Line]:
        """The channels."""

    def line(self, number: int) -> Line:
        """Return a channel."""

    def next_body(self, size: int) -> bytes:
        """Return a body that no other message of the sequence has."""

    def hang_up(self, connection: int) -> None:
        """Close a connection, and open another one."""

    def hang_up_line(self, number: int) -> None:
        """Close a channel, and open another one."""

    def pass_time(self) -> None:
        """Let more time pass than a short lifetime."""


@dataclass(frozen=True)
class Operation:
    """Something that is done on a channel."""

    on: int = field(default=0, kw_only=True)

    def apply(self, site: Site) -> Seen:
        """Do it, and return the broker's answer. Raises what the client library raises for a refusal."""
        raise NotImplementedError


@dataclass(frozen=True)
class DeclareExchange(Operation):
    name: str
    kind: str = "topic"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    passive: bool = False
    arguments: Table = field(default_factory=dict)

    def apply(self, site: Site) -> Seen:
        site.line(self.on).channel.exchange_declare(
            self.name,
            self.kind,
            durable=self.durable,
            auto_delete=self.auto_delete,
            internal=self.internal,
            passive=self.passive,
            arguments=dict(self.arguments),
        )
        return "declared"


@dataclass(frozen=True)
class DeleteExchange(Operation):
    name: str
    if_unused: bool = False

    def apply(self, site: Site) -> Seen:
        site.line(self.on).channel.exchange_delete(self.name, if_unused=self.if_unused)
        return "deleted"


@dataclass(frozen=True)
class DeclareQueue(Operation):
    name: str
    arguments: Table = field(default_factory=dict)
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    passive: bool = False

    def apply(self, site: Site) -> Seen:
        answer = site.line(self.on).channel.queue_declare(
            self.name,
            durable=self.durable,
            exclusive=self.exclusive,
            auto_delete=self.auto_delete,
            passive=self.passive,
            arguments=dict(self.arguments),
        )
        return answer.queue


@dataclass(frozen=True)
class DeleteQueue(Operation):
    name: str
    if_unused: bool = False
    if_empty: bool = False

    def apply(self, site: Site) -> Seen:
        channel = site.line(self.on).channel
        return ("deleted", channel.queue_delete(self.name, if_unused=self.if_unused, if_empty=self.if_empty))


@dataclass(frozen=True)
class Purge(Operation):
    name: str

    def apply(self, site: Site) -> Seen:
        return ("purged", site.line(self.on).channel.queue_purge(self.name))


@dataclass(frozen=True)
class Bind(Operation):
    queue: str
    exchange: str
    key: str = ""
    arguments: Table = field(default_factory=dict)
    undo: bool = False

    def apply(self, site: Site) -> Seen:
        channel = site.line(self.on).channel
        ask = channel.queue_unbind if self.undo else channel.queue_bind
        ask(self.queue, self.exchange, self.key, arguments=dict(self.arguments))
        return "unbound" if self.undo else "bound"


@dataclass(frozen=True)
class BindExchange(Operation):
    destination: str
    source: str
    key: str = ""
    arguments: Table = field(default_factory=dict)
    undo: bool = False

    def apply(self, site: Site) -> Seen:
        channel = site.line(self.on).channel
        ask = channel.exchange_unbind if self.undo else channel.exchange_bind
        ask(self.destination, self.source, self.key, arguments=dict(self.arguments))
        return "unbound" if self.undo else "bound"


@dataclass(frozen=True)
class Publish(Operation):
    exchange: str
    key: str
    headers: Table | None = None
    properties: Table = field(default_factory=dict)
    size: int = 0
    mandatory: bool = False

    def apply(self, site: Site) -> Seen:
        properties = dict(self.properties)
        if self.headers is not None:
            properties["application_headers"] = dict(self.headers)
        message = amqp.Message(site.next_body(self.size), **properties)
        return site.line(self.on).publish(message, self.exchange, self.key, mandatory=self.mandatory)


@dataclass(frozen=True)
class Consume(Operation):
    """On a channel that consumes another queue nothing is done: whose delivery came first would be chance."""

    queue: str
    tag: str
    no_ack: bool = False
    exclusive: bool = False
    arguments: Table = field(default_factory=dict)

    def apply(self, site: Site) -> Seen:
        line = site.line(self.on)
        if set(line.consumed.values()) - {self.queue}:
            return "left out"
        return line.consume(
            self.queue, self.tag, no_ack=self.no_ack, exclusive=self.exclusive, arguments=dict(self.arguments)
        )


@dataclass(frozen=True)
class Cancel(Operation):
    tag: str

    def apply(self, site: Site) -> Seen:
        line = site.line(self.on)
        line.channel.basic_cancel(self.tag)
        line.consumed.pop(self.tag, None)
        return "cancelled"


@dataclass(frozen=True)
class Prefetch(Operation):
    count: int

    def apply(self, site: Site) -> Seen:
        site.line(self.on).channel.basic_qos(0, self.count, False)
        return "limited"


@dataclass(frozen=True)
class Get(Operation):
    queue: str
    no_ack: bool = False

    def apply(self, site: Site) -> Seen:
        return site.line(self.on).get(self.queue, no_ack=self.no_ack)


@dataclass(frozen=True)
class Settle(Operation):
    """Settle a delivery that waits for it, of another channel if this one has none.

    `which` counts from the oldest, and goes round; -1: a delivery that is not there.
    """

    which: int = 0
    multiple = False

    def apply(self, site: Site) -> Seen:
        line = site.line(self.on)
        if self.which >= 0:
            line = next((each for each in (line, *site.lines) if each.unsettled), line)
            if not line.unsettled:
                return "left out"
        tag = NO_DELIVERY if self.which < 0 else list(line.unsettled)[self.which % len(line.unsettled)]
        self.send(line, tag)
        line.settled(tag, multiple=self.multiple)
        line.ask()
        return "settled"

    def send(self, line: Line, tag: int) -> None:
        """Send it for one delivery tag."""
        raise NotImplementedError


@dataclass(frozen=True)
class Ack(Settle):
    multiple: bool = False

    def send(self, line: Line, tag: int) -> None:
        line.channel.basic_ack(tag, multiple=self.multiple)


@dataclass(frozen=True)
class Nack(Settle):
    multiple: bool = False
    requeue: bool = True

    def send(self, line: Line, tag: int) -> None:
        line.nack(tag, multiple=self.multiple, requeue=self.requeue)


@dataclass(frozen=True)
class Reject(Settle):
    requeue: bool = True

    def send(self, line: Line, tag: int) -> None:
        line.channel.basic_reject(tag, requeue=self.requeue)


@dataclass(frozen=True)
class Recover(Operation):
    def apply(self, site: Site) -> Seen:
        line = site.line(self.on)
        line.unsettled.clear()
        line.channel.basic_recover(requeue=True)
        line.ask()
        return "recovered"


@dataclass(frozen=True)
class CloseChannel(Operation):
    def apply(self, site: Site) -> Seen:
        site.hang_up_line(self.on)
        return "closed"


@dataclass(frozen=True)
class CloseConnection(Operation):
    def apply(self, site: Site) -> Seen:
        site.hang_up(site.line(self.on).connection)
        return "closed"


@dataclass(frozen=True)
class Wait(Operation):
    """Let more time pass than the short lifetimes of messages and queues."""

    def apply(self, site: Site) -> Seen:
        site.pass_time()
        return "waited"


@dataclass(frozen=True)
class Drain(Operation):
    """Take every message that is ready. The end of each sequence."""

    queue: str

    def apply(self, site: Site) -> Seen:
        line = site.line(self.on)
        taken: list[Seen] = []
        while (message := line.get(self.queue, no_ack=True)) != "nothing":
            taken.append(message)
        return taken

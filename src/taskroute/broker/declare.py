"""Declaring: specs to broker entities. A mismatch names the entity and the field.

What the broker answers about one queue is that queue's affair (`endings`), unless it has closed the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, get_args

import amqp.exceptions

from taskroute.broker.amqp import Channel, Connection
from taskroute.broker.endings import ending_of
from taskroute.broker.mismatch import Difference
from taskroute.broker.remarks import Remarks
from taskroute.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    TopologyMismatchError,
    UnsupportedFeatureError,
)
from taskroute.foreign import Log
from taskroute.quoting import shown
from taskroute.suggestion import did_you_mean
from taskroute.topology.broker_facts import BrokerFacts
from taskroute.topology.capabilities import Limit, feature_refused, limits_of_binding, limits_of_queue
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology, predecessor

log = Log("taskroute.broker")

DeclareMode = Literal["create", "verify", "skip"]

OnProblem = Callable[[ExchangeSpec, BrokerError], object]
"""Takes an exchange, and what is wrong with it."""

_EXPLANATIONS = {
    403: "this user may not do that; grant the right, or use declare='verify' for what others create",
    404: "the broker does not have it; create it first, or use declare='create'",
    405: "another connection holds it exclusively",
    541: "the broker does not permit it; leave it out",
}


class QueueUnavailableError(BrokerUnavailableError):
    """One queue cannot be had now, while its broker can: it is waited for."""


def checked_mode(mode: DeclareMode) -> DeclareMode:
    """Return `mode` if it is a `DeclareMode`.

    Raises:
        ConfigurationError: it is not.
    """
    if mode not in get_args(DeclareMode):
        modes = get_args(DeclareMode)
        near = did_you_mean(mode, modes) if isinstance(mode, str) else ""
        raise ConfigurationError(f"declare={shown(mode)} is not one of {', '.join(modes)}{near and f'; {near}'}")
    return mode


def log_ignored(declaration: Declaration, broker: BrokerFacts | None) -> None:
    """Log what is declared and makes no difference on a broker."""
    for name, limit in declaration.ignored_by(broker):
        log.warning("feature_ignored queue=%s reason=%s", name, limit)


@dataclass(frozen=True, slots=True)
class Declaration:
    """What must be on the broker before a connection is used.

    `mode`: ``create``; ``verify`` that it is there, and as declared; ``skip``. `exclusive`: the exclusive queues that
    belong to this connection; others are left to theirs. `broker`: which one it is; what that refuses is not sent.
    `remarks`: take what this user may not look at, which is not taken for missing, and may not compare.
    """

    topology: Topology
    mode: DeclareMode
    exclusive: frozenset[str] = frozenset()
    broker: BrokerFacts | None = None
    remarks: Remarks = field(default_factory=Remarks, compare=False)

    def for_broker(self, broker: BrokerFacts | None, remarks: Remarks) -> Declaration:
        """Return the same for a connection to a broker."""
        return replace(self, broker=broker, remarks=remarks)

    def ignored_by(self, broker: BrokerFacts | None) -> Iterator[tuple[str, Limit]]:
        """Yield what is declared and makes no difference on a broker, with the name of its queue."""
        if broker is None or self.mode != "create":
            return
        for queue in self.topology.queues:
            for limit in () if queue.passive else limits_of_queue(queue, broker):
                if limit.stage.support == "ignored":
                    yield queue.name, limit

    def on(self, channel: Channel) -> None:
        """Declare it, or verify that the broker has it. Called by the session's thread.

        What cannot be had now is left out, and logged.

        Raises:
            TopologyMismatchError: the broker has something else, lacks it, or does not let us.
            UnsupportedFeatureError: the broker cannot do what a spec asks for.
        """
        self.exchanges_on(channel, _raise)
        self.exchange_bindings_on(channel, _raise)
        for queue in self.queues:
            self.helper_on(channel, queue)

    @property
    def queues(self) -> list[QueueSpec]:
        """The queues to declare, helper queues included."""
        return [queue for queue in self.topology.all_queues if not queue.exclusive or queue.name in self.exclusive]

    def exchanges_on(self, channel: Channel, on_problem: OnProblem) -> None:
        """Declare the exchanges, or verify them. Called by the session's thread.

        Args:
            channel: to ask on. It goes on after a refusal, as py-amqp opens it again.
            on_problem: is told what is wrong with an exchange, or raises that; the next one has its turn then.

        Raises:
            BrokerError: the broker has closed the connection over it.
        """
        if self.mode == "skip":
            return
        for exchange in self.topology.exchanges:
            self.exchange_on(channel, exchange, on_problem)

    def exchange_on(self, channel: Channel, exchange: ExchangeSpec, on_problem: OnProblem) -> None:
        """Declare one exchange, or verify it, without its bindings. Otherwise as `exchanges_on`."""
        with _telling(on_problem, exchange):
            self._exchange_on(channel, exchange)

    def exchange_bindings_on(self, channel: Channel, on_problem: OnProblem) -> None:
        """Bind the exchanges to each other, if that is ours to do. Otherwise as `exchanges_on`."""
        if self.mode != "create":
            return
        for exchange in self.topology.exchanges:
            with _telling(on_problem, exchange):
                self._exchange_bindings_on(channel, exchange)

    def queue_on(self, channel: Channel, queue: QueueSpec) -> None:
        """Declare one queue and its bindings, or verify it.

        Raises:
            QueueUnavailableError: it cannot be had now.
            TopologyMismatchError, UnsupportedFeatureError: as `exchanges_on`.
        """
        if self.mode == "skip":
            return
        # An exclusive queue is this connection's own, so nobody else can have created it.
        is_foreign = queue.passive or (self.mode == "verify" and not queue.exclusive)
        subject = f"queue {queue.name!r}"
        is_bound = self.mode == "create" and not queue.passive and not self._must_wait(channel, queue)
        limits = () if self.broker is None else tuple(limits_of_queue(queue, self.broker))
        is_old = any(limit.stage.support in ("denied", "refused") for limit in limits)  # from before an upgrade
        if not is_foreign:
            _refuse(subject, limits)
        if is_bound:
            self._refuse_bindings(subject, queue.bindings)
        declare = partial(_declare_queue, channel, queue)
        if not is_foreign:
            with self._naming(subject, queue):
                declare(passive=False)
        elif self._looks(subject, partial(declare, passive=True)) and not (queue.passive or is_old):
            self._compare(subject, partial(declare, passive=False), queue)
        if is_bound:
            for binding in queue.bindings:
                with naming(_bound(subject, binding)):
                    channel.queue_bind(
                        queue.name, binding.exchange, binding.binding_key, arguments=dict(binding.arguments)
                    )

    def _must_wait(self, channel: Channel, queue: QueueSpec) -> bool:
        """Return whether the queue that this one replaces is there: each message would come to both."""
        old = predecessor(queue, self.topology)
        if old is None:
            return False
        try:
            return self.is_there(channel, old)
        except QueueUnavailableError:
            return True  # it is there, and its node is down

    def create_if_missing(self, channel: Channel, queue: QueueSpec) -> None:
        """Declare one queue and its bindings, unless it is there in whichever form. Raises what `queue_on` does."""
        if not self.is_there(channel, queue):
            self.queue_on(channel, queue)

    def is_there(self, channel: Channel, queue: QueueSpec) -> bool:
        """Return False if the broker says that it does not have a queue.

        Raises:
            QueueUnavailableError: it cannot be had now.
        """
        try:
            self._looks(f"queue {queue.name!r}", partial(_declare_queue, channel, queue, passive=True))
        except TopologyMismatchError as error:
            return not isinstance(error.__cause__, amqp.exceptions.NotFound)
        return True

    def helper_on(self, channel: Channel, queue: QueueSpec) -> None:
        """Declare one queue as `queue_on` does, and go on without it where it cannot be had now."""
        try:
            self.queue_on(channel, queue)
        except QueueUnavailableError as error:
            log.warning("queue_unavailable queue=%s error=%s", queue.name, error)

    def _exchange_on(self, channel: Channel, exchange: ExchangeSpec) -> None:
        subject = f"exchange {exchange.name!r}"
        declare = partial(_declare_exchange, channel, exchange)
        if self.mode == "create" and not exchange.passive:
            with self._naming(subject):
                declare(passive=False)
        elif self._looks(subject, partial(declare, passive=True)) and not exchange.passive:
            self._compare(subject, partial(declare, passive=False))

    def _exchange_bindings_on(self, channel: Channel, exchange: ExchangeSpec) -> None:
        self._refuse_bindings(f"exchange {exchange.name!r}", exchange.bindings)
        for binding in exchange.bindings:
            with naming(_bound(f"exchange {exchange.name!r}", binding)):
                channel.exchange_bind(
                    exchange.name, binding.exchange, binding.binding_key, arguments=dict(binding.arguments)
                )

    def _looks(self, subject: str, look: Callable[[], object]) -> bool:
        """Look whether something is there. Return False if that is denied, which says nothing of what is there."""
        with self._naming(subject):
            try:
                look()
            except amqp.exceptions.AccessRefused as error:
                self.remarks.unseen(subject, _flat(error))
                return False
        return True

    def _compare(self, subject: str, declare: Callable[[], object], queue: QueueSpec | None = None) -> None:
        """Have the broker compare what is there with what is declared: to declare an equal one changes nothing."""
        with self._naming(subject, queue):
            try:
                declare()
            except amqp.exceptions.AccessRefused as error:
                self.remarks.uncompared(subject, _flat(error))

    def _naming(self, subject: str, queue: QueueSpec | None = None) -> AbstractContextManager[None]:
        return naming(subject, partial(self._served_by, queue))

    def _served_by(self, queue: QueueSpec | None) -> str | None:
        """Return the name of the queue that a helper queue is declared with, None if it is a queue of its own."""
        if queue is None or queue in self.topology.queues:
            return None
        served = (each.name for each in self.topology.queues if queue in each.helper_queues())
        return next(served, None)

    def _refuse_bindings(self, subject: str, bindings: Iterable[BindingSpec]) -> None:
        """Raise UnsupportedFeatureError for a binding that the broker is known to refuse, before anything is sent."""
        if self.broker is None:
            return
        for binding in bindings:
            source = self.topology.exchange(binding.exchange)
            _refuse(_bound(subject, binding), limits_of_binding(source, binding, self.broker))

    def helpers_of(self, queue: QueueSpec) -> list[QueueSpec]:
        """Return the queues that serve another one: its wait queues, and its dead-letter queue."""
        names = {helper.name for helper in queue.helper_queues()} | {queue.dead_letter_queue}
        return [other for other in self.queues if other.name in names]


def upstream_of(queues: Iterable[QueueSpec], exchanges: Sequence[ExchangeSpec]) -> frozenset[str]:
    """Return the names of the exchanges that messages come through on their way to some queues."""
    upstream = {binding.exchange for queue in queues for binding in queue.bindings}
    while True:
        sources = {binding.exchange for each in exchanges if each.name in upstream for binding in each.bindings}
        sources |= {each.name for each in exchanges if each.alternate_exchange in upstream}
        if sources <= upstream:
            return frozenset(upstream)
        upstream |= sources


def count_messages(channel: Channel, queue: str) -> int:
    """Return the number of messages ready in a queue. Called by the session's thread."""
    return channel.queue_declare(queue, passive=True).message_count


def shows_life(channel: Channel, queue: str) -> bool:
    """Return whether a queue has messages or consumers, or is gone: one without a leader seems to be there and empty.

    One that this user may not look at shows nothing.

    Raises:
        BrokerError: it cannot be had.
    """
    try:
        with naming(f"queue {queue!r}"):
            counts = channel.queue_declare(queue, passive=True)
    except TopologyMismatchError as error:
        return not isinstance(error.__cause__, amqp.exceptions.AccessRefused)
    return bool(counts.message_count or counts.consumer_count)


def count_consumers(channel: Channel, queue: str) -> int:
    """Return the number of consumers of a queue. Called by the session's thread."""
    return channel.queue_declare(queue, passive=True).consumer_count


def count_each(connection: Connection, queues: Iterable[str]) -> dict[str, int]:
    """Return the messages ready in each queue that the broker has, and lets us see. Called by the session's thread.

    On a channel of its own, which the broker closes over a queue that it does not have or show, and the client opens
    again.
    """
    counts = {}
    channel = connection.channel()
    for queue in queues:
        with suppress(amqp.exceptions.NotFound, amqp.exceptions.ResourceLocked, amqp.exceptions.AccessRefused):
            counts[queue] = count_messages(channel, queue)
    channel.close()
    return counts


def _declare_exchange(channel: Channel, exchange: ExchangeSpec, *, passive: bool) -> None:
    channel.exchange_declare(
        exchange.name,
        exchange.type,
        passive=passive,
        durable=exchange.durable,
        auto_delete=exchange.auto_delete,
        arguments=dict(exchange.broker_arguments),
        internal=exchange.internal,
    )


def _declare_queue(channel: Channel, queue: QueueSpec, *, passive: bool) -> None:
    channel.queue_declare(
        queue.name,
        passive=passive,
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        arguments=dict(queue.broker_arguments),
    )


def _bound(subject: str, binding: BindingSpec) -> str:
    return f"{subject}, binding {binding.binding_key!r} from exchange {binding.exchange!r}"


def _refuse(subject: str, limits: Iterable[Limit]) -> None:
    """Raise UnsupportedFeatureError for what the broker is known to refuse, whoever asks."""
    for limit in limits:
        if limit.stage.support == "refused":
            raise UnsupportedFeatureError(f"{subject}: {limit}")


@contextmanager
def naming(subject: str, served: Callable[[], str | None] = lambda: None) -> Iterator[None]:
    """Turn the broker's refusal into an error that names the entity and, where the broker says it, the field.

    `served`: returns the queue that it is a helper of.
    """
    try:
        yield
    except amqp.AMQPError as error:
        named = _named(subject, error, served)
        if named is None:
            raise
        raise named from error


@contextmanager
def _telling(on_problem: OnProblem, exchange: ExchangeSpec) -> Iterator[None]:
    try:
        yield
    except BrokerError as error:
        if closes_connection(error):
            raise
        on_problem(exchange, error)


def _raise(exchange: ExchangeSpec, error: BrokerError) -> None:  # noqa: ARG001 - as `OnProblem`
    raise error


def closes_connection(error: BrokerError) -> bool:
    """Return whether the broker has closed the connection, and not only the channel, with an answer."""
    return isinstance(error.__cause__, amqp.exceptions.ConnectionError)


def is_refused_for_good(error: BrokerError) -> bool:
    """Return whether the broker does not do what it was asked for, and has closed the connection to say so."""
    return isinstance(error.__cause__, amqp.exceptions.InternalError | amqp.exceptions.AMQPNotImplementedError)


def _named(subject: str, error: Any, served: Callable[[], str | None]) -> BrokerError | None:
    """Return what is told of an answer of the broker, None if it says nothing about what was asked for."""
    text = _flat(error)
    ending = ending_of(error.reply_code, text)
    if ending is None:
        return None
    if ending == "unavailable":
        # A connection that was closed over it is made anew; there is nothing to go on with.
        return QueueUnavailableError(f"{subject}: {text}") if isinstance(error, amqp.exceptions.ChannelError) else None
    if ending == "refused" and (feature := feature_refused(text)) is not None:
        what = f"{feature.field}: the broker refuses {feature.what}: {feature.instead}"
        return TopologyMismatchError(f"{subject}: {what} ({text})")
    if isinstance(error, amqp.exceptions.AMQPNotImplementedError):
        return UnsupportedFeatureError(f"{subject}: {text}")
    return TopologyMismatchError(f"{subject}: {_explain(error, text, served)}")


def _flat(error: Any) -> str:
    """Return what the broker says on one line."""
    return " ".join(str(error.reply_text or error).split())


def _explain(error: Any, text: str, served: Callable[[], str | None]) -> str:
    if (difference := Difference.read(text)) is not None:
        return difference.explain(served())
    explanation = _EXPLANATIONS.get(error.reply_code)
    return f"{explanation} ({text})" if explanation else text

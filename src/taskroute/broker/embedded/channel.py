"""Channel: what a client asks of an embedded broker, with the methods and the behaviour of py-amqp's channel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import amqp
from amqp import spec
from amqp.exceptions import ChannelError, FrameSyntaxError, error_for_code

from taskroute.broker.embedded.bindings import Binding
from taskroute.broker.embedded.channel_state import ChannelState
from taskroute.broker.embedded.engine import Broker
from taskroute.broker.embedded.engine_events import Closed
from taskroute.broker.embedded.incoming import received
from taskroute.broker.embedded.kombu_channel import KombuChannel
from taskroute.broker.embedded.rare_methods import RareMethods
from taskroute.broker.embedded.refusal import NOT_IMPLEMENTED, Refusal
from taskroute.broker.embedded.wire import carried_properties, carried_table, short_text, whole_number
from taskroute.errors import MessageInvalidError
from taskroute.topology.routing import Destination

T = TypeVar("T")


class Connection(Protocol):
    """What a channel needs of its connection."""

    broker: Broker

    def open(self, channel: Channel) -> ChannelState:
        """Return the broker's side of a channel. Its events go to `channel`, until `forget`."""

    def forget(self, state: ChannelState) -> None:
        """Make the events of a closed channel void."""

    def hears(self, state: ChannelState) -> bool:
        """Return whether the events of a channel still count."""

    def closed_by_broker(self) -> None:
        """Close every channel and leave the broker."""

    def drain_events(self, timeout: float | None = None) -> None:
        """Handle one event."""


class QueueDeclared(NamedTuple):
    """The answer to a queue declaration."""

    queue: str
    message_count: int
    consumer_count: int


class Channel(KombuChannel, RareMethods):
    """A channel. The thread that owns its connection uses it.

    As with py-amqp, the connection's `drain_events` calls the callbacks, and raises the refusal of a method that has
    no answer (publish, ack, reject). A channel that the broker has closed is opened again under the same object,
    without its consumers.
    """

    def __init__(self, connection: Connection, channel_id: int) -> None:
        self.connection: Connection | None = connection
        self.channel_id = channel_id
        self.auto_decode = True
        self.callbacks: dict[str, Callable[[Any], Any]] = {}
        self.on_closed: Callable[[Exception], object] | None = None
        self.cancel_callbacks: dict[str, Callable[[str], Any]] = {}
        self.no_ack_consumers: set[str] = set()  # type: ignore[assignment]
        self.events: dict[str, set[Callable[..., Any]]] = defaultdict(set)
        self._broker = connection.broker
        self._state = connection.open(self)

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self.connection is not None

    @property
    def state(self) -> ChannelState:
        """The broker's side of it."""
        return self._state

    def close(self, *_: object, **__: object) -> None:
        """End the consumers and put unsettled messages back to their queues."""
        if self.connection is not None:
            self.connection.forget(self._state)
            self.connection = None
            self._broker.close_channels((self._state,))

    @property
    def is_receiving(self) -> bool:
        """Never: a message comes in one piece."""
        return False

    def begin_close(self) -> None:
        """Do the same: there is nothing to wait for."""
        self.close()

    # Exchanges

    def exchange_declare(
        self,
        exchange: str,
        type: str,  # noqa: A002 - py-amqp's name
        passive: bool = False,
        durable: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,  # noqa: ARG002 - the answer is at hand
        arguments: Mapping[str, object] | None = None,
        internal: bool = False,
    ) -> None:
        """Declare an exchange."""
        self._ask(
            spec.Exchange.Declare,
            lambda: self._broker.declare_exchange(
                short_text(exchange, "exchange"),
                type,
                passive=bool(passive),
                durable=bool(durable),
                auto_delete=bool(auto_delete),
                internal=bool(internal),
                arguments=carried_table(arguments or {}),
            ),
        )

    def exchange_delete(self, exchange: str, if_unused: bool = False, nowait: bool = False) -> None:  # noqa: ARG002
        """Delete an exchange."""
        self._ask(spec.Exchange.Delete, lambda: self._broker.delete_exchange(exchange, if_unused=if_unused))

    def exchange_bind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        nowait: bool = False,  # noqa: ARG002
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        """Bind an exchange to an exchange."""
        exchange = Destination("exchange", destination)
        self._bind(spec.Exchange.Bind, self._broker.bind, exchange, source, routing_key, arguments)

    def exchange_unbind(
        self,
        destination: str,
        source: str = "",
        routing_key: str = "",
        nowait: bool = False,  # noqa: ARG002
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        """Undo `exchange_bind`."""
        exchange = Destination("exchange", destination)
        self._bind(spec.Exchange.Unbind, self._broker.unbind, exchange, source, routing_key, arguments)

    # Queues

    def ask_consumers(self, queue: str, answer: Callable[[str, int, int], object]) -> None:
        """Call `answer` with the name of a queue and the numbers of its consumers and messages."""
        declared = self.queue_declare(queue, passive=True)
        answer(queue, declared.consumer_count, declared.message_count)

    def queue_declare(
        self,
        queue: str = "",
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        nowait: bool = False,  # noqa: ARG002
        arguments: Mapping[str, object] | None = None,
    ) -> QueueDeclared:
        """Declare a queue; the broker makes up a name if there is none."""
        counts = self._ask(
            spec.Queue.Declare,
            lambda: self._broker.declare_queue(
                self._state,
                short_text(queue, "queue"),
                passive=bool(passive),
                durable=bool(durable),
                exclusive=bool(exclusive),
                auto_delete=bool(auto_delete),
                arguments=carried_table(arguments or {}),
            ),
        )
        return QueueDeclared(counts.name, counts.messages, counts.consumers)

    def queue_bind(
        self,
        queue: str,
        exchange: str = "",
        routing_key: str = "",
        nowait: bool = False,  # noqa: ARG002
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        """Bind a queue to an exchange."""
        destination = Destination("queue", queue)
        self._bind(spec.Queue.Bind, self._broker.bind, destination, exchange, routing_key, arguments)

    def queue_unbind(
        self,
        queue: str,
        exchange: str,
        routing_key: str = "",
        nowait: bool = False,  # noqa: ARG002
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        """Undo `queue_bind`."""
        destination = Destination("queue", queue)
        self._bind(spec.Queue.Unbind, self._broker.unbind, destination, exchange, routing_key, arguments)

    def queue_purge(self, queue: str = "", nowait: bool = False) -> int:  # noqa: ARG002
        """Delete the ready messages of a queue; return how many there were."""
        return self._ask(spec.Queue.Purge, lambda: self._broker.purge_queue(self._state, queue))

    def queue_delete(
        self,
        queue: str = "",
        if_unused: bool = False,
        if_empty: bool = False,
        nowait: bool = False,  # noqa: ARG002
    ) -> int:
        """Delete a queue; return how many messages were lost with it."""
        return self._ask(
            spec.Queue.Delete,
            lambda: self._broker.delete_queue(self._state, queue, if_unused=if_unused, if_empty=if_empty),
        )

    # Publishing

    def publish(
        self, exchange: str, routing_key: str, *, mandatory: bool, properties: Mapping[str, object], body: bytes
    ) -> None:
        """Publish a message. `drain_events` brings its return, its confirm or its refusal.

        Raises:
            MessageInvalidError: AMQP cannot carry a property.
        """
        try:
            carried = carried_properties(properties)
        except FrameSyntaxError as error:
            raise MessageInvalidError(f"AMQP cannot carry its properties: {error}") from error
        self._publish(exchange, routing_key, mandatory, carried, body)

    def basic_publish(
        self,
        msg: Any,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        **_: object,
    ) -> None:
        """Publish a message. `drain_events` brings its return, its confirm or its refusal."""
        if immediate:
            self._refuse(Refusal(NOT_IMPLEMENTED, "immediate=true"), spec.Basic.Publish)
        try:
            properties = carried_properties(msg.properties)
        except Refusal as refusal:
            self._refuse_message(exchange, refusal)
            return
        body = msg.body
        if isinstance(body, str):
            encoding = properties.setdefault("content_encoding", "utf-8")
            body = body.encode(str(encoding))
        self._publish(exchange, short_text(routing_key, "routing_key"), mandatory, properties, bytes(body or b""))

    def _refuse_message(self, exchange: str, refusal: Refusal) -> None:
        """Refuse what cannot be read, unless its exchange is refused: that is looked at first."""
        try:
            self._broker.check_publish(exchange)
        except Refusal as earlier:
            refusal = earlier
        self._refuse_later(refusal)

    def _publish(
        self, exchange: str, routing_key: str, mandatory: bool, properties: Mapping[str, object], body: bytes
    ) -> None:
        if not self._opened().hears(self._state):
            return  # the broker is closing the connection, and reads nothing more
        try:
            self._broker.publish(
                self._state,
                exchange=exchange,
                routing_key=routing_key,
                body=body,
                properties=properties,
                mandatory=mandatory,
            )
        except Refusal as refusal:
            self._refuse_later(refusal)

    def confirm_select(self, nowait: bool = False) -> None:  # noqa: ARG002
        """Have the broker confirm every later publish."""
        self._ask(spec.Confirm.Select, lambda: self._broker.select_confirms(self._state))

    # Consuming

    def basic_qos(self, prefetch_size: int, prefetch_count: int, a_global: bool = False, **options: object) -> None:
        """Limit the unacknowledged deliveries of every consumer that starts later."""
        is_global = (a_global or options.get("apply_global")) and not self._broker.rules.global_prefetch
        if prefetch_size or is_global:
            problem = "prefetch_size" if prefetch_size else "a prefetch for a whole channel (global)"
            self._refuse(Refusal(NOT_IMPLEMENTED, f"the embedded broker has no {problem}"), spec.Basic.Qos)
        count = whole_number(prefetch_count, "prefetch_count", 16)
        self._ask(spec.Basic.Qos, lambda: self._broker.limit_prefetch(self._state, count))

    def basic_consume(
        self,
        queue: str = "",
        consumer_tag: str = "",
        no_local: bool = False,  # noqa: ARG002 - RabbitMQ ignores it too
        no_ack: bool = False,
        exclusive: bool = False,
        nowait: bool = False,  # noqa: ARG002
        callback: Callable[[Any], Any] | None = None,
        arguments: Mapping[str, object] | None = None,
        on_cancel: Callable[[str], Any] | None = None,
    ) -> str:
        """Start a consumer; return its tag. `callback` is called with an `amqp.Message`."""
        tag = self._ask(
            spec.Basic.Consume,
            lambda: self._broker.consume(
                self._state,
                queue,
                short_text(consumer_tag, "consumer_tag"),
                no_ack=bool(no_ack),
                exclusive=bool(exclusive),
                arguments=carried_table(arguments or {}),
            ),
        )
        self.callbacks[tag] = callback or (lambda _: None)
        if on_cancel is not None:
            self.cancel_callbacks[tag] = on_cancel
        if no_ack:
            self.no_ack_consumers.add(tag)
        return tag

    def basic_cancel(self, consumer_tag: str, nowait: bool = False) -> str:  # noqa: ARG002
        """End a consumer; return its tag. Its deliveries can still be settled."""
        self.forget_consumer(consumer_tag)
        self._ask(spec.Basic.Cancel, lambda: self._broker.cancel(self._state, consumer_tag))
        return consumer_tag

    def basic_get(self, queue: str = "", no_ack: bool = False) -> Any:
        """Return one message, None when nothing is ready."""
        delivered = self._ask(spec.Basic.Get, lambda: self._broker.get(self._state, queue, no_ack=no_ack))
        if delivered is None:
            return None
        message = received(delivered, self)
        del message.delivery_info["consumer_tag"]
        message.delivery_info["message_count"] = delivered.remaining
        return message

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Acknowledge a delivery, or with `multiple` all up to it."""
        self._opened()
        try:
            self._broker.acknowledge(self._state, delivery_tag, multiple=multiple)
        except Refusal as refusal:
            self._refuse_later(refusal)

    def acknowledge(self, up_to: int, tags: Iterable[int]) -> None:
        """Acknowledge every delivery up to the tag `up_to` (0: none), and those of single `tags`."""
        if up_to:
            self.basic_ack(up_to, multiple=True)
        for tag in tags:
            self.basic_ack(tag)

    def basic_reject(self, delivery_tag: int, requeue: bool) -> None:
        """Put a delivery back to its place, or dead-letter it."""
        self._opened()
        try:
            self._broker.reject(self._state, delivery_tag, requeue=requeue)
        except Refusal as refusal:
            self._refuse_later(refusal)

    def basic_nack(self, delivery_tag: int, multiple: bool = False, requeue: bool = True) -> None:
        """Put a delivery back to its place or dead-letter it, or with `multiple` all up to it."""
        self._opened()
        try:
            self._broker.nack(self._state, delivery_tag, multiple=multiple, requeue=requeue)
        except Refusal as refusal:
            self._refuse_later(refusal)

    def put_back(self, up_to: int, tags: Iterable[int]) -> None:
        """Put every delivery up to the tag `up_to` (0: none), and those of single `tags`, back to their places."""
        if up_to:
            self.basic_nack(up_to, multiple=True)
        for tag in tags:
            self.basic_nack(tag)

    def basic_recover(self, requeue: bool = False) -> None:
        """Put every unsettled delivery back to its place."""
        if not requeue:
            self._refuse(Refusal(NOT_IMPLEMENTED, "basic.recover without requeue"), spec.Basic.Recover)
        self._opened()
        try:
            self._broker.recover(self._state)
        except Refusal as refusal:
            self._refuse_later(refusal)

    def forget_consumer(self, consumer_tag: str) -> Callable[[str], Any] | None:
        """Call nothing for a consumer from now on; return what it wants called when it is cancelled."""
        self.no_ack_consumers.discard(consumer_tag)
        self.callbacks.pop(consumer_tag, None)
        return self.cancel_callbacks.pop(consumer_tag, None)

    def _bind(
        self,
        method: tuple[int, int],
        change: Callable[[ChannelState, Binding], None],
        destination: Destination,
        source: str,
        routing_key: str,
        arguments: Mapping[str, object] | None,
    ) -> None:
        """Bind or unbind: both check what they are given in the same way."""
        key = short_text(routing_key, "routing_key")
        self._ask(
            method,
            lambda: change(self._state, Binding.of(source, destination, key, carried_table(arguments or {}))),
        )

    def _ask(self, method: tuple[int, int], call: Callable[[], T]) -> T:
        """Make a call that the broker answers; raise its refusal here."""
        self._opened()
        try:
            return call()
        except Refusal as refusal:
            self._refuse(refusal, method)

    def _refuse(self, refusal: Refusal, method: tuple[int, int]) -> NoReturn:
        self._reopen(refusal)
        raise error_for_code(refusal.code, str(refusal), method, ChannelError) from None

    def _refuse_later(self, refusal: Refusal) -> None:
        """Have `drain_events` raise the refusal of a call that the broker does not answer."""
        if refusal.closes_connection:
            self._state.post(Closed(None, refusal))
            self._broker.close_channels((self._state,))
            self._opened().forget(self._state)
        else:
            self._state.post(Closed(self._state, refusal))
            self._reopen(refusal)

    def _reopen(self, refusal: Refusal) -> None:
        connection = self._opened()
        if refusal.closes_connection:
            connection.closed_by_broker()
            return
        self._broker.close_channels((self._state,))
        connection.forget(self._state)
        self._state = connection.open(self)

    def _opened(self) -> Connection:
        """Return the connection; raise once the channel is closed, which a closed connection does, too."""
        if self.connection is None:
            raise amqp.RecoverableConnectionError("channel closed")
        return self.connection

"""The embedded broker where RabbitMQ gives no comparison: its clock, its names, its threads."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import amqp
import kombu
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.calls import Calls
from tests.kit.inside import set_when_waiting
from tests.kit.waiting import DEADLINE

from taskroute.broker.embedded import engine, transport
from taskroute.broker.embedded.backlog import Backlog, Entry, StoredMessage
from taskroute.broker.embedded.bindings import Binding, Bindings
from taskroute.broker.embedded.clock import ManualClock, SystemClock
from taskroute.broker.embedded.connection import EmbeddedConnection
from taskroute.broker.embedded.dead_lettering import PARKED_RETRY
from taskroute.broker.embedded.event_stream import EventStream
from taskroute.broker.embedded.queue import Depth
from taskroute.broker.embedded.refusal import Refusal
from taskroute.broker.embedded.rules import NEWEST
from taskroute.broker.embedded.wire import short_text
from taskroute.topology.routing import Destination


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    yield name
    transport.drop(name)


def connect(name: str) -> EmbeddedConnection:
    return EmbeddedConnection(transport.broker(name))


class Setup:
    """A broker with a manual clock."""

    def __init__(self, name: str) -> None:
        self.clock = ManualClock()
        transport.create(name, self.clock)
        self.connection = connect(name)
        self.channel = self.connection.channel()

    def queue(self, name: str, **arguments: object) -> None:
        options = {key.replace("_", "-"): value for key, value in arguments.items()}
        self.channel.queue_declare(name, durable=True, auto_delete=False, arguments=options)

    def publish(self, body: bytes, queue: str, **properties: object) -> None:
        self.channel.basic_publish(amqp.Message(body, **properties), "", queue)

    def ready(self, queue: str) -> int:
        return self.channel.queue_declare(queue, passive=True).message_count


@pytest.fixture
def setup(name: str) -> Iterator[Setup]:
    setup = Setup(name)
    yield setup
    setup.connection.close()


# --- time ---


def test_message_expires_when_the_clock_reaches_its_ttl(setup: Setup) -> None:
    setup.queue("dead")
    setup.queue("q", x_message_ttl=60_000, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    setup.publish(b"1", "q")

    setup.clock.advance(30)
    setup.publish(b"2", "q")
    setup.clock.advance(29)
    assert (setup.ready("q"), setup.ready("dead")) == (2, 0)

    setup.clock.advance(1)
    assert (setup.ready("q"), setup.ready("dead")) == (1, 1)
    setup.clock.advance(30)
    assert (setup.ready("q"), setup.ready("dead")) == (0, 2)


def test_unused_queue_expires_and_each_use_restarts_its_time(setup: Setup) -> None:
    setup.queue("q", x_expires=60_000)

    setup.clock.advance(59)
    setup.queue("q", x_expires=60_000)
    setup.clock.advance(59)

    tag = setup.channel.basic_consume("q", callback=print)
    setup.clock.advance(1000)
    setup.channel.basic_cancel(tag)
    setup.clock.advance(59)
    assert setup.ready("q") == 0  # a passive declaration is a use as well

    setup.clock.advance(60)
    with pytest.raises(amqp.NotFound):
        setup.ready("q")


def test_at_least_once_dead_letter_waits_for_its_target(setup: Setup) -> None:
    """A message that waits for its target queue still counts for the limit of its source queue."""
    setup.queue(
        "q",
        x_queue_type="quorum",
        x_message_ttl=1000,
        x_max_length=2,
        x_overflow="reject-publish",
        x_dead_letter_exchange="",
        x_dead_letter_routing_key="later",
        x_dead_letter_strategy="at-least-once",
    )

    setup.publish(b"1", "q")
    setup.publish(b"2", "q")
    setup.clock.advance(1)
    assert setup.ready("q") == 0

    outcomes: list[str] = []
    setup.channel.confirm_select()
    setup.channel.events["basic_ack"].add(lambda *_: outcomes.append("ack"))
    setup.channel.events["basic_nack"].add(lambda *_: outcomes.append("nack"))
    setup.publish(b"3", "q")
    setup.connection.drain_events(timeout=0)
    assert outcomes == ["nack"]  # a message that waits for its target still counts

    setup.queue("later")
    setup.clock.advance(PARKED_RETRY)
    assert setup.ready("later") == 2

    setup.publish(b"4", "q")
    setup.connection.drain_events(timeout=0)
    assert outcomes == ["nack", "ack"]


def test_manual_clock_advances_exactly_to_each_next_call() -> None:
    """Steps that are added up would miss it: 0.1 + 0.2 is not 0.3."""
    clock, made = ManualClock(), []
    assert clock.next_call() is None

    for moment in (0.3, 0.1, 0.1 + 0.2):
        clock.call_at(moment, lambda moment=moment: made.append((moment, clock.now())))  # type: ignore[misc]

    while (due := clock.next_call()) is not None:
        clock.advance_to(due)
    assert made == [(0.1, 0.1), (0.3, 0.3), (0.1 + 0.2, 0.1 + 0.2)]

    clock.advance_to(0.2)
    assert clock.now() == 0.1 + 0.2  # it never moves back


def test_system_clock_calls_in_order_of_time_until_it_is_closed() -> None:
    clock = SystemClock("test-clock")
    called = Calls()
    now = clock.now()

    def call_later() -> None:  # on the thread that makes the calls, which so has both before it makes the first
        clock.call_at(now + 0.02, lambda: called("second"))
        clock.call_at(now + 0.01, lambda: called("first"))

    clock.call_at(now, call_later)
    assert called.wait(2) == ["first", "second"]

    clock.close()
    clock.call_at(clock.now(), lambda: called("never"))
    for thread in threading.enumerate():
        if thread.name == "test-clock":
            thread.join(DEADLINE)
            assert not thread.is_alive()
    assert "never" not in called.calls


# --- names ---


def test_brokers_of_different_names_share_nothing(name: str) -> None:
    one, other = connect(name), connect(f"{name}-other")
    one.channel().queue_declare("q", durable=True, auto_delete=False)

    with pytest.raises(amqp.NotFound):
        other.channel().queue_declare("q", passive=True)

    one.close()
    other.close()
    transport.drop(f"{name}-other")


def test_dropped_broker_closes_its_connections_and_forgets_queues(name: str) -> None:
    connection = connect(name)
    channel = connection.channel()
    channel.queue_declare("q", durable=True, auto_delete=False)
    old = transport.broker(name)

    transport.drop(name)
    with pytest.raises(amqp.ConnectionForced):
        connection.drain_events(timeout=DEADLINE)
    with pytest.raises(amqp.RecoverableConnectionError):
        channel.queue_declare("q", passive=True)
    assert not connection.connected
    connection.close()

    with pytest.raises(amqp.ConnectionForced):
        EmbeddedConnection(old)

    again = connect(name)
    with pytest.raises(amqp.NotFound):
        again.channel().queue_declare("q", passive=True)
    again.close()


def test_broker_with_its_own_clock_is_created_once(name: str) -> None:
    transport.create(name, ManualClock())

    with pytest.raises(ValueError, match=name):
        transport.create(name, ManualClock())


# --- waiting ---


def readable(connection: EmbeddedConnection) -> bool:
    return bool(select.select([connection.sock], [], [], 0)[0])


def test_descriptor_is_readable_while_there_are_events(name: str) -> None:
    connection = connect(name)
    channel = connection.channel()
    channel.queue_declare("q", durable=True, auto_delete=False)
    got: list[Any] = []
    channel.basic_consume("q", callback=got.append)
    assert not readable(connection)

    for _ in range(3):
        channel.basic_publish(amqp.Message(b"x"), "", "q")

    for count in (1, 2, 3):
        assert readable(connection)
        connection.drain_events(timeout=0)
        assert len(got) == count

    with pytest.raises(socket.timeout):
        connection.drain_events(timeout=0)
    assert not readable(connection)

    connection.close()


def test_waiting_consumer_is_woken_by_a_message(name: str) -> None:
    consumer, publisher = connect(name), connect(name)
    channel = consumer.channel()
    channel.queue_declare("q", durable=True, auto_delete=False)
    got: list[Any] = []
    channel.basic_consume("q", callback=got.append)

    waiting = threading.Thread(target=consumer.drain_events)
    waiting.start()

    publisher.channel().basic_publish(amqp.Message(b"x"), "", "q")
    waiting.join(DEADLINE)

    assert len(got) == 1
    consumer.close()
    publisher.close()


def test_delivery_to_a_channel_closed_meanwhile_is_requeued(name: str) -> None:
    connection, got = connect(name), list[Any]()
    channel, other = connection.channel(), connection.channel()
    channel.queue_declare("q", durable=True, auto_delete=False)
    channel.basic_consume("q", callback=got.append)
    other.basic_publish(amqp.Message(b"x"), "", "q")

    channel.close()
    connection.drain_events(timeout=0)

    assert got == []
    assert other.queue_declare("q", passive=True).message_count == 1
    connection.close()


def test_event_stream_of_many_threads_loses_nothing() -> None:
    stream: EventStream[int] = EventStream()

    def put(base: int) -> None:
        for n in range(500):
            stream.put(base + n)

    threads = [threading.Thread(target=put, args=(base,)) for base in (0, 500, 1000, 1500)]
    for thread in threads:
        thread.start()
    taken = [stream.take(DEADLINE) for _ in range(2000)]
    for thread in threads:
        thread.join(DEADLINE)

    assert sorted(taken) == list(range(2000))
    with pytest.raises(TimeoutError):
        stream.take(0)
    stream.close()


def test_each_message_is_delivered_once_among_many_threads(name: str) -> None:
    first = connect(name)
    first.channel().queue_declare("q", durable=True, auto_delete=False)
    total, seen, lock = 1200, [], threading.Lock()
    done = threading.Event()

    def publish(base: int) -> None:
        connection = connect(name)
        channel = connection.channel()
        for number in range(base, base + 300):
            channel.basic_publish(amqp.Message(str(number).encode()), "", "q")
        connection.close()

    def consume() -> None:
        connection = connect(name)
        channel = connection.channel()
        channel.basic_qos(0, 7, False)

        def take(message: Any) -> None:
            with lock:
                seen.append(int(message.body))
                if len(seen) == total:
                    done.set()
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume("q", callback=take)
        while not done.is_set():
            try:
                connection.drain_events(timeout=0.05)
            except TimeoutError:
                continue
        connection.close()

    threads = [threading.Thread(target=publish, args=(base,)) for base in range(0, total, 300)]
    threads += [threading.Thread(target=consume) for _ in range(3)]
    for thread in threads:
        thread.start()

    assert done.wait(DEADLINE)
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(seen) == list(range(total))
    first.close()


# --- depths, peek and wait_empty ---


class Account:
    """A model of one queue: the messages that it must hold after each action."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.broker = setup.connection.broker
        self.ready: list[bytes] = []
        self.taken: dict[int, bytes] = {}
        setup.queue("q", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
        setup.queue("dead")

    def publish(self) -> None:
        body = str(len(self.ready) + len(self.taken)).encode()
        self.setup.publish(body, "q")
        self.ready.append(body)

    def take(self) -> None:
        if (message := self.setup.channel.basic_get("q")) is not None:
            self.taken[message.delivery_tag] = self.ready.pop(0)

    def take_for_good(self) -> None:
        if self.setup.channel.basic_get("q", no_ack=True) is not None:
            self.ready.pop(0)

    def acknowledge(self) -> None:
        if self.taken:
            self.setup.channel.basic_ack(max(self.taken), multiple=True)
            self.taken.clear()

    def reject(self) -> None:
        if self.taken:
            tag = min(self.taken)
            self.setup.channel.basic_reject(tag, requeue=False)
            del self.taken[tag]

    def recover(self) -> None:
        self.setup.channel.basic_recover(requeue=True)
        self.give_back()

    def close_channel(self) -> None:
        self.setup.channel.close()
        self.setup.channel = self.setup.connection.channel()
        self.give_back()

    def give_back(self) -> None:
        self.ready[:0] = [self.taken[tag] for tag in sorted(self.taken)]
        self.taken.clear()


ACTIONS = [name for name in vars(Account) if not name.startswith("_") and name != "give_back"]


@given(actions=st.lists(st.sampled_from(ACTIONS), max_size=30))
def test_depths_and_peek_agree_with_a_model_of_the_queue(actions: list[str]) -> None:
    name = f"test-{uuid.uuid4().hex}"
    setup = Setup(name)
    account = Account(setup)

    for action in actions:
        getattr(account, action)()
        assert account.broker.depths(["q"]) == {"q": Depth(len(account.ready), len(account.taken))}
        assert [message.body for message in account.broker.peek("q")] == account.ready
    setup.connection.close()
    transport.drop(name)


def test_missing_queue_reads_as_empty(setup: Setup) -> None:
    broker = setup.connection.broker

    assert broker.depths(["nowhere"]) == {"nowhere": Depth(0, 0)}
    assert broker.peek("nowhere") == ()
    assert broker.wait_empty(["nowhere"], 0)


def test_peek_shows_messages_by_priority(setup: Setup) -> None:
    setup.queue("q", x_max_priority=9)
    for body, priority in ((b"low", 1), (b"high", 9), (b"low too", 1)):
        setup.publish(body, "q", priority=priority)

    assert [message.body for message in setup.connection.broker.peek("q")] == [b"high", b"low", b"low too"]


class Waiter:
    """A thread that waits for empty queues; its wait has begun when the constructor returns."""

    def __init__(self, broker: engine.Broker, *queues: str) -> None:
        begun = threading.Event()
        set_when_waiting(broker, begun)
        self.outcome: Future[bool] = Future()
        self.thread = threading.Thread(target=lambda: self.outcome.set_result(broker.wait_empty(queues, 10 * DEADLINE)))
        self.thread.daemon = True
        self.thread.start()
        assert begun.wait(DEADLINE)

    def join(self) -> bool:
        return self.outcome.result(DEADLINE)


def test_wait_empty_ends_when_the_queues_are_empty(setup: Setup) -> None:
    """An expired or an acknowledged message has left its queue; an unsettled one has not."""
    broker = setup.connection.broker
    setup.queue("q")
    setup.queue("r", x_message_ttl=1000)
    setup.publish(b"1", "q")
    setup.publish(b"2", "r")
    assert not broker.wait_empty(["q", "r"], 0)

    waiter = Waiter(broker, "q", "r")
    setup.clock.advance(1)
    message = setup.channel.basic_get("q")

    assert not broker.wait_empty(["q", "r"], 0)  # delivered, and not yet settled

    setup.channel.basic_ack(message.delivery_tag)
    assert waiter.join()


def test_wait_empty_ends_when_the_broker_is_dropped(name: str) -> None:
    broker = transport.broker(name)
    connection = connect(name)
    channel = connection.channel()
    channel.queue_declare("q", durable=True, auto_delete=False)
    channel.basic_publish(amqp.Message(b""), "", "q")
    waiter = Waiter(broker, "q")

    transport.drop(name)
    assert waiter.join()

    connection.close()


# --- refusals by name ---


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (
            lambda ch: ch.queue_declare("q", durable=True, auto_delete=False, arguments={"x-queue-type": "stream"}),
            "stream",
        ),
        (lambda ch: ch.exchange_declare("e", "x-delayed-message"), "x-delayed-message"),
        (lambda ch: ch.basic_qos(5, 0, False), "prefetch_size"),
        (lambda ch: ch.basic_publish(amqp.Message(b""), "", "q", immediate=True), "immediate"),
        (lambda ch: ch.basic_recover(requeue=False), "recover"),
        (
            lambda ch: (ch.queue_declare("q", durable=True), ch.basic_consume("q", arguments={"x-priority": 1})),
            "x-priority",
        ),
    ],
)
def test_unsupported_feature_is_refused_by_its_name(name: str, ask: Any, what: str) -> None:
    connection = connect(name)

    with pytest.raises(amqp.AMQPNotImplementedError, match=what):
        ask(connection.channel())

    connection.close()


def test_publish_that_amqp_cannot_encode_is_refused(name: str) -> None:
    connection = connect(name)
    channel = connection.channel()

    with pytest.raises(amqp.exceptions.FrameSyntaxError):
        channel.basic_publish(amqp.Message(b"", application_headers={"a": object()}), "", "q")
    with pytest.raises(amqp.exceptions.FrameSyntaxError):
        channel.basic_publish(amqp.Message(b""), "", "k" * 256)

    connection.close()


def test_kombu_publishes_and_consumes_on_the_embedded_broker(name: str) -> None:
    got: list[Any] = []
    with kombu.Connection(hostname=name, transport=transport.Transport) as connection:
        queue = kombu.Queue("q", kombu.Exchange("e", "topic"), routing_key="a.#", message_ttl=60)

        def take(body: Any, message: Any) -> None:
            got.append((body, message.headers, message.delivery_info["routing_key"]))
            message.ack()

        with connection.Consumer(queue, callbacks=[take]), connection.Producer() as producer:
            producer.publish({"n": 1}, exchange="e", routing_key="a.b", headers={"h": [1]})
            connection.drain_events(timeout=DEADLINE)
        assert connection.default_channel.queue_declare("q", passive=True).message_count == 0

    assert got == [({"n": 1}, {"h": [1]}, "a.b")]


# --- short strings ---


@given(st.sampled_from("aé€😀\ud800"), st.integers(60, 260), st.text(max_size=3))
def test_short_string_is_limited_by_its_bytes(letter: str, count: int, rest: str) -> None:
    text = letter * count + rest

    if len(text.encode("utf-8", "surrogatepass")) <= 255:
        assert short_text(text, "it") == text
    else:
        with pytest.raises(amqp.exceptions.FrameSyntaxError, match="it is not a string of at most 255 bytes"):
            short_text(text, "it")


# --- cached routes ---

EXCHANGES = ("e", "f", "amq.topic")
KEYS = ("a", "a.b")
CHANGES = st.one_of(
    st.tuples(st.just("declare"), st.sampled_from("ef"), st.none() | st.sampled_from(EXCHANGES), st.booleans()),
    st.tuples(
        st.sampled_from(["bind", "bind", "unbind"]),
        st.sampled_from(EXCHANGES),
        st.sampled_from([*(Destination("queue", name) for name in "pq"), *(Destination("exchange", e) for e in "ef")]),
        st.sampled_from(["#", "a", "*.b"]),
    ),
    st.tuples(st.just("delete"), st.sampled_from("ef")),
    st.tuples(st.just("forget"), st.sampled_from("pq")),
)

BEGUN: list[tuple[Any, ...]] = [
    ("declare", "e", "f", False),
    ("declare", "f", "amq.topic", False),
    ("bind", "amq.topic", Destination("queue", "p"), "#"),
]
"""The longest possible route, so that later changes have something to break."""


def change(bindings: Bindings, what: str, name: str, *more: Any) -> None:
    match what, more:
        case "declare", (alternate, auto_delete):
            arguments = {} if alternate is None else {"alternate-exchange": alternate}
            options = {"durable": True, "internal": False, "auto_delete": auto_delete, "arguments": arguments}
            bindings.declare(name, "topic", **options)
        case "bind", (destination, key):
            bindings.bind(Binding.of(name, destination, key, {}))
        case "unbind", (destination, key):
            bindings.unbind(Binding.of(name, destination, key, {}))
        case "delete", ():
            bindings.delete(name, if_unused=False)
        case "forget", ():
            bindings.forget(Destination("queue", name))


def routes(bindings: Bindings) -> dict[tuple[str, str], set[str]]:
    return {(exchange, key): set(bindings.queues(exchange, (key,), {})) for exchange in EXCHANGES for key in KEYS}


@settings(max_examples=100)
@given(st.lists(CHANGES, max_size=10))
def test_cached_route_is_forgotten_at_each_change(changes: list[tuple[Any, ...]]) -> None:
    """A table of bindings that has answered before routes like a new one with the same changes."""
    asked, changes = Bindings(NEWEST), [*BEGUN, *changes]

    for count, made in enumerate(changes, 1):
        with contextlib.suppress(Refusal):
            change(asked, *made)
        never_asked = Bindings(NEWEST)
        for one in changes[:count]:
            with contextlib.suppress(Refusal):
                change(never_asked, *one)
        assert routes(asked) == routes(never_asked)


class Key(str):
    """A routing key that can be weakly referenced, which shows whether the cache keeps it."""

    __slots__ = ("__weakref__",)


def test_cache_of_routes_is_bounded() -> None:
    bindings, kept = Bindings(NEWEST), weakref.WeakSet[Key]()
    bindings.bind(Binding.of("amq.topic", Destination("queue", "q"), "#", {}))

    for number in range(5000):
        key = Key(number)
        kept.add(key)
        assert bindings.queues("amq.topic", (key,), {}) == {"q"}

    assert 0 < len(kept) <= 1025


# --- the backlog ---


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30), st.randoms(use_true_random=False))
def test_restored_message_returns_to_its_place_in_the_backlog(arrivals: list[tuple[int, bool]], chance: Any) -> None:
    backlog = Backlog(2)
    entries = [
        Entry(StoredMessage("", "k", b"x" * at, {}), at, priority, None) for at, (priority, _) in enumerate(arrivals)
    ]
    for entry in entries:
        backlog.append(entry)

    taken = [backlog.pop() for (_, is_taken) in arrivals if is_taken]
    chance.shuffle(taken)
    for entry in taken:
        backlog.restore(entry)

    assert len(backlog) == len(entries)
    assert backlog.body_bytes == sum(range(len(entries)))
    order = [backlog.pop() for _ in range(len(backlog))]
    assert order == sorted(entries, key=lambda entry: (-entry.priority, entry.position))
    with pytest.raises(IndexError):
        backlog.pop()

"""From publish to the right handler and to the acknowledgement, on both brokers."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any

import pytest
from tests.kit.calls import Calls, logged
from tests.kit.embedded import broker_of
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.specs import Video, media, video
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import (
    BrokerUnavailableError,
    ClosedError,
    ConfigurationError,
    HandlerRegistry,
    Header,
    Message,
    Publisher,
    QueueSpec,
    Reject,
    Retry,
    ShutdownTimeoutError,
    Topology,
    TopologyError,
    TopologyMismatchError,
    UnroutableError,
    UnsupportedFeatureError,
    Worker,
)
from taskroute.instrumentation import Event, Instrumentation, Received

audit = QueueSpec(name="audit", bindings=[media.bind("#")])
topology = Topology(exchanges=[media], queues=[video, audit])
on_two_threads = partial(running, threads=2)


def test_message_goes_to_its_handler_with_body_and_captures(broker_url: str) -> None:
    registry, seen = HandlerRegistry(), Calls()

    @registry.handler("video.{action}", queue=video)
    def by_action(task: Video, action: str, tenant: Annotated[str, Header("x-tenant")] = "none") -> None:
        seen("action", task.id, action, tenant)

    @registry.handler("video.upload", queue=video)
    def upload(task: Video) -> None:
        seen("upload", task.id)

    @registry.handler("#", queue=audit)
    def log(message: Message) -> None:
        seen("audit", message.routing_key, message.exchange, message.queue, message.attempt)

    with on_two_threads(broker_url, topology, registry) as (worker, publisher):
        publisher.publish(Video(id=1), "video.upload", exchange=media)
        publisher.publish({"id": 2}, "video.delete", exchange=media, headers={"x-tenant": "acme"})
        publisher.publish(b"not even json", "image.upload", exchange="media")
        assert worker.wait_idle(DEADLINE)
        stats = worker.stats()

    assert sorted(map(str, seen.calls)) == sorted(
        map(
            str,
            [
                ("upload", 1),
                ("action", 2, "delete", "acme"),
                ("audit", "video.upload", "media", "audit", 1),
                ("audit", "video.delete", "media", "audit", 1),
                ("audit", "image.upload", "media", "audit", 1),
            ],
        )
    )
    assert sum(stats.handled.values()) == 5
    with looking(broker_url) as peer:
        assert [peer.ready(queue) for queue in ("video", "audit", "video.dead", "audit.dead")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("body", "key", "reason", "error"),
    [
        (b'{"id": "seven"}', "video.upload", "invalid_body", "id"),
        (b"\xff{", "video.upload", "invalid_body", ""),
        (b'{"id": 1}', "video.a.b", "no_handler", "video"),
    ],
)
def test_unhandleable_message_is_dead_lettered_with_its_reason(
    broker_url: str, body: bytes, key: str, reason: str, error: str
) -> None:
    """Its headers quote no value of the body, and the worker goes on."""
    seen = Calls()

    def handle(task: Video, action: str) -> None:
        seen(task.id)

    with on_two_threads(broker_url, topology, registry_of(handle)) as (worker, publisher):
        publisher.publish(body, key, exchange=media, content_type="application/json", headers={"own": "kept"})
        publisher.publish(Video(id=7), "video.upload", exchange=media)
        assert worker.wait_idle(DEADLINE)

        assert worker.health().ready
        assert worker.stats().dead_lettered == {"video": 1}
    assert seen.calls == [7]  # the invalid message was never handled, and the worker goes on
    with looking(broker_url) as peer:
        inbox = peer.receive("video.dead", 1)
    assert inbox.bodies == [body]
    headers = inbox.headers
    assert headers["x-taskroute-reason"] == reason
    assert error in headers["x-taskroute-error"]
    assert "seven" not in headers["x-taskroute-error"]
    assert (headers["x-taskroute-queue"], headers["x-taskroute-exchange"]) == ("video", "media")
    assert (headers["x-taskroute-routing-key"], headers["x-taskroute-attempt"]) == (key, 1)
    assert headers["own"] == "kept"
    assert "x-taskroute-failed-at" in headers


def test_dead_letter_can_be_requeued_any_number_of_times(broker_url: str) -> None:
    """A dead-letter queue has no delivery limit."""

    def refuse(message: Message, action: str) -> None:
        raise Reject("no")

    with on_two_threads(broker_url, topology, registry_of(refuse)) as (worker, publisher):
        publisher.publish({}, "video.upload", exchange=media)
        assert worker.wait_idle(DEADLINE)

    with looking(broker_url) as peer:
        for _ in range(30):  # more often than the delivery limit of other queues
            inbox = peer.consume("video.dead", channel=(channel := peer.new_channel()))
            peer.until(partial(bool, inbox))
            channel.basic_reject(inbox[0].delivery_info["delivery_tag"], requeue=True)
            channel.close()
        assert len(peer.receive("video.dead", 1)) == 1


def test_failed_message_is_retried_unchanged_then_dead_lettered(broker_url: str) -> None:
    seen = Calls()

    def handle(message: Message, action: str) -> None:
        seen(message.attempt, action, message.routing_key, message.exchange, message.body)
        raise ValueError("secret value")

    with on_two_threads(broker_url, topology, registry_of(handle)) as (worker, publisher):
        publisher.publish(b"\x00 body", "video.upload", exchange=media, message_id="m1")
        assert worker.wait_idle(DEADLINE)

        assert (worker.stats().retried, worker.stats().dead_lettered) == ({"video": 1}, {"video": 1})
    assert seen.calls == [(attempt, "upload", "video.upload", "media", b"\x00 body") for attempt in (1, 2)]
    with looking(broker_url) as peer:
        inbox = peer.receive("video.dead", 1)
    assert inbox.bodies == [b"\x00 body"]
    assert inbox[0].properties["message_id"] == "m1"
    assert inbox.headers["x-taskroute-reason"] == "handler_error"
    assert inbox.headers["x-taskroute-attempt"] == 2
    assert inbox.headers["x-taskroute-error"].startswith("ValueError at test_worker.py:")
    assert inbox.headers["x-taskroute-error-text"] == "secret value"
    assert inbox.headers["x-taskroute-error-traceback"].endswith("ValueError: secret value")


def test_handler_can_reject_or_ask_for_a_retry(broker_url: str) -> None:
    attempts = Calls()

    def handle(message: Message, action: str) -> None:
        attempts(action, message.attempt)
        if action == "reject":
            raise Reject("no such customer")
        if message.attempt == 1:
            raise Retry(delay=0.01)

    with on_two_threads(broker_url, topology, registry_of(handle)) as (worker, publisher):
        for action in ("reject", "again"):
            publisher.publish({}, f"video.{action}", exchange=media)
        assert worker.wait_idle(DEADLINE)

        assert worker.stats().dead_lettered == {"video": 1}
    assert sorted(attempts.calls) == [("again", 1), ("again", 2), ("reject", 1)]
    with looking(broker_url) as peer:
        assert peer.receive("video.dead", 1).headers["x-taskroute-reason"] == "rejected"


class Unprintable:
    def __format__(self, spec: str) -> str:
        raise ValueError("no text")


class NamelessError(Exception):
    __module__: Any = Unprintable()


def nameless(_: Retry) -> None:
    raise NamelessError


def bad_delay(retry: Retry) -> None:
    retry.delay = "5"  # type: ignore[assignment]
    raise retry


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("fail", [nameless, bad_delay])
def test_unreadable_handler_error_is_retried_then_dead_lettered(
    taskroute_url: str, fail: Callable[[Retry], None], is_async: bool, threads: int
) -> None:
    """An exception whose text or delay cannot be read counts as handler_error."""
    seen = Calls()

    def plain(action: str) -> None:
        seen(action)
        if action == "fails":
            fail(Retry())

    async def later(action: str) -> None:
        plain(action)

    registry = registry_of(later if is_async else plain)

    with running(taskroute_url, topology, registry, threads=threads, concurrency={video: 1}) as (worker, publisher):
        publisher.publish({}, "video.fails", exchange=media)
        publisher.publish({}, "video.fine", exchange=media)  # it needs the one place, which must be free again
        assert worker.wait_idle(DEADLINE)
        stats = worker.stats()

    assert sorted(seen.calls) == ["fails", "fails", "fine"]
    assert (stats.retried, stats.dead_lettered, stats.connections) == ({"video": 1}, {"video": 1}, 1)
    with looking(taskroute_url) as peer:
        assert peer.receive("video.dead", 1).headers["x-taskroute-reason"] == "handler_error"


def test_exit_in_a_handler_is_dead_lettered_and_ends_no_thread(broker_url: str) -> None:
    def handle(action: str) -> None:
        if action == "exit":
            raise SystemExit(1)

    with running(broker_url, topology, registry_of(handle), threads=1) as (worker, publisher):
        publisher.publish({}, "video.exit", exchange=media)
        publisher.publish({}, "video.fine", exchange=media)
        assert worker.wait_idle(DEADLINE)

        assert worker.stats().dead_lettered == {"video": 1}
        assert sum(worker.stats().handled.values()) == 1


def test_many_messages_on_many_threads_are_each_handled_once(broker_url: str) -> None:
    seen = Calls()
    registry = registry_of(lambda task, action: seen(task["id"]))

    with running(broker_url, topology, registry, threads=4) as (worker, publisher):
        futures = [publisher.submit({"id": number}, f"video.{number % 7}", exchange=media) for number in range(2_000)]
        for future in futures:
            future.result(DEADLINE)
        assert worker.wait_idle(DEADLINE)

    assert sorted(seen.calls) == list(range(2_000))


def test_handlers_of_a_worker_without_threads_run_on_its_session(broker_url: str) -> None:
    threads = Calls()
    registry = registry_of(lambda body, action: threads(threading.current_thread().name))

    with running(broker_url, topology, registry, threads=0, name="inline") as (worker, publisher):
        for _ in range(5):
            publisher.publish({}, "video.x", exchange=media)
        assert worker.wait_idle(DEADLINE)

    assert threads.calls == ["inline"] * 5


def test_handlers_never_run_on_threads_that_own_connections(broker_url: str) -> None:
    names = Calls()
    registry = registry_of(lambda body, action: names(threading.current_thread().name))

    with on_two_threads(broker_url, topology, registry, name="mine") as (worker, publisher):
        publisher.publish({}, "video.x", exchange=media)
        assert worker.wait_idle(DEADLINE)

    assert all(name.startswith("mine-handler-") for name in names.calls)


def test_messages_published_before_the_start_are_handled(broker_url: str) -> None:
    seen = Calls()

    with Publisher(broker_url, topology) as publisher:
        for number in range(300):
            publisher.submit({"id": number}, "video.x", exchange=media)
    with on_two_threads(broker_url, topology, registry_of(lambda body, action: seen(body["id"]))) as (worker, _):
        assert worker.wait_idle(DEADLINE)

    assert sorted(seen.calls) == list(range(300))


def test_prefetch_of_one_holds_from_the_first_message(broker_url: str) -> None:
    registry, begun, go_on = HandlerRegistry(), threading.Semaphore(0), threading.Event()

    @registry.handler("#", queue=video)
    def wait(body: bytes) -> None:
        begun.release()
        go_on.wait(DEADLINE)

    with on_two_threads(broker_url, topology, registry, prefetch=1) as (worker, publisher):
        for key in ("video.a", "video.b"):
            publisher.publish(b"", key, exchange=media)
        assert begun.acquire(timeout=DEADLINE)
        inside = InsideWorker(worker)
        assert inside.count_ready("video") == 1
        assert inside.open_count == 1

        go_on.set()
        assert worker.wait_idle(DEADLINE)


def test_delivery_sent_before_an_answer_is_taken_before_it(taskroute_url: str) -> None:
    """Once the session has the broker's answer, the worker counts what the broker sent before it."""
    answered, go_on = threading.Event(), threading.Event()
    registry = registry_of(lambda body: go_on.wait(DEADLINE), "#")

    with on_two_threads(taskroute_url, topology, registry) as (worker, _), looking(taskroute_url) as peer:
        inside = InsideWorker(worker)

        def question() -> None:
            peer.publish(b"1", "video.a", "media")
            inside.post(lambda: answered.wait(DEADLINE))  # nothing is read between answer and assertion

        inside.ask(question)
        assert inside.open_count == 1

        answered.set()
        go_on.set()
        assert worker.wait_idle(DEADLINE)


def test_wait_idle_waits_for_a_delivery_not_yet_written(taskroute_url: str) -> None:
    """A channel of RabbitMQ answers that a queue is empty before it writes what that queue has just given it."""
    handled = Calls()

    def handle(body: bytes) -> None:
        handled(body)

    with (
        on_two_threads(taskroute_url, topology, registry_of(handle, "#")) as (worker, _),
        looking(taskroute_url) as peer,
    ):
        inside = InsideWorker(worker)
        counts = iter((lambda: None, lambda: peer.submit(b"1", "video.a", "media")))

        def count() -> int:
            next(counts, lambda: None)()
            return 0

        with inside.counting(count):
            assert worker.wait_idle(DEADLINE)

        assert len(handled.calls) == 1


def test_wait_idle_waits_for_a_delivery_not_yet_lined_up(taskroute_url: str) -> None:
    """While instrumentation is told of it no handler can have it, and the queue has it no more."""
    told, go_on, release, counted = threading.Event(), threading.Event(), threading.Event(), Calls()

    class Holding(Instrumentation):
        def on_event(self, event: Event) -> None:
            if isinstance(event, Received):
                told.set()
                go_on.wait(DEADLINE)

    def handle(body: bytes) -> None:
        assert release.wait(DEADLINE)

    def count() -> int:
        counted("no message is ready")
        return 0

    options: dict[str, Any] = {"instrumentation": [Holding()]}
    with on_two_threads(taskroute_url, topology, registry_of(handle, "#"), **options) as (worker, publisher):
        inside = InsideWorker(worker)
        publisher.publish(b"1", "video.a", exchange=media)
        assert told.wait(DEADLINE)
        with inside.counting(count):
            idle = in_thread(lambda: worker.wait_idle(DEADLINE))
            until(lambda: inside.posted_count)  # it has found nothing open, and is to count
            go_on.set()
            counted.wait(2)
            release.set()
            assert idle.result(DEADLINE)

    assert len(counted.calls) == 4  # twice more, as something was delivered meanwhile


def test_worker_with_a_running_handler_at_stop_is_live_and_draining(broker_url: str) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def handle(action: str) -> None:
        entered.set()
        assert go_on.wait(DEADLINE)

    worker = Worker(broker_url, topology, registry_of(handle))
    assert worker.health().reasons == ("not started",)

    worker.start()
    with Publisher(broker_url, topology) as publisher:
        publisher.publish(b"", "video.x", exchange=media)
    assert entered.wait(DEADLINE)

    stopping = in_thread(worker.stop)
    until(lambda: InsideWorker(worker).is_stopping)
    health = worker.health()

    assert (health.live, health.ready, health.connected) == (True, False, True)
    assert health.reasons == ("draining",)

    go_on.set()
    stopping.result(DEADLINE)

    assert (worker.health().live, worker.health().reasons) == (False, ("stopped",))


def test_wait_idle_gives_up_at_its_timeout_while_a_handler_runs(broker_url: str) -> None:
    entered, release = threading.Event(), threading.Event()

    def handle(action: str) -> None:
        entered.set()
        assert release.wait(DEADLINE)

    with on_two_threads(broker_url, topology, registry_of(handle)) as (worker, publisher):
        publisher.publish({}, "video.x", exchange=media)
        assert entered.wait(DEADLINE)
        assert not worker.wait_idle(0.1)
        release.set()
        assert worker.wait_idle(DEADLINE)


def test_handler_past_its_timeout_is_reported_and_finishes(broker_url: str) -> None:
    """The worker is not ready while a handler is overdue."""
    release, seen = threading.Event(), Calls()

    def slow() -> None:
        assert release.wait(DEADLINE)
        seen("slow")

    def quick(action: str) -> None:
        seen(action)

    registry = registry_of(slow, "video.slow", timeout=0.05)
    registry.add("video.{action}", quick, queue=video)

    with (
        logged("handler_overdue queue=video key='video.slow'") as reported,
        on_two_threads(broker_url, topology, registry) as (worker, publisher),
    ):
        publisher.publish({}, "video.slow", exchange=media)
        publisher.publish({}, "video.quick", exchange=media)
        reported.wait()
        (reason,) = worker.health().reasons
        assert "'video.slow'" in reason
        assert not worker.health().ready

        release.set()
        assert worker.wait_idle(DEADLINE)
        until(lambda: worker.health().ready)

    assert sorted(seen.calls) == ["quick", "slow"]


# --- health ---


def test_health_has_connection_consumed_queues_and_last_activity(broker_url: str) -> None:
    entered, release = threading.Event(), threading.Event()

    def handle(action: str) -> None:
        entered.set()
        assert release.wait(DEADLINE)

    worker = Worker(broker_url, topology, registry_of(handle))
    health = worker.health()
    assert (health.live, health.connected, health.reasons) == (False, False, ("not started",))

    with worker, Publisher(broker_url, topology) as publisher:
        health = worker.health()
        assert (health.live, health.ready, health.connected) == (True, True, True)
        assert (health.consuming, health.stuck, health.last_activity) == (("video",), (), None)

        published = time.monotonic()
        publisher.publish({}, "video.x", exchange=media)
        assert entered.wait(DEADLINE)
        delivered = worker.health().last_activity
        assert delivered is not None
        assert 0 <= delivered <= time.monotonic() - published

        released = time.monotonic()
        release.set()
        assert worker.wait_idle(DEADLINE)

        settled = worker.health().last_activity
        assert settled is not None
        assert settled <= time.monotonic() - released
    health = worker.health()
    assert (health.live, health.connected, health.consuming, health.reasons) == (False, False, (), ("stopped",))


def test_worker_without_its_broker_is_live_and_not_ready(taskroute_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Worker(taskroute_url, topology, registry_of(lambda action: None)) as worker:
        away, back = threading.Event(), threading.Event()

        def refuse(*_: Any, **__: Any) -> Any:
            away.set()
            assert back.wait(DEADLINE)
            raise ConnectionRefusedError("nobody listens")

        with monkeypatch.context() as patched:
            patched.setattr("taskroute.broker.connector.connect", refuse)
            broker_of(taskroute_url).close_connections()
            assert away.wait(DEADLINE)
            health = worker.health()
        back.set()

        assert (health.live, health.ready, health.connected, health.consuming) == (True, False, False, ())
        assert "no connection to memory://" in health.reasons[0]


def test_worker_whose_every_thread_is_stuck_is_not_live(taskroute_url: str) -> None:
    calls, release = Calls(), threading.Event()

    def hang(action: str) -> None:
        calls(action)
        assert release.wait(DEADLINE)

    registry = registry_of(hang, timeout=0.01)

    with running(taskroute_url, topology, registry, threads=1) as (worker, publisher):
        publisher.publish({}, "video.first", exchange=media)
        publisher.publish({}, "video.second", exchange=media)
        calls.wait(2)  # the second on the thread that replaced the first
        until(lambda: len(worker.health().stuck) == 2)
        health = worker.health()
        assert (health.live, health.ready, len(health.stuck)) == (False, False, 2)
        assert "every handler thread is stuck" in health.reasons

        release.set()
        assert worker.wait_idle(DEADLINE)
        until(lambda: worker.health().ready)


# --- stopping ---


def test_worker_stop_finishes_running_and_requeues_waiting_messages(broker_url: str) -> None:
    entered, release, seen = threading.Event(), threading.Event(), Calls()

    def handle(body: dict[str, int], action: str) -> None:
        entered.set()
        assert release.wait(DEADLINE)
        seen(body["id"])

    worker = Worker(broker_url, topology, registry_of(handle), threads=1)

    worker.start()
    with Publisher(broker_url, topology) as publisher:
        for number in range(10):
            publisher.publish({"id": number}, "video.x", exchange=media)
    assert entered.wait(DEADLINE)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    assert not worker.wait_idle(0)  # a worker that stops does not become idle
    release.set()
    stopping.join(DEADLINE)

    assert not stopping.is_alive()
    with looking(broker_url) as peer:
        left = peer.receive("video", 10 - len(seen.calls))
        assert peer.ready("video") == 0
    assert len(seen.calls) >= 1
    handled_and_left = sorted([*seen.calls, *(int(body.split(b":")[1].strip(b" }")) for body in left.bodies)])
    assert handled_and_left == list(range(10))


def test_worker_stop_names_a_hung_handler_and_requeues_its_message(broker_url: str) -> None:
    entered, release = threading.Event(), threading.Event()

    def hang(action: str) -> None:
        entered.set()
        release.wait(DEADLINE)

    worker = Worker(broker_url, topology, registry_of(hang), threads=1, shutdown_timeout=0.3)

    worker.start()
    with Publisher(broker_url, topology) as publisher:
        publisher.publish({"id": 1}, "video.x", exchange=media)
    assert entered.wait(DEADLINE)
    with pytest.raises(ShutdownTimeoutError, match="video"):
        worker.stop()

    with looking(broker_url) as peer:
        inbox = peer.receive("video", 1)
        assert inbox[0].delivery_info["redelivered"] is True
    release.set()


def test_worker_can_stop_twice_but_not_start_twice(broker_url: str) -> None:
    worker = Worker(broker_url, topology, registry_of(lambda action: None))

    worker.start()
    with pytest.raises(ClosedError):
        worker.start()
    worker.stop()
    worker.stop()

    assert not worker.health().live


def test_worker_stopped_before_its_start_does_not_start(taskroute_url: str) -> None:
    """Worker.run returns at once, Worker.start raises."""
    worker = Worker(taskroute_url, topology, registry_of(lambda action: None))

    worker.stop()
    running = threading.Thread(target=worker.run, daemon=True)
    running.start()
    running.join(DEADLINE)
    assert not running.is_alive()  # Worker.run has returned

    worker = Worker(taskroute_url, topology, registry_of(lambda action: None))
    worker.stop()
    with pytest.raises(ClosedError, match="stopped before"):
        worker.start()

    assert worker.health().reasons == ("stopped",)


@pytest.fixture
def when_starting() -> Iterator[list[Callable[[], None]]]:
    """Functions that a log handler calls during a start, as a handler of a signal may be called."""
    calls: list[Callable[[], None]] = []

    class Caller(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("handler_timeout_long"):
                for call in calls:
                    call()

    caller = Caller()
    logging.getLogger("taskroute").addHandler(caller)
    yield calls
    logging.getLogger("taskroute").removeHandler(caller)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_worker_stop_during_the_start_ends_it(
    taskroute_url: str, when_starting: list[Callable[[], None]], elsewhere: bool
) -> None:
    """A stop by another thread, or by a signal handler in the starting thread, leaves no thread."""
    registry = registry_of(lambda action: None, timeout=3600)
    worker = Worker(taskroute_url, topology, registry, name="brief")
    stopping = threading.Thread(target=worker.stop)
    when_starting.append(stopping.start if elsewhere else worker.stop)

    worker.run()
    if elsewhere:
        stopping.join(DEADLINE)
    assert worker.health().reasons == ("stopped",)

    for thread in threading.enumerate():
        if thread.name.startswith("brief"):
            thread.join(DEADLINE)
            assert not thread.is_alive()


def test_stopped_worker_and_closed_publisher_leave_no_thread(broker_url: str) -> None:
    before = set(threading.enumerate())

    with on_two_threads(broker_url, topology, registry_of(lambda action: None), name="gone") as (worker, publisher):
        publisher.publish({}, "video.x", exchange=media)
        assert worker.wait_idle(DEADLINE)

    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert [name for name in left if name.startswith(("gone", "taskroute-publ"))] == []


# --- starting ---


def test_worker_consumes_queues_of_its_handlers_or_those_it_is_given(taskroute_url: str) -> None:
    registry = registry_of(lambda action: None)
    registry.add("#", lambda message: None)

    assert Worker(taskroute_url, topology, registry).queues == (video,)
    assert Worker(taskroute_url, topology, registry, queues=["audit", video]).queues == (audit, video)


def test_consumed_queue_without_a_handler_is_refused(taskroute_url: str) -> None:
    with pytest.raises(TopologyError, match="audit"):
        Worker(taskroute_url, topology, registry_of(lambda action: None), queues=[video, audit])


def test_topology_mismatch_names_the_queue_and_the_field(broker_url: str) -> None:
    with looking(broker_url) as peer:
        peer.queue("video", x_queue_type="quorum", x_max_length=3)
    with pytest.raises(TopologyMismatchError, match=r"video.*x-"):
        Worker(broker_url, topology, registry_of(lambda action: None)).start()


def test_declare_verify_names_a_missing_exchange(broker_url: str) -> None:
    with pytest.raises(TopologyMismatchError, match="media"):
        Worker(broker_url, topology, registry_of(lambda action: None), declare="verify").start()


def test_stream_on_the_embedded_broker_is_refused_by_name(taskroute_url: str) -> None:
    stream = QueueSpec(name="log", type="stream")
    jobs = QueueSpec(name="jobs")
    registry = registry_of(lambda body: None, "#", queue=jobs)

    with pytest.raises(UnsupportedFeatureError, match=r"(?s)log.*stream"):
        Worker(taskroute_url, Topology(queues=[jobs, stream]), registry).start()


def test_start_without_a_broker_raises_without_the_password() -> None:
    worker = Worker("amqp://guest:s3cret@127.0.0.1:1/", topology, registry_of(lambda action: None))

    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1") as caught:
        worker.start(timeout=0.5)

    assert "s3cret" not in str(caught.value)


def test_failed_start_raises_its_cause_not_a_shutdown_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts the connection and never answers
        url = f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}/"
        worker = Worker(url, topology, registry_of(lambda action: None), shutdown_timeout=0)
        with pytest.raises(BrokerUnavailableError):
            worker.start(timeout=0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("threads", 2.5),
        ("threads", -1),
        ("threads", True),
        ("threads", "2"),
        ("shutdown_timeout", float("inf")),
        ("shutdown_timeout", float("nan")),
        ("shutdown_timeout", 1e10),
        ("shutdown_timeout", -1),
        ("shutdown_timeout", None),
        ("max_body_size", 0.5),
        ("max_body_size", -1),
    ],
)
def test_worker_option_with_an_unusable_number_is_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        Worker("memory://", topology, registry_of(lambda action: None), **{option: value})


# --- broken connections ---


def test_worker_consumes_again_after_its_connection_was_closed(taskroute_url: str) -> None:
    seen = Calls()

    with on_two_threads(taskroute_url, topology, registry_of(lambda body, action: seen(body["id"]))) as (
        worker,
        publisher,
    ):
        publisher.publish({"id": 1}, "video.x", exchange=media)
        seen.wait(1)
        broker_of(taskroute_url).close_connections()
        publisher.publish({"id": 2}, "video.x", exchange=media)
        seen.wait_for(2)  # 1 may have come again: its acknowledgement may have been cut off
        assert worker.wait_idle(DEADLINE)


def test_late_acknowledgement_settles_nothing_on_the_next_connection(taskroute_url: str) -> None:
    """A delivery tag of the lost connection means another delivery on the next one."""
    broker = broker_of(taskroute_url)
    calls = Calls()
    releases = [threading.Event() for _ in range(3)]

    def handle(message: Message, action: str) -> None:
        number = len(calls.calls)
        calls(message.redelivered)
        assert releases[number].wait(DEADLINE)

    with running(taskroute_url, topology, registry_of(handle), threads=4) as (worker, publisher):
        publisher.publish({}, "video.x", exchange=media)
        calls.wait(1)
        broker.close_connections()
        calls.wait(2)
        releases[0].set()  # the first returns: its tag is 1, and so is the second's
        until(lambda: sum(worker.stats().handled.values()) >= 1)
        publisher.publish({}, "other", exchange=media)  # a round trip, in which an acknowledgement would arrive
        broker.close_connections()
        assert calls.wait(3) == [False, True, True]
        for release in releases:
            release.set()
        assert worker.wait_idle(DEADLINE)


def test_worker_declares_and_consumes_a_deleted_queue_again(broker_url: str) -> None:
    seen = Calls()
    alone = Topology(exchanges=[media], queues=[video])

    with on_two_threads(broker_url, alone, registry_of(lambda body, action: seen(body["id"]))) as (worker, publisher):
        publisher.publish({"id": 1}, "video.x", exchange=media)
        seen.wait_for(1)
        assert worker.wait_idle(DEADLINE)
        with looking(broker_url) as peer:
            peer.channel.queue_delete("video")
        while True:
            try:
                publisher.publish({"id": 2}, "video.y", exchange=media)
                break
            except UnroutableError:
                continue  # not declared again yet
        seen.wait_for(2)


# --- log lines ---


def test_log_lines_name_events_and_show_no_body_or_password(broker_url: str, caplog: pytest.LogCaptureFixture) -> None:
    def handle(action: str, body: dict[str, str]) -> None:
        raise ValueError(body["secret"])

    with (
        caplog.at_level(logging.DEBUG, logger="taskroute"),
        on_two_threads(broker_url, topology, registry_of(handle), errors="place") as (worker, publisher),
    ):
        publisher.publish({"secret": "hunter2"}, "video.x\u2028forged", exchange=media)
        assert worker.wait_idle(DEADLINE)

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("taskroute.")]
    for event in ("connected", "consuming"):
        assert any(line.startswith(event) for line in lines), lines
    failures = [line for line in lines if line.startswith("message_failed")]
    assert [line.rpartition("to=")[2] for line in failures] == ["video.retry.50", "video.dead"]
    assert not any("hunter2" in line or "guest:guest" in line for line in lines)
    assert not any("\n" in line or "\u2028" in line for line in lines)


def test_log_line_has_the_reason_and_error_of_the_dead_letter(
    taskroute_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    jobs, registry = QueueSpec(name="jobs", retry=False), HandlerRegistry()

    @registry.handler("#", queue=jobs)
    def handle(body: bytes) -> None:
        raise Retry("not packed yet")

    with on_two_threads(taskroute_url, Topology(queues=[jobs]), registry) as (worker, publisher):
        publisher.publish(b"", "jobs", exchange="")
        assert worker.wait_idle(DEADLINE)

    with looking(taskroute_url) as peer:
        headers = peer.receive("jobs.dead", 1).headers
    assert (headers["x-taskroute-reason"], headers["x-taskroute-error"]) == ("retry_unavailable", "'not packed yet'")
    (line,) = [record.getMessage() for record in caplog.records if "message_failed" in record.getMessage()]
    first = line.splitlines()[0]
    assert "reason=retry_unavailable error='not packed yet' at=test_worker.py:" in first
    assert first.endswith("to=jobs.dead")

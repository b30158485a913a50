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

audit = QueueSpec(name="audit", bindings=[media.bind("#")])
topology = Topology(exchanges=[media], queues=[video, audit])
on_two_threads = partial(running, threads=2)


def test_each_key_goes_to_its_handler_with_its_body_and_captures(broker_url: str) -> None:
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
def test_what_cannot_be_handled_ends_in_the_dead_letter_queue_with_its_reason(
    broker_url: str, body: bytes, key: str, reason: str, error: str
) -> None:
    seen = Calls()

    def handle(task: Video, action: str) -> None:
        seen(task.id)

    with on_two_threads(broker_url, topology, registry_of(handle)) as (worker, publisher):
        publisher.publish(body, key, exchange=media, content_type="application/json", headers={"own": "kept"})
        publisher.publish(Video(id=7), "video.upload", exchange=media)
        assert worker.wait_idle(DEADLINE)
        assert worker.health().ready
        assert worker.stats().dead_lettered == {"video": 1}
    assert seen.calls == [7]  # the bad one was never handled, and the worker lives
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


def test_a_dead_letter_is_looked_at_and_put_back_as_often_as_one_likes(broker_url: str) -> None:
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


def test_a_failure_is_tried_again_with_the_same_key_and_captures_and_then_dead_lettered(broker_url: str) -> None:
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
    assert "ValueError" in inbox.headers["x-taskroute-error"]
    assert "secret" not in str(inbox.headers)


def test_a_handler_can_reject_and_can_ask_for_another_attempt(broker_url: str) -> None:
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
def test_what_cannot_be_told_or_settled_as_it_ended_fails_like_anything_else(
    taskroute_url: str, fail: Callable[[Retry], None], is_async: bool, threads: int
) -> None:
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
        publisher.publish({}, "video.fine", exchange=media)  # there is one place, and it is free again
        assert worker.wait_idle(DEADLINE)
        stats = worker.stats()
    assert sorted(seen.calls) == ["fails", "fails", "fine"]
    assert (stats.retried, stats.dead_lettered, stats.connections) == ({"video": 1}, {"video": 1}, 1)
    with looking(taskroute_url) as peer:
        assert peer.receive("video.dead", 1).headers["x-taskroute-reason"] == "handler_error"


def test_an_exit_in_a_handler_ends_neither_the_thread_nor_the_message(broker_url: str) -> None:
    def handle(action: str) -> None:
        if action == "exit":
            raise SystemExit(1)

    with running(broker_url, topology, registry_of(handle), threads=1) as (worker, publisher):
        publisher.publish({}, "video.exit", exchange=media)
        publisher.publish({}, "video.fine", exchange=media)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().dead_lettered == {"video": 1}
        assert sum(worker.stats().handled.values()) == 1


def test_many_messages_from_many_threads_are_each_handled_once(broker_url: str) -> None:
    seen = Calls()
    registry = registry_of(lambda task, action: seen(task["id"]))
    with running(broker_url, topology, registry, threads=4) as (worker, publisher):
        futures = [publisher.submit({"id": number}, f"video.{number % 7}", exchange=media) for number in range(2_000)]
        for future in futures:
            future.result(DEADLINE)
        assert worker.wait_idle(DEADLINE)
    assert sorted(seen.calls) == list(range(2_000))


def test_handlers_can_run_on_the_session_thread(broker_url: str) -> None:
    threads = Calls()
    registry = registry_of(lambda body, action: threads(threading.current_thread().name))
    with running(broker_url, topology, registry, threads=0, name="inline") as (worker, publisher):
        for _ in range(5):
            publisher.publish({}, "video.x", exchange=media)
        assert worker.wait_idle(DEADLINE)
    assert threads.calls == ["inline"] * 5


def test_handlers_never_run_on_the_threads_that_own_connections(broker_url: str) -> None:
    names = Calls()
    registry = registry_of(lambda body, action: names(threading.current_thread().name))
    with on_two_threads(broker_url, topology, registry, name="mine") as (worker, publisher):
        publisher.publish({}, "video.x", exchange=media)
        assert worker.wait_idle(DEADLINE)
    assert all(name.startswith("mine-handler-") for name in names.calls)


def test_what_waits_in_the_queue_before_the_worker_starts_is_handled(broker_url: str) -> None:
    seen = Calls()
    with Publisher(broker_url, topology) as publisher:
        for number in range(300):
            publisher.submit({"id": number}, "video.x", exchange=media)
    with on_two_threads(broker_url, topology, registry_of(lambda body, action: seen(body["id"]))) as (worker, _):
        assert worker.wait_idle(DEADLINE)
    assert sorted(seen.calls) == list(range(300))


def test_a_prefetch_of_one_is_one_from_the_beginning(broker_url: str) -> None:
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


def test_what_the_broker_sends_before_its_answer_is_handed_on_before_it(taskroute_url: str) -> None:
    answered, go_on = threading.Event(), threading.Event()
    registry = registry_of(lambda body: go_on.wait(DEADLINE), "#")
    with on_two_threads(taskroute_url, topology, registry) as (worker, _), looking(taskroute_url) as peer:
        inside = InsideWorker(worker)

        def question() -> None:
            peer.publish(b"1", "video.a", "media")
            inside.post(lambda: answered.wait(DEADLINE))  # so that nothing is read between answer and assertion

        inside.ask(question)
        assert inside.open_count == 1

        answered.set()
        go_on.set()
        assert worker.wait_idle(DEADLINE)


def test_wait_idle_counts_what_a_queue_has_just_given_its_channel(taskroute_url: str) -> None:
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


def test_worker_whose_handler_still_runs_at_its_stop_is_live_and_draining(broker_url: str) -> None:
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


def test_waiting_for_idle_gives_up_in_time_while_a_handler_runs(broker_url: str) -> None:
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


def test_a_handler_that_outlives_its_timeout_is_reported_and_then_finishes(broker_url: str) -> None:
    release, seen = threading.Event(), Calls()

    def handle(action: str) -> None:
        if action == "slow":
            assert release.wait(DEADLINE)
        seen(action)

    registry = registry_of(handle, timeout=0.05)
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
        assert worker.health().ready
    assert sorted(seen.calls) == ["quick", "slow"]


# --- health ---


def test_health_tells_what_is_connected_consumed_and_when_something_last_happened(broker_url: str) -> None:
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


def test_without_its_broker_a_worker_is_alive_and_not_ready(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with on_two_threads(taskroute_url, topology, registry_of(lambda action: None)) as (worker, _):
        away, back = threading.Event(), threading.Event()

        def refuse(*_: Any, **__: Any) -> Any:
            away.set()
            assert back.wait(DEADLINE)
            raise ConnectionRefusedError("nobody listens")

        with monkeypatch.context() as patched:
            patched.setattr("taskroute.broker.session.connect", refuse)
            broker_of(taskroute_url).close_connections()
            assert away.wait(DEADLINE)
            health = worker.health()
        back.set()
        assert (health.live, health.ready, health.connected, health.consuming) == (True, False, False, ())
        assert "no connection to memory://" in health.reasons[0]


def test_a_worker_whose_every_thread_is_stuck_needs_a_new_process(taskroute_url: str) -> None:
    calls, release = Calls(), threading.Event()

    def hang(action: str) -> None:
        calls(action)
        assert release.wait(DEADLINE)

    registry = registry_of(hang, timeout=0.01)
    with running(taskroute_url, topology, registry, threads=1) as (worker, publisher):
        publisher.publish({}, "video.first", exchange=media)
        publisher.publish({}, "video.second", exchange=media)
        calls.wait(2)  # the second one in the thread that took the first one's place
        until(lambda: len(worker.health().stuck) == 2)
        health = worker.health()
        assert (health.live, health.ready, len(health.stuck)) == (False, False, 2)
        assert "every handler thread is stuck" in health.reasons
        release.set()
        assert worker.wait_idle(DEADLINE)
        assert worker.health().ready


# --- stopping ---


def test_stopping_finishes_what_runs_and_puts_back_what_has_not_begun(broker_url: str) -> None:
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
    assert not worker.wait_idle(0)  # nothing to wait for: it is being stopped
    release.set()
    stopping.join(DEADLINE)
    assert not stopping.is_alive()
    with looking(broker_url) as peer:
        left = peer.receive("video", 10 - len(seen.calls))
        assert peer.ready("video") == 0
    assert len(seen.calls) >= 1
    handled_and_left = sorted([*seen.calls, *(int(body.split(b":")[1].strip(b" }")) for body in left.bodies)])
    assert handled_and_left == list(range(10))


def test_a_hung_handler_is_named_at_the_deadline_and_its_message_is_kept(broker_url: str) -> None:
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


def test_stopping_twice_or_never_started_is_fine_and_starting_twice_is_not(broker_url: str) -> None:
    worker = Worker(broker_url, topology, registry_of(lambda action: None))
    worker.start()
    with pytest.raises(ClosedError):
        worker.start()
    worker.stop()
    worker.stop()
    assert not worker.health().live


def test_a_stop_that_comes_before_the_start_counts(taskroute_url: str) -> None:
    worker = Worker(taskroute_url, topology, registry_of(lambda action: None))
    worker.stop()
    running = threading.Thread(target=worker.run, daemon=True)
    running.start()
    running.join(DEADLINE)
    assert not running.is_alive()  # there is nothing to run any more
    worker = Worker(taskroute_url, topology, registry_of(lambda action: None))
    worker.stop()
    with pytest.raises(ClosedError, match="stopped before"):
        worker.start()
    assert worker.health().reasons == ("stopped",)


@pytest.fixture
def when_starting() -> Iterator[list[Callable[[], None]]]:
    """What is called in the midst of a start: a handler of the log is, and so are handlers of signals."""
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
def test_a_stop_in_the_midst_of_a_start_ends_it(
    taskroute_url: str, when_starting: list[Callable[[], None]], elsewhere: bool
) -> None:
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


def test_no_thread_outlives_a_worker_and_a_publisher(broker_url: str) -> None:
    with on_two_threads(broker_url, topology, registry_of(lambda action: None), name="gone") as (worker, publisher):
        publisher.publish({}, "video.x", exchange=media)
        assert worker.wait_idle(DEADLINE)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith(("gone", "taskroute-publ"))] == []


# --- starting ---


def test_it_consumes_the_queues_that_handlers_name_or_those_that_it_is_told(taskroute_url: str) -> None:
    registry = registry_of(lambda action: None)
    registry.add("#", lambda message: None)
    assert Worker(taskroute_url, topology, registry).queues == (video,)
    assert Worker(taskroute_url, topology, registry, queues=["audit", video]).queues == (audit, video)


def test_a_queue_without_a_handler_is_refused(taskroute_url: str) -> None:
    with pytest.raises(TopologyError, match="audit"):
        Worker(taskroute_url, topology, registry_of(lambda action: None), queues=[video, audit])


def test_a_mismatch_names_the_queue_and_the_field(broker_url: str) -> None:
    with looking(broker_url) as peer:
        peer.queue("video", x_queue_type="quorum", x_max_length=3)
    with pytest.raises(TopologyMismatchError, match=r"video.*x-"):
        Worker(broker_url, topology, registry_of(lambda action: None)).start()


def test_verifying_finds_what_is_missing(broker_url: str) -> None:
    with pytest.raises(TopologyMismatchError, match="media"):
        Worker(broker_url, topology, registry_of(lambda action: None), declare="verify").start()


def test_streams_are_refused_by_the_embedded_broker_by_name(taskroute_url: str) -> None:
    stream = QueueSpec(name="log", type="stream")
    jobs = QueueSpec(name="jobs")
    registry = registry_of(lambda body: None, "#", queue=jobs)
    with pytest.raises(UnsupportedFeatureError, match=r"(?s)log.*stream"):
        Worker(taskroute_url, Topology(queues=[jobs, stream]), registry).start()


def test_a_broker_that_is_not_there_is_an_error_without_the_password() -> None:
    worker = Worker("amqp://guest:s3cret@127.0.0.1:1/", topology, registry_of(lambda action: None))
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1") as caught:
        worker.start(timeout=0.5)
    assert "s3cret" not in str(caught.value)


def test_a_start_that_fails_says_why_and_not_what_hung_in_stopping_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and never says a word
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
def test_a_number_that_cannot_be_used_is_refused_at_once(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=option):
        Worker("memory://", topology, registry_of(lambda action: None), **{option: value})


# --- broken connections ---


def test_a_worker_consumes_again_after_its_embedded_broker_cut_it_off(taskroute_url: str) -> None:
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


def test_what_was_settled_too_late_settles_nothing_on_the_next_connection(taskroute_url: str) -> None:
    """Its delivery tag means another delivery there."""
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
        releases[0].set()  # the first one returns: its tag is 1, and so is that of the second
        until(lambda: sum(worker.stats().handled.values()) >= 1)
        publisher.publish({}, "other", exchange=media)  # a round trip, so that an acknowledgement would be through
        broker.close_connections()
        assert calls.wait(3) == [False, True, True]
        for release in releases:
            release.set()
        assert worker.wait_idle(DEADLINE)


def test_a_worker_declares_and_consumes_again_when_its_queue_was_deleted(broker_url: str) -> None:
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


def test_log_lines_say_what_happens_and_never_show_a_body_or_a_password(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(action: str, body: dict[str, str]) -> None:
        raise ValueError(body["secret"])

    with (
        caplog.at_level(logging.DEBUG, logger="taskroute"),
        on_two_threads(broker_url, topology, registry_of(handle)) as (worker, publisher),
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


def test_the_log_has_the_reason_and_the_text_that_the_dead_letter_has(
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
    assert line.endswith("reason=retry_unavailable error='not packed yet' to=jobs.dead")


def test_nothing_is_printed_by_default(taskroute_url: str, capfd: pytest.CaptureFixture[str]) -> None:
    def fail(action: str) -> None:
        raise ValueError

    with on_two_threads(taskroute_url, topology, registry_of(fail)) as (worker, publisher):
        publisher.publish({}, "video.x", exchange=media)
        assert worker.wait_idle(DEADLINE)
    assert capfd.readouterr() == ("", "")

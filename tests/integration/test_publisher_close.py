"""A publisher that is closed, interrupted or called where it may not be: each message is told its true outcome."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from tests.kit.calls import Calls, Events
from tests.kit.inside import InsidePublisher, callers_waiting_longer
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import (
    BrokerUnavailableError,
    ClosedError,
    ConfigurationError,
    Publisher,
    PublishError,
    QueueSpec,
    Receipt,
    Topology,
    UnroutableError,
)
from taskroute.broker.roles.submission import Submission
from taskroute.instrumentation import Event, Instrumentation, PublishFailed

topology = Topology(queues=[QueueSpec(name="inbox")])
AWAY = "amqp://guest:guest@127.0.0.1:1/"


def submit(publisher: Publisher, message_id: str = "m", **options: Any) -> Future[Receipt]:
    return publisher.submit({}, "inbox", exchange="", message_id=message_id, **options)


def test_close_names_messages_whose_time_ran_out_meanwhile() -> None:
    """Their futures have failed by the end of `close`, which had nothing more to wait for."""
    publisher, held = Publisher(AWAY, topology, timeout=0.1), threading.Event()
    inside = InsidePublisher(publisher)
    inside.post(lambda: held.wait(DEADLINE))  # no time runs out before
    futures = [submit(publisher, f"m{number}") for number in range(3)]

    with callers_waiting_longer(DEADLINE):
        closing = in_thread(publisher.close)
        until(lambda: inside.is_closed)
        held.set()

        with pytest.raises(BrokerUnavailableError, match=r"3 never written, safe .*127\.0\.0\.1:1.*'m0', 'm1', 'm2'"):
            closing.result(DEADLINE)

    assert [type(future.exception(0)) for future in futures] == [BrokerUnavailableError] * 3


def test_close_names_no_message_whose_end_was_told(taskroute_url: str) -> None:
    """One was refused, and one cancelled by its caller, while another is not written."""
    publisher = Publisher(taskroute_url, topology)
    publisher.start()
    inside = InsidePublisher(publisher)
    held = threading.Event()
    inside.hold(held)
    refused = publisher.submit({}, "nowhere", exchange="", message_id="refused")
    cancelled = submit(publisher, "cancelled")
    assert cancelled.cancel()

    closing = in_thread(publisher.close)
    until(lambda: inside.is_closed)
    held.set()

    assert closing.exception(DEADLINE) is None
    assert isinstance(refused.exception(0), UnroutableError)


def test_close_names_no_message_whose_error_was_told_just_before() -> None:
    """Its caller has the error from its future, which the publisher's own thread comes to forget only later."""
    go_on = threading.Event()

    class Slow(Instrumentation):
        def on_event(self, event: Event) -> None:
            go_on.wait(DEADLINE)

    publisher = Publisher(AWAY, topology, timeout=0.01, instrumentation=[Slow()])
    assert isinstance(submit(publisher).exception(DEADLINE), BrokerUnavailableError)

    closing = in_thread(lambda: publisher.close(DEADLINE))
    until(lambda: InsidePublisher(publisher).is_closed)
    go_on.set()

    assert closing.exception(DEADLINE) is None


def test_close_in_two_threads_returns_in_both_when_it_is_done(taskroute_url: str) -> None:
    publisher = Publisher(taskroute_url, topology)
    publisher.start()
    inside = InsidePublisher(publisher)
    inside.block()
    future = submit(publisher)
    seen = Calls()
    with callers_waiting_longer(DEADLINE):
        first = in_thread(publisher.close)
        until(lambda: inside.is_closed)
        second = in_thread(publisher.close)
        second.add_done_callback(lambda _: seen((future.done(), inside.session.is_alive)))

        inside.unblock()

        assert first.exception(DEADLINE) is None
        assert second.exception(DEADLINE) is None
    assert seen.wait() == [(True, False)]


def test_close_after_an_interrupted_one_ends_the_publisher(taskroute_url: str) -> None:
    publisher = Publisher(taskroute_url, topology)
    publisher.start()
    inside = InsidePublisher(publisher)
    inside.block()
    future = submit(publisher)

    def interrupt() -> None:
        until(lambda: inside.is_closed)
        os.kill(os.getpid(), signal.SIGINT)

    in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        publisher.close(DEADLINE)
    assert not future.done()

    with pytest.raises(BrokerUnavailableError, match="1 never written"):
        publisher.close(0)
    inside.wait_ended()
    assert isinstance(future.exception(0), BrokerUnavailableError)


def test_close_wakes_callers_that_wait_for_room(taskroute_url: str) -> None:
    publisher = Publisher(taskroute_url, topology, max_in_flight=1, timeout=100 * DEADLINE)
    publisher.start()
    inside = InsidePublisher(publisher)
    inside.block()
    submit(publisher)

    waiting = in_thread(lambda: submit(publisher))
    on_a_loop = in_thread(lambda: asyncio.run(publisher.publish_async({}, "inbox", exchange="")))
    until(lambda: inside.awaiting_room == 1)
    with pytest.raises(BrokerUnavailableError):
        publisher.close(0)

    for refused in (waiting, on_a_loop):
        assert isinstance(refused.exception(DEADLINE), ClosedError)


CALLS: dict[str, Callable[[Publisher], object]] = {
    "close": lambda publisher: publisher.close(),
    "start": lambda publisher: publisher.start(),
    "wait_idle": lambda publisher: publisher.wait_idle(DEADLINE),
    "publish": lambda publisher: publisher.publish({}, "inbox", exchange=""),
    "publish_many": lambda publisher: list(publisher.publish_many([({}, "inbox")], exchange="")),
    "publish_async": lambda publisher: asyncio.run(publisher.publish_async({}, "inbox", exchange="")),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_that_waits_for_itself_is_refused_in_a_callback(name: str, taskroute_url: str) -> None:
    outcomes = Calls()

    def call(_: Future[Receipt]) -> None:
        try:
            outcomes(CALLS[name](publisher))
        except ConfigurationError as error:
            outcomes(error)

    with Publisher(taskroute_url, topology) as publisher:
        InsidePublisher(publisher).run_on_session(lambda: call(Future()))
        submit(publisher).result(DEADLINE)

    (refusal,) = outcomes.calls
    assert f"{name}() of publisher 'taskroute-publisher'" in str(refusal)


def test_hook_may_submit_when_a_message_is_refused_after_close(taskroute_url: str) -> None:
    """It is called on the caller's thread, which holds nothing that it needs."""
    seen = Calls()

    class Resubmitting(Instrumentation):
        def on_event(self, event: Event) -> None:
            if isinstance(event, PublishFailed) and event.message_id == "first":
                with pytest.raises(ClosedError):
                    submit(publisher, "second")
                seen(event.error)

    publisher = Publisher(taskroute_url, topology, instrumentation=[Resubmitting()])
    publisher.start()
    publisher.close()

    with pytest.raises(ClosedError):
        in_thread(lambda: submit(publisher, "first")).result(DEADLINE)
    assert seen.calls == ["ClosedError"]


@pytest.fixture
def on_log() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Return a function that has a call made for each line of the library's log."""
    log, handlers = logging.getLogger("taskroute"), list[logging.Handler]()

    def add(call: Callable[[], object]) -> None:
        class Handler(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                call()

        handlers.append(Handler())
        log.addHandler(handlers[-1])

    yield add
    for handler in handlers:
        log.removeHandler(handler)


def test_log_handler_may_publish_what_the_publisher_logs(on_log: Callable[[Callable[[], object]], None]) -> None:
    """The first line comes while it starts: its URL is to another machine, without TLS."""
    publisher = Publisher("amqp://user:password@127.0.0.2:1/", topology, timeout=DEADLINE)
    shipped = Calls()
    on_log(lambda: None if shipped.calls else shipped(submit(publisher, "line")))

    submitted = in_thread(lambda: submit(publisher, "first")).result(DEADLINE)
    with pytest.raises(BrokerUnavailableError, match=r"2 never written, .*first.*line"):
        publisher.close(0)

    assert {type(future.exception(0)) for future in (submitted, *shipped.calls)} == {BrokerUnavailableError}


def test_signal_handler_may_close_while_a_message_is_handed_in(taskroute_url: str) -> None:
    """The message is named as never written, and never is, though its caller goes on to hand it in."""
    publisher = Publisher(taskroute_url, topology)
    publisher.start()
    closed = list[BaseException]()

    def close(*_: object) -> None:
        try:
            publisher.close(0)
        except PublishError as error:
            closed.append(error)

    def interrupted(hand_in: Callable[[Submission], None], submission: Submission) -> None:
        signal.raise_signal(signal.SIGUSR1)
        hand_in(submission)

    before = signal.signal(signal.SIGUSR1, close)
    try:
        with InsidePublisher(publisher).handing_in(interrupted):
            future = submit(publisher)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert [type(error) for error in closed] == [BrokerUnavailableError]
    assert isinstance(future.exception(0), BrokerUnavailableError)


def test_interrupted_submit_leaves_no_message_behind(taskroute_url: str) -> None:
    """Whoever listens is told, and there is room for the next message."""
    events = Events()

    def interrupted(hand_in: Callable[[Submission], None], submission: Submission) -> None:
        raise KeyboardInterrupt

    with Publisher(taskroute_url, topology, max_in_flight=1, instrumentation=[events]) as publisher:
        with InsidePublisher(publisher).handing_in(interrupted), pytest.raises(KeyboardInterrupt):
            submit(publisher, "interrupted")
        assert publisher.wait_idle(DEADLINE)
        submit(publisher).result(DEADLINE)

    assert [event.error for event in events.of(PublishFailed)] == ["CancelledError"]


def test_publisher_whose_thread_cannot_start_tries_again(taskroute_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message that came meanwhile was never written, and takes no room."""
    publisher = Publisher(taskroute_url, topology, max_in_flight=2, timeout=100 * DEADLINE)
    start, meanwhile = threading.Thread.start, list[Future[Receipt]]()

    def fail(thread: threading.Thread) -> None:
        if thread.name != "taskroute-publisher":
            return start(thread)
        meanwhile.append(in_thread(lambda: submit(publisher)).result(DEADLINE))
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(BrokerUnavailableError, match="can't start new thread"):
            submit(publisher)

    assert [type(future.exception(0)) for future in meanwhile] == [BrokerUnavailableError]
    assert submit(publisher).result(DEADLINE).routing_key == "inbox"
    publisher.close()


def test_publish_many_takes_no_more_behind_a_message_without_outcome(taskroute_url: str) -> None:
    """Others are confirmed, so that there is room for more; what waits to be yielded stays bounded."""
    drawn, held = list[int](), list[Callable[[], None]]()

    def bodies() -> Iterator[tuple[object, str]]:
        for number in range(50):
            drawn.append(number)
            yield {}, "inbox"

    def hold_the_first(hand_in: Callable[[Submission], None], submission: Submission) -> None:
        if held:
            hand_in(submission)
        else:
            held.append(lambda: hand_in(submission))

    with Publisher(taskroute_url, topology, max_in_flight=10) as publisher:
        inside = InsidePublisher(publisher)

        def release() -> int:
            until(lambda: len(drawn) >= 10)
            inside.run_on_session()
            inside.run_on_session()  # what was submitted before is confirmed
            taken = len(drawn)
            inside.post(held[0])
            return taken

        releasing = in_thread(release)
        with inside.handing_in(hold_the_first):
            outcomes = list(publisher.publish_many(bodies(), exchange=""))

    assert releasing.result(DEADLINE) == 10
    assert [type(outcome) for outcome in outcomes] == [Receipt] * 50


def test_message_is_freed_with_its_outcome(taskroute_url: str) -> None:
    """Without the garbage collector: nothing leads from it back to itself, body and all."""

    def kept() -> set[int]:
        return {id(each) for each in gc.get_objects() if isinstance(each, Submission)}

    with Publisher(taskroute_url, topology, instrumentation=[Events()]) as publisher:
        gc.collect()
        before = kept()
        gc.disable()
        try:
            publisher.publish({}, "inbox", exchange="")
            with pytest.raises(UnroutableError):
                publisher.publish({}, "nowhere", exchange="")
            outcomes = list(publisher.publish_many([({}, "nowhere"), ({}, "inbox")], exchange=""))
            until(lambda: kept() <= before)  # a thread of another test may free its own meanwhile
        finally:
            gc.enable()

    assert [type(outcome) for outcome in outcomes] == [UnroutableError, Receipt]

"""Harness: what a test sees of handlers, retries, dead letters and errors, without a server and without waiting."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import ANY, call

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.calls import Events
from tests.kit.running import registry_of
from tests.kit.specs import Video, media
from tests.kit.waiting import DEADLINE

from taskroute import (
    CircuitBreaker,
    ClosedError,
    ConfigurationError,
    Depends,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Header,
    Message,
    Publisher,
    QueueSpec,
    Reject,
    Retry,
    RetryPolicy,
    Topology,
    TopologyError,
    UnknownQueueError,
    UnroutableError,
)
from taskroute.instrumentation import Handled, Paused, Published, Received
from taskroute.message.outcome import HandlerTimeoutError
from taskroute.testing import Call, Harness

video = QueueSpec(name="video", bindings=[media.bind("video.#")], retry=RetryPolicy(delays=(60, 3600)))
audit = QueueSpec(name="audit", bindings=[media.bind("#")])
topology = Topology(exchanges=[media], queues=[video, audit])


def publish(harness: Harness, number: int = 1, key: str = "video.upload") -> None:
    harness.publish(Video(id=number), key, exchange=media)


def transcode(task: Video, action: str, tenant: Annotated[str, Header("x-tenant")] = "none") -> None: ...


def broken(task: Video) -> None:
    raise LookupError(f"no video {task.id}")


class Scripted:
    """A handler that raises the errors of its script in turn, None for none; further calls repeat the last."""

    def __init__(self, *script: BaseException | None) -> None:
        self.script = list(script)

    def __call__(self, task: Video) -> None:
        error = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if error is not None:
            raise error


# --- what handlers were called with ---


def test_handled_returns_the_calls_of_a_handler() -> None:
    with Harness(topology, registry_of(transcode)) as harness:
        harness.publish(Video(id=1), "video.upload", exchange=media)
        assert harness.handled(transcode) == [call(Video(id=1), action="upload")]


def test_call_has_its_arguments_and_its_message() -> None:
    with Harness(topology, registry_of(transcode)) as harness:
        for number, action in enumerate(("upload", "delete", "upload")):
            harness.publish({"id": number}, f"video.{action}", exchange="media", headers={"x-tenant": f"t{number}"})
        calls = harness.handled(transcode)

    assert [list(call.arguments.items()) for call in calls] == [
        [("task", Video(id=0)), ("action", "upload"), ("tenant", "t0")],
        [("task", Video(id=1)), ("action", "delete"), ("tenant", "t1")],
        [("task", Video(id=2)), ("action", "upload"), ("tenant", "t2")],
    ]
    first = calls[0].message
    assert (first.routing_key, first.exchange, first.queue, first.attempt) == ("video.upload", "media", "video", 1)
    assert first.headers == {"x-tenant": "t0"}
    assert repr(calls[0]) == "call(task=Video(id=0), action='upload', tenant='t0')"


def test_call_equals_a_mock_call_with_the_same_arguments() -> None:
    def handle(task: Video, action: str, message: Message, db: Annotated[str, Depends(lambda: "db")]) -> None: ...

    with Harness(topology, registry_of(handle)) as harness:
        publish(harness)
        (made,) = harness.handled(handle)
    for equal in (
        call(Video(id=1), "upload"),
        call(Video(id=1), action="upload"),
        call(action="upload", task=Video(id=1)),
        call(Video(id=1), "upload", made.message, "db"),
        call(ANY, "upload", db="db"),
    ):
        assert made == equal
        assert equal == made
    for different in (
        call(),
        call(Video(id=1)),
        call(Video(id=2), "upload"),
        call(Video(id=1), "delete"),
        call(Video(id=1), "upload", db="other"),
        call(Video(id=1), "upload", ANY, ANY, ANY),
        call(Video(id=1), "upload", other=ANY),
        "call(task=Video(id=1), action='upload')",
    ):
        assert made != different
        assert different != made
    assert [made] == [made]

    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


ARGUMENT = st.integers(0, 2)


@given(
    passed=st.lists(ARGUMENT, max_size=4),
    named=st.dictionaries(st.sampled_from("abcd"), ARGUMENT),
    fed=st.fixed_dictionaries({"a": ARGUMENT, "b": ARGUMENT}, optional={"c": ARGUMENT}),
)
def test_call_equality_agrees_with_how_python_binds_arguments(
    passed: list[int], named: dict[str, int], fed: dict[str, int]
) -> None:
    def function(a: int, b: int, c: int = 1) -> tuple[int, int, int]:
        return a, b, c

    (handler,) = registry_of(function, "{a}.{b}").handlers
    made = Call(arguments=fed, message=Message(body=b"", routing_key="1.1"), at=0, handler=handler)

    try:
        alike: object = function(*passed, **named)
    except TypeError:
        alike = "no call of this function"

    assert (made == call(*passed, **named)) is (function(**fed) == alike)


def test_calls_are_recorded_by_handler_of_any_kind() -> None:
    """A function with two patterns, a fallback and a handler of every queue keep their own calls."""

    def stacked(task: Video) -> None: ...

    def rest(message: Message) -> None: ...

    def anywhere(body: bytes) -> None: ...

    registry = registry_of(stacked, "video.upload")
    registry.add("video.delete", stacked, queue=video)
    registry.fallback(video)(rest)
    registry.add("image.*", anywhere)

    with Harness(topology, registry, queues=[video, "audit"]) as harness:
        for key in ("video.upload", "video", "video.delete"):
            publish(harness, key=key)
        harness.publish(b"png", "image.upload", exchange=media)

        assert [call.message.routing_key for call in harness.handled(stacked)] == ["video.upload", "video.delete"]
        assert [call.message.routing_key for call in harness.handled(rest)] == ["video"]
        assert harness.handled(anywhere) == [call(b"png")]
        assert [letter.reason for letter in harness.dead_letters(audit)] == ["no_handler"] * 3


def test_methods_and_callables_are_recorded_under_their_names() -> None:
    class Service:
        def handle(self, task: Video) -> None: ...

        def __call__(self, task: Video) -> None: ...

    service = Service()
    registry = registry_of(service.handle, "video.a")
    registry.add("video.b", service, queue=video)
    registry.add("video.c", functools.partial(service.handle), queue=video)
    names = {handler.name for handler in registry.handlers}

    with Harness(topology, registry) as harness:
        for word in "abc":
            publish(harness, key=f"video.{word}")

        assert harness.handled(service.handle) == harness.handled(service) == [call(Video(id=1))]
        assert {name for _, name in harness.worker.stats().handled} == names


def test_harness_leaves_its_registry_unchanged() -> None:
    registry = registry_of(transcode)
    before = registry.handlers

    with Harness(topology, registry) as harness:
        publish(harness)

    assert registry.handlers == before
    assert before[0].function is transcode


def test_unroutable_message_raises_at_publish() -> None:
    with Harness(Topology(exchanges=[media], queues=[video]), registry_of(transcode)) as harness:
        with pytest.raises(UnroutableError):
            publish(harness, key="vidoe.upload")
        assert harness.handled(transcode) == []


def test_function_that_is_no_handler_raises_and_names_the_handlers() -> None:
    with Harness(topology, registry_of(transcode)) as harness:
        for look in (harness.handled, harness.failed):
            with pytest.raises(ConfigurationError, match=r"broken is no handler of this .*test_harness\.transcode"):
                look(broken)


# --- errors ---


def test_handler_error_is_raised_where_the_test_waits() -> None:
    """Its traceback ends in the handler and has two frames of the library."""
    with Harness(topology, registry_of(broken)) as harness:
        publish(harness)
        with pytest.raises(LookupError, match="no video 1") as raised:
            harness.drain()

    frames = traceback.extract_tb(raised.tb)
    assert frames[-1].name == "broken"
    library = str(Path(inspect.getfile(Harness)).parents[1])
    assert [frame.name for frame in frames if frame.filename.startswith(library)] == ["drain", "_raise_errors"]
    assert [note for note in raised.value.__notes__ if "broken had 'video.upload' of queue 'video', attempt 1" in note]


LOOKS: dict[str, Callable[[Harness], object]] = {
    "drain": lambda harness: harness.drain(),
    "advance": lambda harness: harness.advance(0),
    "handled": lambda harness: harness.handled(broken),
    "failed": lambda harness: harness.failed(transcode),
    "dead_letters": lambda harness: harness.dead_letters(video),
    "messages": lambda harness: harness.messages(audit),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_handler_error_is_raised_once_by_any_method_that_waits(look: Callable[[Harness], object]) -> None:
    registry = registry_of(broken, "video.upload")
    registry.add("video.delete", lambda task: transcode(task, ""), queue=video)
    registry.add("video.encode.{action}", transcode, queue=video)

    with Harness(topology, registry) as harness:
        publish(harness)
        with pytest.raises(LookupError):
            look(harness)
        for again in LOOKS.values():
            again(harness)


def test_handler_error_is_raised_at_exit_at_the_latest() -> None:
    with pytest.raises(LookupError), Harness(topology, registry_of(broken)) as harness:
        publish(harness)


def test_error_of_the_test_itself_wins_over_a_handler_error() -> None:
    with pytest.raises(ZeroDivisionError), Harness(topology, registry_of(broken)) as harness:  # noqa: PT012
        publish(harness)
        raise ZeroDivisionError


def test_equal_errors_of_attempts_are_raised_once() -> None:
    """Errors that differ are raised together, in a group."""
    same, other = LookupError("same"), TimeoutError("other")

    with Harness(topology, registry_of(Scripted(same, other, same))) as harness:
        publish(harness)
        with pytest.raises(ExceptionGroup, match="2 errors") as raised:
            harness.drain()

        assert raised.value.exceptions == (same, other)


def test_errors_of_several_messages_are_raised_together() -> None:
    with Harness(topology, registry_of(broken)) as harness:
        for number in (1, 2):
            publish(harness, number)
        with pytest.raises(ExceptionGroup) as raised:
            harness.drain()

    assert list(map(str, raised.value.exceptions)) == ["no video 1", "no video 2"]


def test_exit_in_a_handler_is_raised_like_any_error() -> None:
    handler = Scripted(SystemExit("over"), LookupError(), None)

    with Harness(topology, registry_of(handler)) as harness:
        publish(harness)
        with pytest.raises(BaseExceptionGroup) as raised:
            harness.drain()

        assert list(map(type, raised.value.exceptions)) == [SystemExit, LookupError]
        assert harness.handled(handler) == [call(Video(id=1))]


def test_failed_takes_out_the_errors_of_its_handler_only() -> None:
    """Errors that `failed` has returned are not raised any more; those of other handlers are."""
    registry = registry_of(broken, "video.upload")
    registry.add("video.delete", other := Scripted(KeyError("other"), None), queue=video)

    with Harness(topology, registry) as harness:
        publish(harness)
        failed = harness.failed(broken)
        harness.drain()
        publish(harness, key="video.delete")
        with pytest.raises(KeyError, match="other"):
            harness.failed(broken)
        harness.drain()

        assert [str(call.error) for call in harness.failed(other)] == ["'other'"]
    assert failed == [call(Video(id=1))] * 3
    assert [str(call.error) for call in failed] == ["no video 1"] * 3
    assert [call.message.attempt for call in failed] == [1, 2, 3]
    assert repr(failed[0]) == "call(task=Video(id=1)) that raised LookupError('no video 1')"


def test_retry_and_reject_are_not_raised_as_errors() -> None:
    handler = Scripted(Retry("later"), Reject("no use"))

    with Harness(topology, registry_of(handler)) as harness:
        publish(harness)

        assert [letter.reason for letter in harness.dead_letters(video)] == ["rejected"]
        assert [type(call.error) for call in harness.failed(handler)] == [Retry, Reject]


def test_invalid_body_is_a_dead_letter_without_a_call() -> None:
    with Harness(topology, registry_of(transcode)) as harness:
        harness.publish({"id": "one"}, "video.upload", exchange=media)

        assert harness.handled(transcode) == harness.failed(transcode) == []
        (letter,) = harness.dead_letters(video)
        assert (letter.reason, letter.error) == ("invalid_body", "id: int_parsing")


def test_validator_that_breaks_is_raised_as_an_error() -> None:
    class Odd:
        @classmethod
        def __get_pydantic_core_schema__(cls, *_: object) -> Any:
            from pydantic_core import core_schema

            return core_schema.no_info_plain_validator_function(lambda value: 1 // value["id"])

    def handle(task: Odd) -> None: ...

    handle.__annotations__["task"] = Odd

    with Harness(topology, registry_of(handle)) as harness:
        publish(harness, 0)
        with pytest.raises(ZeroDivisionError):
            harness.drain()

        assert [dict(call.arguments) for call in harness.failed(handle)] == [{}, {}, {}]


# --- time ---


def test_retries_happen_at_their_due_times_without_waiting() -> None:
    handler = Scripted(LookupError(), Retry(delay=timedelta(hours=1)), None)

    with Harness(topology, registry_of(handler)) as harness:
        publish(harness)
        failed, handled = harness.failed(handler), harness.handled(handler)
        assert [call.at for call in [*failed, *handled]] == [0, 60, 3660]
        assert [call.message.attempt for call in [*failed, *handled]] == [1, 2, 3]

        publish(harness)
        assert harness.handled(handler)[-1].at == 3660


ENDS = {
    "return": None,
    "error": LookupError(),
    "retry": Retry(),
    "wait": Retry(delay=3600),
    "reject": Reject(),
}
DELAYS = (60, 3600)


@given(scripts=st.lists(st.lists(st.sampled_from(sorted(ENDS)), min_size=3, max_size=3), max_size=4))
def test_outcomes_and_times_agree_with_the_retry_policy(scripts: list[list[str]]) -> None:
    """Whatever handlers raise, each message is handled or dead-lettered when the policy says."""

    def handle(task: Video, message: Message) -> None:
        error = ENDS[scripts[task.id][message.attempt - 1]]
        if error is not None:
            raise Retry(delay=error.delay) if isinstance(error, Retry) else type(error)()

    handled, dead, times = [], [], []
    for number, script in enumerate(scripts):
        now = 0
        for attempt, end in enumerate(script, 1):
            times.append((number, now))
            if end in ("return", "reject") or attempt == len(script):
                break
            now += 3600 if end == "wait" else DELAYS[attempt - 1]
        if end == "return":
            handled.append((number, attempt))
        else:
            dead.append((number, attempt, "rejected" if end == "reject" else "handler_error"))

    with Harness(topology, registry_of(handle)) as harness:
        for number in range(len(scripts)):
            publish(harness, number)

        failed = harness.failed(handle)
        assert sorted((call.arguments["task"].id, call.message.attempt) for call in harness.handled(handle)) == handled  # type: ignore[attr-defined]
        letters = harness.dead_letters(video)
        assert sorted((Video.model_validate_json(it.body).id, it.attempt, it.reason) for it in letters) == dead
        calls = [*failed, *harness.handled(handle)]
        assert sorted((call.arguments["task"].id, call.at) for call in calls) == times  # type: ignore[attr-defined]


def test_time_moves_by_advance_or_to_the_next_retry() -> None:
    soon = QueueSpec(name="soon", bindings=[media.bind("soon")], message_ttl=10, dead_letter="late")
    late = QueueSpec(name="late", dead_letter=False, retry=False)
    handler = Scripted(Retry(), None)

    with Harness(topology | Topology(exchanges=[media], queues=[soon, late]), registry_of(handler)) as harness:
        publish(harness, 1, "soon")
        harness.advance(9.5)
        assert (len(harness.messages(soon)), len(harness.messages(late))) == (1, 0)

        harness.advance(0.5)
        assert (len(harness.messages(soon)), len(harness.messages(late))) == (0, 1)

        publish(harness, 2, "soon")
        publish(harness)
        assert (len(harness.messages(soon)), len(harness.messages(late))) == (0, 2)
        assert [call.at for call in harness.handled(handler)] == [70]


def test_advance_moves_time_no_further_than_asked() -> None:
    handler = Scripted(Retry())

    with Harness(topology, registry_of(handler)) as harness:
        publish(harness)
        harness.advance(59)
        assert harness.worker.stats().retried == {"video": 1}

        harness.advance(1)
        assert harness.worker.stats().retried == {"video": 2}

        harness.advance(3600)
        assert harness.worker.stats().dead_lettered == {"video": 1}


# --- queues ---


def test_dead_letter_has_its_reason_error_and_message() -> None:
    with Harness(topology, registry_of(broken)) as harness:
        receipt = harness.publish(Video(id=1), "video.upload", exchange=media, headers={"x-tenant": "acme"})
        harness.failed(broken)
        (letter,) = harness.dead_letters(video)

    assert letter.reason == "handler_error"
    assert letter.error.startswith("LookupError at test_harness.py:")
    assert (letter.attempt, letter.body, letter.message_id) == (3, b'{"id":1}', receipt.message_id)
    assert (letter.queue, letter.exchange, letter.routing_key) == ("video", "media", "video.upload")
    assert letter.headers["x-tenant"] == "acme"


def test_dead_letter_of_the_broker_has_the_brokers_reason() -> None:
    short = QueueSpec(name="short", type="classic", bindings=[media.bind("short.#")], max_length=1, message_ttl=60)

    with Harness(topology | Topology(exchanges=[media], queues=[short]), registry_of(transcode)) as harness:
        for number in (1, 2):
            publish(harness, number, "short.a.b")
        assert [(it.reason, it.body) for it in harness.dead_letters(short)] == [("maxlen", b'{"id":1}')]

        harness.advance(60)
        letters = harness.dead_letters("short")

    assert [(it.reason, it.body) for it in letters] == [("maxlen", b'{"id":1}'), ("expired", b'{"id":2}')]
    assert {(it.error, it.attempt, it.queue, it.exchange, it.routing_key) for it in letters} == {
        ("", 1, "short", "media", "short.a.b")
    }


def test_dead_letter_of_the_broker_does_not_believe_its_publisher() -> None:
    forged = {"x-taskroute-attempt": 9, "x-taskroute-exchange": "bank", "x-taskroute-routing-key": "transfer"}
    short = QueueSpec(name="short", bindings=[media.bind("short.#")], message_ttl=60)

    with Harness(topology | Topology(exchanges=[media], queues=[short]), registry_of(transcode)) as harness:
        harness.publish(b"", "short.a", exchange=media, headers={**forged, "x-taskroute-reason": "rejected"})
        harness.advance(60)
        (letter,) = harness.dead_letters(short)

    assert (letter.reason, letter.exchange, letter.routing_key) == ("expired", media.name, "short.a")
    assert letter.attempt == 1


def test_dead_letters_of_a_shared_queue_are_listed_by_source() -> None:
    grave = QueueSpec(name="grave", retry=False, dead_letter=False)
    one = QueueSpec(name="one", bindings=[media.bind("one")], dead_letter=grave)
    two = QueueSpec(name="two", bindings=[media.bind("two")], dead_letter=grave)
    registry = HandlerRegistry()
    registry.add("#", Scripted(Reject("no")), queue=one)
    registry.add("#", Scripted(Reject("no")), queue=two)

    with Harness(Topology(exchanges=[media], queues=[grave, one, two]), registry) as harness:
        publish(harness, 1, "one")
        publish(harness, 2, "two")
        assert [letter.body for letter in harness.dead_letters(one)] == [b'{"id":1}']
        assert [letter.body for letter in harness.dead_letters("two")] == [b'{"id":2}']
        assert len(harness.messages(grave)) == 2

        with pytest.raises(TopologyError, match=r"'grave' keeps no dead letters.*messages\(\)"):
            harness.dead_letters(grave)


def test_messages_of_an_unconsumed_queue_can_be_inspected() -> None:
    """In the order in which they leave: by priority."""
    with Harness(topology, registry_of(transcode)) as harness:
        for number in (1, 2):
            harness.publish(Video(id=number), "image.x", exchange=media, headers={"n": number}, priority=9 - number)
        assert [(it.body, it.routing_key, it.headers, it.priority) for it in harness.messages("audit")] == [
            (b'{"id":1}', "image.x", {"n": 1}, 8),
            (b'{"id":2}', "image.x", {"n": 2}, 7),
        ]
        assert len(harness.messages(audit)) == 2  # they are still there

        for look in (harness.messages, harness.dead_letters):
            with pytest.raises(UnknownQueueError):
                look("nowhere")


def test_passive_queues_and_exchanges_are_made_by_the_harness() -> None:
    """A harness makes what another service owns, with its bindings, as the specs describe it."""
    events = ExchangeSpec(name="events", passive=True)
    predeclared = ExchangeSpec(name="amq.topic")
    theirs = QueueSpec(name="theirs", bindings=[events.bind("#"), predeclared.bind("x")], passive=True)
    others = Topology(exchanges=[events, predeclared], queues=[theirs])

    with Harness(others, registry_of(transcode, queue=theirs)) as harness:
        harness.publish(Video(id=1), "video.upload", exchange=events)
        assert harness.handled(transcode) == [call(Video(id=1), "upload")]

        harness.publish(Video(id=2), "x", exchange="amq.topic")
        assert [letter.reason for letter in harness.dead_letters(theirs)] == ["no_handler"]


def test_exclusive_queue_is_consumed_by_the_worker() -> None:
    own = QueueSpec(name="own", bindings=[media.bind("#")], exclusive=True, durable=False)

    with Harness(Topology(exchanges=[media], queues=[own]), registry_of(transcode, queue=own)) as harness:
        publish(harness)
        assert harness.handled(transcode) == [call(Video(id=1), "upload")]


# --- handlers that publish ---


def the_publisher() -> Publisher:
    raise AssertionError("overridden in tests")


def forward(task: Video, publisher: Annotated[Publisher, Depends(the_publisher)]) -> None:
    if task.id:
        publisher.submit(Video(id=task.id - 1), "video.forward", exchange=media)


def test_messages_submitted_by_handlers_are_waited_for() -> None:
    with Harness(topology, registry_of(forward), overrides={the_publisher: lambda: harness.publisher}) as harness:
        publish(harness, 20)

        assert harness.handled(forward) == [call(Video(id=number)) for number in range(20, -1, -1)]
        assert len(harness.messages(audit)) == 21


def test_publisher_on_the_harness_url_reaches_its_broker() -> None:
    with Harness(topology, registry_of(transcode)) as harness:
        with Publisher(harness.url, topology) as publisher:
            publisher.publish(Video(id=1), "video.upload", exchange=media)
        assert harness.handled(transcode) == [call(Video(id=1), "upload")]


def test_harnesses_share_no_broker() -> None:
    registry = registry_of(transcode)

    with Harness(topology, registry) as one, Harness(topology, registry) as two:
        publish(one)

        assert (len(one.handled(transcode)), len(two.handled(transcode))) == (1, 0)
        assert one.url != two.url


# --- async handlers, middleware, providers ---


async def encode(task: Video, action: str) -> None:
    await asyncio.sleep(0)
    if task.id < 0:
        raise LookupError(f"no video {task.id}")


def test_async_handlers_are_recorded_like_plain_ones() -> None:
    with Harness(topology, registry_of(encode)) as harness:
        publish(harness, 1)
        publish(harness, -1)
        with pytest.raises(LookupError, match="no video -1") as raised:
            harness.drain()

        assert traceback.extract_tb(raised.tb)[-1].name == "encode"
        assert harness.handled(encode) == [call(Video(id=1), "upload")]
        assert harness.failed(encode) == [call(Video(id=-1), "upload")] * 3
        assert harness.worker.health().ready


def test_coroutine_of_a_plain_function_is_recorded_after_it_has_run() -> None:
    def decorated(task: Video) -> Any:
        return encode(task, "")

    with Harness(topology, registry_of(decorated)) as harness:
        publish(harness, 1)
        publish(harness, -1)
        with pytest.raises(LookupError):
            harness.drain()

        assert harness.handled(decorated) == [call(Video(id=1))]
        assert len(harness.failed(decorated)) == 3


def test_async_handler_cancelled_at_its_timeout_is_an_error() -> None:
    async def endless(task: Video) -> None:
        await asyncio.Event().wait()

    with Harness(topology, registry_of(endless, timeout=0.01, retry=False)) as harness:
        publish(harness)
        with pytest.raises(HandlerTimeoutError):
            harness.drain()

        assert [letter.reason for letter in harness.dead_letters(video)] == ["handler_timeout"]


def test_middleware_wraps_handlers_as_in_a_worker() -> None:
    seen: list[str] = []

    def mark(name: str) -> Callable[[Message, Any], Any]:
        def middleware(message: Message, call_next: Any) -> Any:
            seen.append(name)
            return call_next(message)

        return middleware

    async def mark_async(message: Message, call_next: Any) -> Any:
        seen.append("async")
        return await call_next(message)

    for handler, around in ((transcode, mark("outer")), (encode, mark_async), (transcode, mark_async)):
        seen.clear()
        registry = registry_of(handler, middleware=[mark("inner")])
        with Harness(topology, registry, middleware=[around, mark("middle")]) as harness:
            publish(harness)
            assert harness.handled(handler) == [call(Video(id=1), "upload")]
        assert seen == ["async" if around is mark_async else "outer", "middle", "inner"]


def test_middleware_error_is_an_error_of_the_handler() -> None:
    def refuse(message: Message, call_next: Any) -> Any:
        raise PermissionError

    with Harness(topology, registry_of(transcode), middleware=[refuse]) as harness:
        publish(harness)
        with pytest.raises(PermissionError):
            harness.drain()

        assert harness.handled(transcode) == []
        assert [dict(call.arguments) for call in harness.failed(transcode)] == [{}, {}, {}]


def test_error_suppressed_by_middleware_is_not_raised() -> None:
    def forgive(message: Message, call_next: Any) -> Any:
        try:
            return call_next(message)
        except LookupError:
            return None

    with Harness(topology, registry_of(broken), middleware=[forgive]) as harness:
        publish(harness)
        harness.drain()

        assert harness.failed(broken) == harness.handled(broken) == harness.dead_letters(video) == []


def session() -> Iterator[str]:
    yield "the database"


def settings() -> str:
    raise AssertionError("overridden in tests")


def database(settings: Annotated[str, Depends(settings)]) -> str:
    return f"a database at {settings}"


def store(task: Video, session: Annotated[str, Depends(session)], database: Annotated[str, Depends(database)]) -> None:
    if task.id < 0:
        raise LookupError


def test_providers_can_be_overridden() -> None:
    closed = []

    def fake(message: Message) -> Iterator[str]:
        yield f"fake {message.queue}"
        closed.append(message.message_id)

    with Harness(topology, registry_of(store), overrides={settings: lambda: "nowhere", session: fake}) as harness:
        publish(harness)

        assert harness.handled(store) == [call(Video(id=1), session="fake video", database="a database at nowhere")]
        assert len(closed) == 1

    with pytest.raises(AssertionError, match="overridden"), Harness(topology, registry_of(store)) as harness:
        publish(harness)


def test_override_of_an_unused_provider_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no handler asks for .*the_publisher; .*\.database, .*\.session"):
        Harness(topology, registry_of(store), overrides={the_publisher: settings})


def test_event_is_published_without_a_routing_key() -> None:
    theirs = ExchangeSpec(name="theirs", passive=True)
    uploaded = EventSpec(pattern="video.{action}", exchange=theirs, body=Video)
    queue = QueueSpec(name="queue", bindings=[uploaded.bind()])
    registry = registry_of(transcode, uploaded, queue=queue)

    with Harness(Topology(exchanges=[theirs], queues=[queue], events=[uploaded]), registry) as harness:
        harness.publish(uploaded(Video(id=1), action="upload"), headers={"x-tenant": "acme"})
        assert harness.handled(transcode) == [call(Video(id=1), "upload", "acme")]


# --- how it runs ---


def test_instrumentation_hears_worker_and_publisher() -> None:
    events = Events()

    with Harness(topology, registry_of(transcode), instrumentation=[events]) as harness:
        publish(harness)
        harness.drain()

    assert {Published, Received, Handled} <= set(map(type, events.emitted.calls))


def test_other_options_are_passed_to_the_worker() -> None:
    with Harness(topology, registry_of(transcode), threads=0, max_body_size=10) as harness:
        publish(harness, 1)
        publish(harness, 12345)

        assert harness.handled(transcode) == [call(Video(id=1), "upload")]
        assert [letter.reason for letter in harness.dead_letters(video)] == ["too_large"]
    with pytest.raises(TypeError, match="treads"):
        Harness(topology, registry_of(transcode), treads=1)


def test_handlers_on_several_threads_run_at_once() -> None:
    together = threading.Barrier(3)

    def meet(task: Video) -> None:
        together.wait(DEADLINE)

    with Harness(topology, registry_of(meet), threads=3) as harness:
        for number in range(3):
            publish(harness, number)
        assert sorted(call.message.body for call in harness.handled(meet)) == [b'{"id":%d}' % n for n in range(3)]


def test_drain_timeout_names_the_handler_that_still_runs() -> None:
    begun, release = threading.Event(), threading.Event()

    def hang(task: Video) -> None:
        begun.set()
        assert release.wait(DEADLINE)
        if task.id == 2:
            raise LookupError

    expected = r"hang handles 'video.upload' of queue 'video', attempt 1; queue 'video' has .* 1 not settled"

    with pytest.raises(LookupError), Harness(topology, registry_of(hang)) as harness:  # noqa: PT012
        publish(harness, 1)
        assert begun.wait(DEADLINE)
        with pytest.raises(TimeoutError, match=expected):
            harness.drain(0.01)
        release.set()
        harness.drain()
        publish(harness, 2)  # raised at exit, which waits again since the last drain succeeded


def test_harness_whose_drain_timed_out_does_not_wait_at_exit() -> None:
    release = threading.Event()

    def hang(task: Video) -> None:
        release.wait(DEADLINE)

    with Harness(topology, registry_of(hang), timeout=0.01, shutdown_timeout=0.01) as harness:
        publish(harness)
        with pytest.raises(TimeoutError):
            harness.drain()

    assert not release.is_set()
    release.set()


def test_drain_timeout_names_a_wait_queue_with_messages() -> None:
    with Harness(topology, registry_of(Scripted(Retry(), None))) as harness:
        publish(harness)
        harness.advance(0)
        with pytest.raises(TimeoutError, match=r"queue 'video\.retry\.60000' has 1 messages ready"):
            harness.drain(timeout=0)


def test_drain_timeout_names_a_paused_queue() -> None:
    events, breaker = Events(), CircuitBreaker(failures=1, pause=3600)

    with Harness(topology, registry_of(broken), circuit_breaker=breaker, instrumentation=[events]) as harness:
        publish(harness, 1)
        publish(harness, 2)
        events.wait(Paused)
        with pytest.raises(TimeoutError, match=r"queue 'video' has .* not settled, paused by its circuit breaker"):
            harness.drain(timeout=0)


# --- nothing to consume ---


def test_harness_without_a_registry_keeps_published_messages() -> None:
    """A service that only publishes has no worker: messages stay in their queues."""
    with Harness(topology) as harness:
        assert harness.messages(video) == []
        publish(harness, key="video.upload")
        harness.publish(Video(id=2), "image.upload", exchange=media)
        assert [message.routing_key for message in harness.messages(video)] == ["video.upload"]
        assert [message.routing_key for message in harness.messages(audit)] == ["video.upload", "image.upload"]

        harness.advance(seconds=1)
        with pytest.raises(UnroutableError):
            harness.publish(Video(id=1), "nobody", exchange="")
        with pytest.raises(ConfigurationError, match="runs no worker"):
            _ = harness.worker
        with pytest.raises(ConfigurationError, match="its handlers: none"):
            harness.handled(transcode)


def test_worker_options_without_a_registry_are_refused() -> None:
    with pytest.raises(TopologyError, match="queue 'video' has no handler"):
        Harness(topology, queues=[video])
    with pytest.raises(TypeError, match="treads"):
        Harness(topology, treads=1)


def test_harness_outside_its_with_statement_is_refused() -> None:
    harness = Harness(topology, registry_of(broken))

    with pytest.raises(ClosedError, match="with Harness"):
        publish(harness)
    with harness:
        harness.drain()
    for use in (publish, *LOOKS.values()):
        if use is not LOOKS["failed"]:
            with pytest.raises(ClosedError, match="with Harness"):
                use(harness)
    with pytest.raises(ClosedError), harness:
        pass

"""Middleware: its order, what it may change, which errors are its own, plain and async around one handler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskroute import (
    CallNext,
    ConfigurationError,
    DuplicateHandlerError,
    HandlerRegistry,
    Message,
    Middleware,
    Reject,
)
from taskroute.handling.dispatch import Dispatcher
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Outcome
from taskroute.worker.event_loop import EventLoop


@pytest.fixture(scope="module")
def loop() -> Iterator[EventLoop]:
    loop = EventLoop("a-loop")
    yield loop
    loop.stop()
    assert loop.join(10)


def dispatch(registry: HandlerRegistry, loop: EventLoop, body: bytes = b"1", **properties: object) -> Outcome:
    delivery = Delivery(queue="q", exchange="e", routing_key="a", body=body, properties=properties)
    outcome = Dispatcher(registry.resolve, submit=loop.submit).dispatch(delivery)
    return loop.submit(outcome).result(10) if isinstance(outcome, Coroutine) else outcome


def plain_layer(name: str, seen: list[str]) -> Middleware:
    def around(message: Message, call_next: CallNext) -> Any:
        seen.append(f"{name} in {threading.current_thread().name == 'a-loop'}")
        result = call_next(message)
        seen.append(f"{name} out {result}")
        return f"{result}{name}"

    return around


def async_layer(name: str, seen: list[str]) -> Middleware:
    async def around(message: Message, call_next: CallNext) -> Any:
        seen.append(f"{name} in {threading.current_thread().name == 'a-loop'}")
        await asyncio.sleep(0)
        result = await call_next(message)
        seen.append(f"{name} out {result}")
        return f"{result}{name}"

    return around


def handler(kind: bool, seen: list[str]) -> Callable[..., Any]:
    def on_plain(body: int) -> str:
        seen.append(f"handler {threading.current_thread().name == 'a-loop'}")
        return "result"

    async def on_async(body: int) -> str:
        await asyncio.sleep(0)
        seen.append(f"handler {threading.current_thread().name == 'a-loop'}")
        return "result"

    return on_async if kind else on_plain


@given(kinds=st.lists(st.booleans(), max_size=5), handler_is_async=st.booleans(), inner=st.integers(0, 5))
def test_layers_nest_and_run_plain_in_threads_and_async_on_loop(
    loop: EventLoop, kinds: list[bool], handler_is_async: bool, inner: int
) -> None:
    """Middleware of an including registry is around that of an included one."""
    seen: list[str] = []
    layers = [(async_layer if kind else plain_layer)(str(number), seen) for number, kind in enumerate(kinds)]
    including = HandlerRegistry(middleware=layers[:inner])
    included = HandlerRegistry(middleware=layers[inner:])
    included.add("#", handler(handler_is_async, seen), queue="q")
    including.include(included)

    assert isinstance(dispatch(including, loop), Handled)

    results = ["result"]
    for number in reversed(range(len(kinds))):
        results.append(f"{results[-1]}{number}")
    assert seen == [
        *(f"{number} in {kind}" for number, kind in enumerate(kinds)),
        f"handler {handler_is_async}",
        *(f"{number} out {result}" for number, result in zip(reversed(range(len(kinds))), results, strict=False)),
    ]


names: ContextVar[tuple[str, ...]] = ContextVar("names", default=())


@given(kinds=st.lists(st.booleans(), max_size=5), handler_is_async=st.booleans())
def test_context_variable_set_by_a_layer_is_seen_further_in_only(
    loop: EventLoop, kinds: list[bool], handler_is_async: bool
) -> None:
    seen: list[tuple[str, ...]] = []

    def setting(name: str, is_async: bool) -> Middleware:
        def plain_layer(message: Message, call_next: CallNext) -> None:
            token = names.set((*names.get(), name))
            call_next(message)
            seen.append(names.get())
            names.reset(token)

        async def async_layer(message: Message, call_next: CallNext) -> None:
            token = names.set((*names.get(), name))
            await call_next(message)
            seen.append(names.get())
            names.reset(token)

        return async_layer if is_async else plain_layer

    def on_plain(body: int) -> None:
        seen.append(names.get())

    async def on_async(body: int) -> None:
        seen.append(names.get())

    registry = HandlerRegistry(middleware=[setting(str(number), kind) for number, kind in enumerate(kinds)])
    registry.add("#", on_async if handler_is_async else on_plain, queue="q")

    assert isinstance(dispatch(registry, loop), Handled)

    every = tuple(map(str, range(len(kinds))))
    assert seen == [every, *(every[:end] for end in range(len(kinds), 0, -1))]
    assert names.get() == ()


@pytest.mark.parametrize("handler_is_async", [False, True])
@pytest.mark.parametrize("make", [plain_layer, async_layer])
def test_error_passes_through_every_layer_and_fails_the_message(
    loop: EventLoop, make: Callable[..., Middleware], handler_is_async: bool
) -> None:
    """No layer sees a result, and the handler does not run."""

    def broken(message: Message, call_next: CallNext) -> Any:
        raise KeyError("in the middleware")

    seen: list[str] = []

    for layers, reason, error in (
        ([make("0", seen), broken], "handler_error", "KeyError"),
        ([broken, make("0", seen)], "handler_error", "KeyError"),
        ([make("0", seen)], "invalid_body", "body: int_parsing"),
    ):
        registry = HandlerRegistry(middleware=layers)
        registry.add("#", handler(handler_is_async, seen), queue="q")
        outcome = dispatch(registry, loop, body=b'"x"')
        assert isinstance(outcome, Failed)
        assert (outcome.reason, outcome.error.split(" at ")[0]) == (reason, error)

    assert not [line for line in seen if "out" in line or "handler" in line]


def test_middleware_may_settle_a_message_without_its_handler(loop: EventLoop) -> None:
    """A middleware that returns without call_next handles the message; its Reject rejects the message."""

    def skip(message: Message, call_next: CallNext) -> Any:
        if message.headers.get("x-bad"):
            raise Reject("bad")
        return None

    seen: list[str] = []
    registry = HandlerRegistry(middleware=[skip])
    registry.add("#", handler(False, seen), queue="q")

    assert isinstance(dispatch(registry, loop), Handled)
    rejected = dispatch(registry, loop, application_headers={"x-bad": 1})
    assert isinstance(rejected, Failed)
    assert rejected.reason == "rejected"
    assert seen == []


def test_middleware_may_pass_another_message_to_the_handler(loop: EventLoop) -> None:
    def unpack(message: Message, call_next: CallNext) -> Any:
        return call_next(replace(message, body=b"[1, 2]", headers={"x-new": 1}, content_type="application/json"))

    seen: list[Any] = []
    registry = HandlerRegistry(middleware=[unpack])

    @registry.handler("#", queue="q")
    def take(body: list[int], message: Message) -> None:
        seen.append((body, dict(message.headers), message.content_type, message.message_id, message.attempt))

    packed = {"content_encoding": "gzip", "content_type": "x/y", "message_id": "m", "application_headers": {"x-old": 1}}

    assert isinstance(dispatch(registry, loop, body=b"\x1f\x8b", **packed), Handled)
    assert seen == [([1, 2], {"x-new": 1}, "application/json", "m", 1)]


class Audit:
    def __init__(self, *options: object) -> None: ...

    def __call__(self, message: Message, call_next: CallNext) -> Any:
        return call_next(message)


def test_invalid_middleware_is_refused_with_its_problem() -> None:
    def generator(message: Message, call_next: CallNext) -> Any:
        yield

    def narrow(message: Message) -> Any: ...
    def wide(message: Message, call_next: CallNext, log: Any) -> Any: ...
    def named(message: Message, *, call_next: CallNext) -> Any: ...

    for wrong, problem in (
        ("text", "must be a function of a message and of what comes next"),
        (generator, "must be a function of a message and of what comes next"),
        (narrow, r"narrow\(message: .*\) -> .* cannot be called with a message and what comes next"),
        (wide, r"wide\(.*, log: .*\) -> .* cannot be called with a message and what comes next"),
        (named, r"named\(.*\) -> .* cannot be called with a message and what comes next"),
        (Audit, r"Audit is a class: pass an object of it, Audit\(\.\.\.\)"),
    ):
        with pytest.raises(ConfigurationError, match=f"middleware.*{problem}"):
            HandlerRegistry(middleware=[wrong])  # type: ignore[list-item]

    with pytest.raises(ConfigurationError, match=r"must be a list: middleware=\[...\]"):
        HandlerRegistry(middleware=plain_layer("0", []))  # type: ignore[arg-type]


def test_any_callable_of_message_and_call_next_is_middleware() -> None:
    def any_arguments(*arguments: Any) -> Any: ...
    def options(message: Message, call_next: CallNext, log: Any = None) -> Any: ...
    def bound(log: Any, message: Message, call_next: CallNext) -> Any: ...
    def unresolvable(message: Nowhere, call_next: CallNext) -> Any: ...  # type: ignore[name-defined]  # noqa: F821

    HandlerRegistry(middleware=[Audit(), any_arguments, options, partial(bound, None), unresolvable, Audit().__call__])


def test_handler_included_twice_is_one_unless_middleware_differs() -> None:
    inner = HandlerRegistry()
    inner.add("#", handler(False, []), queue="q")
    left, right, both = HandlerRegistry(), HandlerRegistry(), HandlerRegistry()
    left.include(inner)
    right.include(inner)

    both.include(left)
    both.include(right)
    assert len(both.handlers) == 1

    other = HandlerRegistry(middleware=[plain_layer("0", [])])
    other.include(inner)
    with pytest.raises(DuplicateHandlerError):
        both.include(other)


@pytest.mark.parametrize(
    "error",
    [StopIteration, StopAsyncIteration, GeneratorExit, SystemExit, KeyboardInterrupt, asyncio.CancelledError, KeyError],
)
@pytest.mark.parametrize(
    "makers", [[], [plain_layer], [async_layer], [plain_layer, async_layer], [async_layer, plain_layer]]
)
@pytest.mark.parametrize("handler_is_async", [False, True])
def test_any_exception_is_a_handler_error_and_the_loop_lives_on(
    loop: EventLoop, error: type[BaseException], makers: list[Callable[..., Middleware]], handler_is_async: bool
) -> None:
    """That includes the exceptions that would end a thread, a task or a generator."""

    def on_plain(body: int) -> None:
        raise error

    async def on_async(body: int) -> None:
        raise error

    registry = HandlerRegistry(middleware=[make("0", []) for make in makers])
    registry.add("#", on_async if handler_is_async else on_plain, queue="q")

    outcome = dispatch(registry, loop)

    assert isinstance(outcome, Failed)
    assert outcome.reason == "handler_error"
    assert loop.submit(asyncio.sleep(0, "alive")).result(10) == "alive"


@pytest.mark.parametrize(
    "makers", [[], [plain_layer], [async_layer], [plain_layer, async_layer], [async_layer, plain_layer]]
)
def test_awaitable_returned_by_plain_handler_is_awaited(
    loop: EventLoop, makers: list[Callable[..., Middleware]]
) -> None:
    """Also where the middleware around the handler drops its result."""
    seen: list[str] = []

    class Query:
        def __await__(self) -> Iterator[Any]:
            yield from asyncio.sleep(0).__await__()
            seen.append("awaited")

    async def dropping(message: Message, call_next: CallNext) -> None:
        await call_next(message)

    async def on_async(body: int) -> None:
        seen.append("awaited")

    def hiding(function: Callable[[int], Any]) -> Callable[[int], Any]:
        def on_message(body: int) -> Any:
            return function(body)

        return on_message

    for to_await in (lambda _: Query(), on_async):
        seen.clear()
        registry = HandlerRegistry(middleware=[*(make("0", []) for make in makers), *([dropping] if makers else [])])
        registry.add("#", hiding(to_await), queue="q")
        assert isinstance(dispatch(registry, loop), Handled)
        assert seen == ["awaited"]


@pytest.mark.parametrize("handler_is_async", [False, True])
@pytest.mark.parametrize("makers", [[], [plain_layer], [async_layer]])
def test_plain_middleware_that_returns_a_coroutine_is_an_error(
    loop: EventLoop, makers: list[Callable[..., Middleware]], handler_is_async: bool
) -> None:
    """Its signature says plain, and nothing awaits what it returns: the error names it."""

    def hidden(message: Message, call_next: CallNext) -> Any:
        return async_layer("1", [])(message, call_next)

    registry = HandlerRegistry(middleware=[*(make("0", []) for make in makers), hidden])
    registry.add("#", handler(handler_is_async, []), queue="q")

    outcome = dispatch(registry, loop)

    assert isinstance(outcome, Failed)
    assert "hidden looks like a plain function" in outcome.error


@pytest.mark.parametrize("handler_is_async", [False, True])
@pytest.mark.parametrize("makers", [[], [plain_layer], [async_layer]])
def test_async_middleware_that_returns_call_unawaited_is_an_error(
    loop: EventLoop, makers: list[Callable[..., Middleware]], handler_is_async: bool
) -> None:
    """The error names the middleware and says what to write."""

    async def forgetful(message: Message, call_next: CallNext) -> Any:
        return call_next(message)

    seen: list[str] = []
    registry = HandlerRegistry(middleware=[forgetful, *(make("0", seen) for make in makers)])
    registry.add("#", handler(handler_is_async, seen), queue="q")

    outcome = dispatch(registry, loop)

    assert isinstance(outcome, Failed)
    assert "forgetful returns what nobody awaits: write return await call_next(message)" in outcome.error
    assert seen == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Python's own: it was never awaited
@pytest.mark.parametrize("handler_is_async", [False, True])
@pytest.mark.parametrize("inner", [[], [plain_layer], [async_layer]])
@pytest.mark.parametrize("outer", [[], [plain_layer], [async_layer]])
@pytest.mark.parametrize("keeps_it", [False, True])
def test_call_next_that_is_never_awaited_is_an_error(
    loop: EventLoop,
    keeps_it: bool,
    outer: list[Callable[..., Middleware]],
    inner: list[Callable[..., Middleware]],
    handler_is_async: bool,
) -> None:
    """The error names the middleware and says what to write; the handler has not run."""

    async def forgetful(message: Message, call_next: CallNext) -> None:
        if keeps_it:
            result = call_next(message)  # noqa: F841
            await asyncio.sleep(0)
        else:
            call_next(message)

    seen: list[str] = []
    around = [*(make("0", []) for make in outer), forgetful, *(make("2", seen) for make in inner)]
    registry = HandlerRegistry(middleware=around)
    registry.add("#", handler(handler_is_async, seen), queue="q")

    outcome = dispatch(registry, loop)

    assert isinstance(outcome, Failed)
    assert "forgetful never awaits what comes next: write return await call_next(message)" in outcome.error
    assert seen == []


async def shielded(message: Message, call_next: CallNext) -> None:
    await asyncio.shield(call_next(message))


async def in_a_task(message: Message, call_next: CallNext) -> None:
    await asyncio.create_task(call_next(message))


async def in_time(message: Message, call_next: CallNext) -> None:
    await asyncio.wait_for(call_next(message), 10)


async def after_a_while(message: Message, call_next: CallNext) -> None:
    result = call_next(message)
    await asyncio.sleep(0)
    await result


async def by_another(message: Message, call_next: CallNext) -> None:
    async def waiting(result: Coroutine[Any, Any, Any]) -> None:
        await asyncio.sleep(0)
        await result

    await asyncio.create_task(waiting(call_next(message)))


@pytest.mark.parametrize("middleware", [shielded, in_a_task, in_time, after_a_while, by_another])
@pytest.mark.parametrize("around", [[], [plain_layer], [async_layer]])
@pytest.mark.parametrize("handler_is_async", [False, True])
def test_call_next_may_be_awaited_in_any_way(
    loop: EventLoop, middleware: Middleware, around: list[Callable[..., Middleware]], handler_is_async: bool
) -> None:
    seen: list[str] = []
    layers = [*(make("0", []) for make in around), middleware, *(make("2", []) for make in around)]
    registry = HandlerRegistry(middleware=layers)
    registry.add("#", handler(handler_is_async, seen), queue="q")

    assert isinstance(dispatch(registry, loop), Handled)
    assert seen == [f"handler {handler_is_async}"]


def test_call_next_may_be_left_to_a_task_not_yet_begun(loop: EventLoop) -> None:
    """A call that a task holds is not lost: it runs even after its middleware has returned."""
    tasks: list[asyncio.Task[None]] = []
    seen: list[str] = []

    async def waiting(result: Coroutine[Any, Any, Any]) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await result

    async def leaving(message: Message, call_next: CallNext) -> None:
        tasks.append(asyncio.create_task(waiting(call_next(message))))

    registry = HandlerRegistry(middleware=[leaving])
    registry.add("#", handler(True, seen), queue="q")

    assert isinstance(dispatch(registry, loop), Handled)
    loop.submit(asyncio.wait_for(tasks[0], 10)).result(10)
    assert seen == ["handler True"]


@pytest.mark.parametrize("handler_is_async", [False, True])
@pytest.mark.parametrize("closes", [False, True])
def test_async_middleware_may_skip_call_next(loop: EventLoop, closes: bool, handler_is_async: bool) -> None:
    async def skipping(message: Message, call_next: CallNext) -> None:
        if closes:
            call_next(message).close()

    seen: list[str] = []
    registry = HandlerRegistry(middleware=[async_layer("0", []), skipping, async_layer("2", seen)])
    registry.add("#", handler(handler_is_async, seen), queue="q")

    assert isinstance(dispatch(registry, loop), Handled)
    assert seen == []


@pytest.mark.parametrize("handler_is_async", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("inner", [[], [plain_layer], [async_layer]])
def test_second_call_of_call_next_is_an_error(
    loop: EventLoop, inner: list[Callable[..., Middleware]], is_async: bool, handler_is_async: bool
) -> None:
    """The handler runs once."""

    def twice(message: Message, call_next: CallNext) -> Any:
        call_next(message)
        return call_next(message)

    async def twice_async(message: Message, call_next: CallNext) -> Any:
        await call_next(message)
        return await call_next(message)

    seen: list[str] = []
    around = [twice_async if is_async else twice, *(make("1", []) for make in inner)]
    registry = HandlerRegistry(middleware=around)
    registry.add("#", handler(handler_is_async, seen), queue="q")

    outcome = dispatch(registry, loop)

    assert isinstance(outcome, Failed)
    assert "calls what comes next a second time" in outcome.error
    assert "twice" in outcome.error
    assert seen == [f"handler {handler_is_async}"]


@pytest.mark.parametrize("in_time", [False, True])
def test_call_next_in_a_task_left_behind_runs_in_time_or_is_refused(loop: EventLoop, in_time: bool) -> None:
    """A task of call_next that begins after its middleware has returned raises RuntimeError, and ends."""
    tasks: list[asyncio.Task[Any]] = []
    seen: list[str] = []

    async def leaving(message: Message, call_next: CallNext) -> None:
        tasks.append(asyncio.ensure_future(call_next(message)))
        if in_time:
            await asyncio.sleep(0)

    registry = HandlerRegistry(middleware=[leaving])
    registry.add("#", handler(False, seen), queue="q")

    assert isinstance(dispatch(registry, loop), Handled)

    async def result() -> BaseException | None:
        await asyncio.wait(tasks)
        return tasks[0].exception()

    error = loop.submit(result()).result(10)
    assert error is None if seen else isinstance(error, RuntimeError)
    assert in_time or not seen

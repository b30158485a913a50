"""What a call returns decides whether a message was handled, however the called function looks."""

import asyncio
import functools
import io
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import starmap
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE

from taskroute import ConfigurationError, Depends, HandlerRegistry, HandlerSignatureError, Message, Reject, Retry
from taskroute.handling.dispatch import Dispatcher
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Outcome
from taskroute.worker.event_loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop("test-loop")
    yield loop
    loop.stop()
    assert loop.join(DEADLINE)


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as most decorators do: a plain wrapper that returns what the function returns."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def asynchronously(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate with an async wrapper that does not know what it wraps."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def outcome_of(registry: HandlerRegistry, loop: EventLoop, watch: Callable[..., None] = lambda *_: None) -> Outcome:
    delivery = Delivery(queue="q", exchange="media", routing_key="a", body=b"1", properties={})
    outcome = Dispatcher(registry.resolve, watch=watch, submit=loop.submit).dispatch(delivery)
    return outcome if isinstance(outcome, Handled | Failed) else loop.submit(outcome).result(DEADLINE)


def handle(function: Callable[..., Any], loop: EventLoop, *middleware: Any, **options: Any) -> Outcome:
    registry = HandlerRegistry(middleware=middleware)
    registry.add("#", function, queue="q", **options)
    return outcome_of(registry, loop)


def passing(message: Message, call_next: Callable[[Message], Any]) -> Any:
    return call_next(message)


def dropping(message: Message, call_next: Callable[[Message], Any]) -> None:
    call_next(message)


async def passing_async(message: Message, call_next: Callable[[Message], Any]) -> Any:
    return await call_next(message)


AROUND = pytest.mark.parametrize(
    "middleware", [[], [passing], [dropping], [passing_async]], ids=["alone", "passing", "dropping", "async"]
)
DECORATED = pytest.mark.parametrize("decorate", [plainly, asynchronously])


# --- awaitables ---


@AROUND
@DECORATED
def test_decorated_coroutine_runs_with_its_providers_open(
    decorate: Callable[..., Any], middleware: list[Any], loop: EventLoop
) -> None:
    seen = Calls()

    def session() -> Iterator[str]:
        seen("open")
        yield "session"
        seen("close")

    @decorate
    async def on_message(body: int, session: Annotated[str, Depends(session)]) -> None:
        await asyncio.sleep(0)
        seen(session)

    assert isinstance(handle(on_message, loop, *middleware), Handled)
    assert seen.calls == ["open", "session", "close"]


@AROUND
@DECORATED
@pytest.mark.parametrize("has_provider", [False, True])
def test_decorated_coroutine_is_cancelled_at_its_timeout(
    decorate: Callable[..., Any], has_provider: bool, middleware: list[Any], loop: EventLoop
) -> None:
    seen = Calls()

    async def on_message(body: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen("cancelled")

    async def with_provider(body: int, one: Annotated[int, Depends(lambda: 1)]) -> None:
        await on_message(body)

    outcome = handle(decorate(with_provider if has_provider else on_message), loop, *middleware, timeout=0.01)

    assert isinstance(outcome, Failed)
    assert outcome.reason == "handler_timeout"
    assert seen.calls == ["cancelled"]


@pytest.mark.parametrize("has_provider", [False, True])
def test_decorated_coroutine_has_time_to_end_after_its_cancellation(has_provider: bool, loop: EventLoop) -> None:
    """It is overdue as an async handler is: not when it is being cancelled, but when it does not end then."""

    async def on_message(body: int) -> None: ...
    async def with_provider(body: int, one: Annotated[int, Depends(lambda: 1)]) -> None: ...

    seconds: list[float] = []
    registry = HandlerRegistry()
    registry.add("#", plainly(with_provider if has_provider else on_message), queue="q", timeout=10)

    outcome_of(registry, loop, lambda _delivery, _handler, given: seconds.append(given))

    assert seconds == [10, 11]


def test_providers_of_a_decorated_coroutine_stay_in_one_context(loop: EventLoop) -> None:
    """A context variable that a provider sets can be seen by the coroutine, and be reset at the end."""
    tenant = ContextVar("tenant", default="nobody")
    seen = Calls()

    def scope() -> Iterator[None]:
        token = tenant.set("acme")
        seen(threading.current_thread())
        yield
        seen(threading.current_thread())
        tenant.reset(token)

    @plainly
    async def on_message(body: int, scope: Annotated[None, Depends(scope)]) -> None:
        seen(tenant.get())

    assert isinstance(handle(on_message, loop), Handled)
    assert seen.calls == [threading.current_thread(), "acme", threading.current_thread()]


def test_awaitable_that_an_awaitable_gives_is_awaited_too(loop: EventLoop) -> None:
    seen = Calls()

    async def later() -> None:
        seen("ran")

    async def on_message(body: int) -> Any:
        return asyncio.get_running_loop().create_task(later())

    class Pool:
        """As some pools of connections: to await it gives itself."""

        def __await__(self) -> Generator[Any, Any, Any]:
            yield from asyncio.sleep(0).__await__()
            return self

    assert isinstance(handle(on_message, loop), Handled)
    assert isinstance(handle(lambda body: Pool(), loop), Handled)
    assert seen.calls == ["ran"]


# --- what never runs ---


def generator(body: int) -> Iterator[int]:
    yield body


async def async_generator(body: int) -> AsyncIterator[int]:
    yield body


UNRUN: dict[str, Callable[..., Any]] = {
    "a generator": generator,
    "a generator, in which": async_generator,
    "a generator, in": lambda body: (each for each in [body]),
    "an iterator": lambda body: map(str, [body]),
    "an iterator, in which": lambda body: starmap(str, [(body,)]),
    "a context manager": contextmanager(generator),
    "a context manager that": asynccontextmanager(async_generator),
    "a future": lambda body: Future[int](),
    "a function": lambda body: generator,
    "a function that": lambda body: functools.partial(generator, body),
    "a list of coroutines": lambda body: [asyncio.sleep(0), asyncio.sleep(0)],
    "a tuple of coroutines or futures": lambda body: (Future[int](),),
    "a dict of coroutines": lambda body: {"one": asyncio.sleep(0)},
    "a list of coroutines or": lambda body: [("one", asyncio.sleep(0))],
    "a list of coroutines or futures": lambda body: [generator(body)],
    "a set of coroutines or futures": lambda body: {threading.Thread()},
    "a thread": lambda body: threading.Thread(),
    "a context manager that nobody": lambda body: closing(io.BytesIO()),
    "a context manager that nobody enters": lambda body: nullcontext(),
    "a context manager that nobody enters:": lambda body: ExitStack(),
    "an exception: raise it": lambda body: Reject("x"),
    "an exception: raise": lambda body: Retry,
    "an exception:": lambda body: ValueError(),
    "an exception": lambda body: KeyboardInterrupt,
}


@AROUND
@DECORATED
@pytest.mark.parametrize("what", UNRUN)
def test_what_nobody_runs_is_an_error_that_names_it(
    what: str, decorate: Callable[..., Any], middleware: list[Any], loop: EventLoop
) -> None:
    outcome = handle(decorate(UNRUN[what]), loop, *middleware)

    assert isinstance(outcome, Failed)
    assert outcome.reason == "handler_error"
    assert f" returned {what}" in outcome.error
    assert ": " in outcome.error, "it says the way out"


ended = threading.Thread(target=int)
ended.start()
ended.join()
circle: list[Any] = []
circle.append(circle)


@pytest.mark.parametrize(
    "result",
    [
        1,
        "text",
        [1],
        {"a": 1},
        SimpleNamespace(),
        iter([1]),
        object,
        ended,
        [ended],
        io.BytesIO(),
        circle,
        {"a": [b"b"]},
    ],
    ids=lambda result: type(result).__name__,
)
def test_plain_result_is_handled(result: object, loop: EventLoop) -> None:
    assert isinstance(handle(lambda body: result, loop), Handled)


# --- middleware ---


@pytest.mark.parametrize("what", UNRUN)
@DECORATED
def test_middleware_that_returns_what_nobody_runs_is_an_error(
    what: str, decorate: Callable[..., Any], loop: EventLoop
) -> None:
    def around(message: Message, call_next: Callable[[Message], Any]) -> Any:
        return UNRUN[what](1)

    outcome = handle(lambda body: None, loop, decorate(around))

    assert isinstance(outcome, Failed)
    assert f"around returned {what}" in outcome.error


def test_async_middleware_that_returns_a_running_task_is_an_error(loop: EventLoop) -> None:
    async def forgetful(message: Message, call_next: Callable[[Message], Any]) -> Any:
        return asyncio.ensure_future(call_next(message))

    async def on_message(body: int) -> None: ...

    outcome = handle(on_message, loop, forgetful)

    assert isinstance(outcome, Failed)
    assert "forgetful returns what nobody awaits" in outcome.error


def test_context_manager_is_no_middleware() -> None:
    @contextmanager
    def around(message: Message, call_next: Any) -> Iterator[None]:
        yield

    with pytest.raises(ConfigurationError, match="must be a function of a message and of what comes next"):
        HandlerRegistry(middleware=[around])


# --- providers ---


def provider(seen: Calls) -> Callable[[], Iterator[str]]:
    def session() -> Iterator[str]:
        seen("open")
        yield "session"
        seen("close")

    return session


def async_provider(seen: Calls) -> Callable[[], AsyncIterator[str]]:
    async def session() -> AsyncIterator[str]:
        seen("open")
        yield "session"
        seen("close")

    return session


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    "make",
    [lambda seen: plainly(provider(seen)), lambda seen: contextmanager(provider(seen))],
    ids=["plainly", "context"],
)
def test_what_a_plain_provider_returns_is_opened(make: Callable[..., Any], is_async: bool, loop: EventLoop) -> None:
    seen = Calls()
    given = make(seen)

    def on_message(body: int, session: Annotated[str, Depends(given)]) -> None:
        seen(session)

    async def on_message_async(body: int, session: Annotated[str, Depends(given)]) -> None:
        seen(session)

    assert isinstance(handle(on_message_async if is_async else on_message, loop), Handled)
    assert seen.calls == ["open", "session", "close"]


@pytest.mark.parametrize(
    "make",
    [
        lambda seen: plainly(async_provider(seen)),
        lambda seen: asynccontextmanager(async_provider(seen)),
        lambda seen: asynchronously(provider(seen)),
        lambda seen: plainly(asynchronously(async_provider(seen))),
    ],
    ids=["plainly", "context", "asynchronously", "twice"],
)
def test_what_an_async_provider_returns_is_opened(make: Callable[..., Any], loop: EventLoop) -> None:
    seen = Calls()
    given = make(seen)

    async def on_message(body: int, session: Annotated[str, Depends(given)]) -> None:
        seen(session)

    assert isinstance(handle(on_message, loop), Handled)
    assert seen.calls == ["open", "session", "close"]


@pytest.mark.parametrize("make", [async_provider, lambda seen: asynchronously(provider(seen))])
def test_async_provider_hidden_from_a_plain_handler_is_an_error(make: Callable[..., Any], loop: EventLoop) -> None:
    seen = Calls()
    given = plainly(make(seen))

    def on_message(body: int, session: Annotated[str, Depends(given)]) -> None:
        seen(session)

    outcome = handle(on_message, loop)

    assert isinstance(outcome, Failed)
    assert "session looks like a plain function and returns what only an async handler can await" in outcome.error
    assert seen.calls == []


# --- at registration ---


class Service:
    def on_message(self, body: int) -> None: ...
    def __call__(self, body: int) -> None: ...

    @staticmethod
    def static(body: int) -> None: ...

    @classmethod
    def of_the_class(cls, body: int) -> None: ...

    @functools.singledispatchmethod
    def dispatched(self, body: int) -> None: ...


@functools.singledispatch
def dispatched(body: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (Service, "it is a class, .* register a method of an object"),
        (functools.partial(Service), "it is a class"),
        (list[int], "it is a class"),
        (contextmanager(generator), "it makes a context manager, and calling it would run nothing"),
        (asynccontextmanager(async_generator), "it makes a context manager"),
        (functools.partial(generator), "it is a generator function"),
        (dispatched, "it is a singledispatch function, .* register a function that calls it"),
        (Service().dispatched, "it is a singledispatch function"),
    ],
)
def test_what_would_never_handle_a_message_is_refused(function: Any, problem: str) -> None:
    with pytest.raises(HandlerSignatureError, match=problem):
        HandlerRegistry().add("#", function)


@pytest.mark.parametrize(
    "function",
    [
        Service(),
        Service().on_message,
        Service.static,
        vars(Service)["static"],
        Service.of_the_class,
        functools.partial(lambda size, body: None, 1),
        functools.cache(lambda body: None),
        plainly(plainly(Service().on_message)),
    ],
)
def test_whatever_can_be_called_with_the_body_is_a_handler(function: Any, loop: EventLoop) -> None:
    assert isinstance(handle(function, loop), Handled)


def test_decorator_that_passes_an_argument_is_told_the_way_out(loop: EventLoop) -> None:
    def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, session="a session", **kwargs)

        return wrapper

    @with_session
    def on_message(body: int, session: str) -> None: ...

    with pytest.raises(HandlerSignatureError, match=r"if its decorator passes one of them, set wrapper\.__signature__"):
        HandlerRegistry().add("#", on_message)


def test_wrapper_without_the_signature_is_told_of_wraps() -> None:
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    with pytest.raises(HandlerSignatureError, match=r"above a decorator's wrapper write @functools\.wraps\(function\)"):
        HandlerRegistry().add("#", wrapper)

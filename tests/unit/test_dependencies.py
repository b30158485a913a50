"""Depends: with which arguments, how often and in which order providers are called, and that each is closed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

import pytest

from taskroute import Depends, HandlerRegistry, HandlerSignatureError, Header, Message, Reject, RoutingPattern
from taskroute.handlers.arguments import plan_arguments
from taskroute.handlers.call import call_of
from taskroute.handling.dispatch import Dispatcher
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Outcome

T = TypeVar("T")
calls: list[str] = []


def no_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    raise AssertionError(f"a plain handler has {coroutine} run")


@pytest.fixture(autouse=True)
def forget() -> None:
    calls.clear()


def handle(
    function: Callable[..., object], *, body: bytes = b"{}", headers: dict[str, object] | None = None
) -> Outcome:
    registry = HandlerRegistry()
    registry.add("video.{action}", function, queue="q")
    properties: dict[str, object] = {} if headers is None else {"application_headers": headers}
    delivery = Delivery(queue="q", exchange="media", routing_key="video.upload", body=body, properties=properties)
    outcome = Dispatcher(registry.resolve).dispatch(delivery)
    return asyncio.run(outcome) if isinstance(outcome, Coroutine) else outcome


def settings() -> str:
    calls.append("settings")
    return "s"


def session(settings: Annotated[str, Depends(settings)]) -> Iterator[str]:
    calls.append(f"open with {settings}")
    try:
        yield "session"
    finally:
        calls.append("close")


async def remote(settings: Annotated[str, Depends(settings)]) -> str:
    await asyncio.sleep(0)
    return f"remote {settings}"


async def stream(remote: Annotated[str, Depends(remote)]) -> AsyncIterator[str]:
    calls.append(f"open with {remote}")
    yield "stream"
    await asyncio.sleep(0)
    calls.append("close")


def test_provider_is_called_once_and_closed_after_the_handler() -> None:
    def on_video(
        body: dict[str, int],
        session: Annotated[str, Depends(session)],
        again: Annotated[str, Depends(session)],
        settings: Annotated[str, Depends(settings)],
    ) -> None:
        calls.append(f"handle {body} with {session}, {again}, {settings}")

    assert isinstance(handle(on_video, body=b'{"a": 1}'), Handled)
    assert calls == ["settings", "open with s", "handle {'a': 1} with session, session, s", "close"]


def test_async_handler_takes_sync_and_async_providers() -> None:
    async def on_video(
        body: bytes,
        plain: Annotated[str, Depends(session)],
        later: Annotated[str, Depends(stream)],
    ) -> None:
        calls.append(f"handle with {plain}, {later}")

    assert isinstance(handle(on_video), Handled)
    assert calls == ["settings", "open with s", "open with remote s", "handle with session, stream", "close", "close"]


def test_provider_takes_captures_headers_and_the_message() -> None:
    def provide(action: str, tenant: Annotated[int, Header("x-tenant")], message: Message, extra: str = "kept") -> Any:
        return action, tenant, message.exchange, extra

    def on_video(given: Annotated[Any, Depends(provide)]) -> None:
        calls.append(str(given))

    assert isinstance(handle(on_video, headers={"x-tenant": "7"}), Handled)
    assert calls == ["('upload', 7, 'media', 'kept')"]

    missing = handle(on_video)
    assert isinstance(missing, Failed)
    assert missing.reason == "invalid_header"


def test_invalid_body_opens_no_provider() -> None:
    def on_video(body: int, session: Annotated[str, Depends(session)]) -> None: ...

    async def on_video_async(body: int, session: Annotated[str, Depends(session)]) -> None: ...

    for function in (on_video, on_video_async):
        outcome = handle(function, body=b'"x"')
        assert isinstance(outcome, Failed)
        assert outcome.reason == "invalid_body"
    assert calls == []


@pytest.mark.parametrize("error", [ValueError(), Reject("no"), SystemExit()])
def test_provider_cannot_hide_the_error_of_its_handler(error: BaseException) -> None:
    """The handler's error is raised in the generator; the delivery fails even if the generator suppresses it."""

    def hiding() -> Iterator[None]:
        with suppress(BaseException):
            yield
        calls.append("hidden")

    async def hiding_async() -> AsyncIterator[None]:
        with suppress(BaseException):
            yield
        calls.append("hidden")

    def on_video(body: bytes, given: Annotated[None, Depends(hiding)]) -> None:
        raise error

    async def on_video_async(body: bytes, given: Annotated[None, Depends(hiding_async)]) -> None:
        raise error

    for function in (on_video, on_video_async):
        outcome = handle(function)
        assert isinstance(outcome, Failed)
        assert outcome.reason == ("rejected" if isinstance(error, Reject) else "handler_error")
    assert calls == ["hidden", "hidden"]


def test_error_of_a_provider_fails_and_closes_other_providers() -> None:
    """The delivery fails with the provider's error, and may be retried."""

    def broken(session: Annotated[str, Depends(session)]) -> None:
        raise ConnectionError

    def broken_at_the_end() -> Iterator[None]:
        yield
        raise ConnectionError

    def on_video(given: Annotated[None, Depends(broken)]) -> None:
        calls.append("handled")

    def on_other(given: Annotated[None, Depends(broken_at_the_end)]) -> None: ...

    for function in (on_video, on_other):
        outcome = handle(function)
        assert isinstance(outcome, Failed)
        assert outcome.retryable
        assert outcome.error.startswith("ConnectionError")
    assert calls == ["settings", "open with s", "close"]


def test_unusable_provider_is_refused_when_registered() -> None:
    """The registry refuses the handler, and does not keep it."""

    def unfed(body: bytes) -> None: ...

    def one(other: Any) -> None: ...

    def two(one: Annotated[None, Depends(one)]) -> None: ...

    one.__annotations__["other"] = Annotated[None, Depends(two)]

    def with_unfed(given: Annotated[None, Depends(unfed)]) -> None: ...
    def with_circle(given: Annotated[None, Depends(one)]) -> None: ...
    def with_async(given: Annotated[str, Depends(remote)]) -> None: ...
    def with_text(given: Annotated[str, Depends("remote")]) -> None: ...

    refused: list[tuple[Callable[..., object], str]] = [
        (with_unfed, "nothing feeds parameter 'body'"),
        (with_circle, "circle"),
        (with_async, "is async"),
        (with_text, "needs a function"),
    ]

    for function, problem in refused:
        registry = HandlerRegistry()
        with pytest.raises(HandlerSignatureError, match=problem):
            registry.add("a.{x}", function)
        assert registry.handlers == ()


@pytest.mark.parametrize("mark", [Depends(settings), Header("x-tenant")])
def test_marker_in_place_of_a_default_is_refused(mark: Any) -> None:
    def on_video(body: bytes, given: Any = mark) -> None: ...

    with pytest.raises(HandlerSignatureError, match=rf"given: Annotated\[..., {type(mark).__name__}\(...\)\]"):
        HandlerRegistry().add("#", on_video)


def test_override_replaces_a_nested_provider() -> None:
    def on_video(session: Annotated[str, Depends(session)]) -> None:
        calls.append(session)

    plan = plan_arguments(on_video, RoutingPattern("#"), {settings: lambda: "fake"})
    delivery = Delivery(queue="q", exchange="", routing_key="a", body=b"", properties={})

    call_of(on_video, plan, None)(delivery, {}, no_loop)

    assert calls == ["open with fake", "session", "close"]


class Client:
    """A class as provider: that its objects can be called plays no part."""

    async def __call__(self) -> str:
        return "called"


def test_class_provides_its_objects_even_if_they_are_callable() -> None:
    async def on_loop(client: Annotated[Client, Depends(Client)]) -> None:
        calls.append(await client())

    def on_thread(client: Annotated[Client, Depends(Client)]) -> None:
        calls.append(type(client).__name__)

    for function in (on_loop, on_thread):
        assert isinstance(handle(function), Handled)
    assert calls == ["called", "Client"]


def test_wrapper_of_an_async_function_is_async() -> None:
    """A partial or a staticmethod is async if and only if the function or object that it calls is."""

    async def provider(number: int = 1) -> int:
        return number

    async def on_message(given: Annotated[int, Depends(partial(provider, number=2))]) -> None:
        calls.append(str(given))

    async def of_an_object(given: Annotated[str, Depends(partial(Client()))]) -> None:
        calls.append(given)

    for function in (on_message, staticmethod(on_message), partial(on_message), of_an_object):
        assert isinstance(handle(function), Handled)
    assert calls == ["2", "2", "2", "called"]


@dataclass
class Pool:
    """Has no hash, as it can be changed and compared."""

    size: int = 1

    def __call__(self) -> int:
        return self.size


pool = Pool()


def test_provider_without_a_hash_is_refused_with_advice() -> None:
    def on_message(size: Annotated[int, Depends(pool)]) -> None: ...

    with pytest.raises(HandlerSignatureError, match=r"Depends\(Pool\(size=1\)\) has no hash.*__call__"):
        handle(on_message)

    def by_its_method(size: Annotated[int, Depends(pool.__call__)]) -> None:
        calls.append(str(size))

    assert isinstance(handle(by_its_method), Handled)
    assert calls == ["1"]


class Repository(Generic[T]):
    def __init__(self, settings: Annotated[str, Depends(settings)]) -> None:
        self.settings = settings


def test_generic_class_with_type_arguments_is_a_provider() -> None:
    def on_message(repository: Annotated[Repository[int], Depends(Repository[int])]) -> None:
        calls.append(type(repository).__name__ + repository.settings)

    assert isinstance(handle(on_message), Handled)
    assert calls == ["settings", "Repositorys"]


def test_partial_handler_has_the_name_of_its_function() -> None:
    def on_message(body: object, size: int) -> None: ...

    outcome = handle(partial(on_message, size=1))
    assert isinstance(outcome, Handled)
    assert outcome.handler.endswith("on_message")


def forked() -> Iterator[str]:
    yield "first"
    yield "second"


def hiding() -> Iterator[str]:
    for each in ("first", "second"):
        with suppress(KeyError):
            yield each


def empty() -> Iterator[str]:
    yield from ()


async def forked_async() -> AsyncIterator[str]:
    yield "first"
    yield "second"


async def hiding_async() -> AsyncIterator[str]:
    for each in ("first", "second"):
        with suppress(KeyError):
            yield each


async def empty_async() -> AsyncIterator[str]:
    for each in list[str]():
        yield each


@pytest.mark.parametrize(
    ("provider", "yields"),
    [
        (forked, "more than once"),
        (hiding, "more than once"),
        (empty, "nothing"),
        (forked_async, "more than once"),
        (hiding_async, "more than once"),
        (empty_async, "nothing"),
        (partial(forked), "more than once"),
    ],
)
@pytest.mark.parametrize("fails", [False, True])
def test_provider_that_does_not_yield_exactly_once_is_named(provider: Any, yields: str, fails: bool) -> None:
    def on_plain(body: object, given: Annotated[str, Depends(provider)]) -> None:
        if fails:
            raise KeyError

    async def on_async(body: object, given: Annotated[str, Depends(provider)]) -> None:
        on_plain(body, given)

    outcome = handle(on_async if "async" in repr(provider) else on_plain)
    assert isinstance(outcome, Failed)

    if fails and yields == "more than once" and "hiding" not in repr(provider):
        assert outcome.error.startswith("KeyError")  # raised at the first `yield`
    else:
        name = getattr(provider, "__qualname__", "forked")
        assert outcome.error == (
            f"provider {name} yields {yields}: it must yield exactly once, what the handler is given, and then end"
        )


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration, KeyError, GeneratorExit, SystemExit])
@pytest.mark.parametrize("is_async", [False, True])
def test_error_passing_a_generator_stays_the_handlers_error(error: type[BaseException], is_async: bool) -> None:
    """Even if Python replaces it by a RuntimeError, the error names a line of the handler's file."""

    async def stream() -> AsyncIterator[str]:
        yield "stream"

    def on_plain(given: Annotated[str, Depends(session)]) -> None:
        raise error

    async def on_async(given: Annotated[str, Depends(stream)], other: Annotated[str, Depends(session)]) -> None:
        if issubclass(error, StopIteration):  # no coroutine can raise it
            raise KeyError
        raise error

    outcome = handle(on_async if is_async else on_plain)

    assert isinstance(outcome, Failed)
    assert outcome.error.startswith((error.__name__, "KeyError", "RuntimeError"))
    assert "test_dependencies.py" in outcome.error

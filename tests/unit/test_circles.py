"""A handled message, body and all, is freed at once: no circle of references waits for the garbage collector."""

import asyncio
import functools
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
from tests.kit.waiting import DEADLINE

from taskroute import Depends, HandlerRegistry, Message, Reject
from taskroute.handling.dispatch import Dispatcher
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled
from taskroute.worker.event_loop import EventLoop


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop("test-loop")
    yield loop
    loop.stop()
    assert loop.join(DEADLINE)


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Tracked(Delivery):
    """One that can be looked for."""

    __slots__ = ("__weakref__",)


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(**arguments: Any) -> Any:
        return function(**arguments)

    return wrapper


def provide() -> Iterator[int]:
    yield 1


async def provide_async() -> AsyncIterator[int]:
    yield 1


def provide_nothing() -> int:
    raise KeyError


async def provide_nothing_async() -> int:
    raise KeyError


def on_plain(body: bytes, message: Message) -> None:
    raise ValueError


def on_plain_with(body: bytes, given: Annotated[int, Depends(provide)]) -> None:
    raise Reject


def on_plain_without(body: bytes, given: Annotated[int, Depends(provide_nothing)]) -> None: ...


async def on_async(body: bytes, message: Message) -> None:
    raise ValueError


async def on_async_with(body: bytes, given: Annotated[int, Depends(provide_async)]) -> None:
    raise ValueError


async def on_async_without(body: bytes, given: Annotated[int, Depends(provide_nothing_async)]) -> None: ...


async def on_async_plain_provider(body: bytes, given: Annotated[int, Depends(provide)]) -> None:
    raise ValueError


async def too_long(body: bytes) -> None:
    await asyncio.Event().wait()


def misfit(body: int) -> None: ...
def generator(body: bytes) -> Any:
    return (each for each in body)


def handled(body: bytes) -> None: ...
async def handled_async(body: bytes) -> None: ...


HANDLERS: dict[str, Callable[..., Any]] = {
    "plain": on_plain,
    "plain with a provider": on_plain_with,
    "plain, whose provider fails": on_plain_without,
    "async": on_async,
    "async with a provider": on_async_with,
    "async, whose provider fails": on_async_without,
    "decorated": plainly(on_async),
    "decorated with a provider": plainly(on_async_plain_provider),
    "too long": too_long,
    "decorated, too long": plainly(too_long),
    "misfit": misfit,
    "never run": generator,
    "handled": handled,
    "handled async": handled_async,
}


def passing(message: Message, call_next: Callable[[Message], Any]) -> Any:
    return call_next(message)


def twice(message: Message, call_next: Callable[[Message], Any]) -> Any:
    call_next(message)
    call_next(message)


async def passing_async(message: Message, call_next: Callable[[Message], Any]) -> Any:
    return await call_next(message)


MIDDLEWARE: dict[str, list[Any]] = {
    "alone": [],
    "plain": [passing],
    "async": [passing_async],
    "mixed": [passing, passing_async, passing],
    "twice": [twice],
}


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("around", MIDDLEWARE)
@pytest.mark.parametrize("name", HANDLERS)
def test_message_is_freed_when_it_is_handled(name: str, around: str, loop: EventLoop) -> None:
    registry = HandlerRegistry(middleware=MIDDLEWARE[around])
    registry.add("#", HANDLERS[name], queue="q", timeout=0.005 if "too long" in name else 10)
    dispatcher = Dispatcher(registry.resolve, submit=loop.submit)
    delivery = Tracked(queue="q", exchange="", routing_key="a", body=b"x", properties={})
    freed = weakref.ref(delivery)

    outcome = dispatcher.dispatch(delivery)
    if not isinstance(outcome, Handled | Failed):
        outcome = loop.submit(outcome).result(DEADLINE)
    del delivery
    loop.submit(asyncio.sleep(0)).result(DEADLINE)  # the task of the handler is gone by then

    assert isinstance(outcome, Handled | Failed)
    assert freed() is None

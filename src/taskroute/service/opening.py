"""Opening: what a lifespan function returned, as something to open and to close. Nothing runs here yet."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from inspect import iscoroutine
from types import AsyncGeneratorType, GeneratorType
from typing import Any, NamedTuple

from taskroute.errors import ConfigurationError
from taskroute.handlers.function import describe
from taskroute.handlers.returned import ASYNC_CONTEXT, CONTEXT
from taskroute.handlers.signature import naming, parameters_of
from taskroute.publisher.publisher import Publisher
from taskroute.quoting import kind_with_article


class Opening(NamedTuple):
    """How to open and close it. `is_async`: both return something to await."""

    open: Callable[[], Any]
    close: Callable[[], Any]
    is_async: bool


def opening_of(lifespan: Callable[..., Any], publisher: Publisher) -> Opening:
    """Call a lifespan function, and return how what it returned is opened and closed.

    Args:
        lifespan: a generator function, an async one, or a function that returns a context manager, plain or async.
        publisher: for a parameter that is annotated `Publisher`.

    Raises:
        ConfigurationError: it has another parameter, or returned something else.
    """
    name = describe(lifespan)
    given = lifespan(**_arguments(lifespan, publisher))
    if type(given) in (CONTEXT, ASYNC_CONTEXT):  # their own errors do not say whose generator it is
        given = given.gen
    if isinstance(given, GeneratorType):
        return Opening(lambda: _first(name, given), lambda: _rest(name, given), is_async=False)
    if isinstance(given, AsyncGeneratorType):
        return Opening(lambda: _first_async(name, given), lambda: _rest_async(name, given), is_async=True)
    if isinstance(given, AbstractAsyncContextManager):
        return Opening(given.__aenter__, lambda: given.__aexit__(None, None, None), is_async=True)
    if isinstance(given, AbstractContextManager):
        return Opening(given.__enter__, lambda: given.__exit__(None, None, None), is_async=False)
    if iscoroutine(given):
        given.close()
    raise ConfigurationError(
        f"lifespan {name} returned {kind_with_article(given)}: write a generator function that yields once, "
        f"plain or async, or return a context manager"
    )


def _arguments(lifespan: Callable[..., Any], publisher: Publisher) -> dict[str, Publisher]:
    with naming(f"lifespan {describe(lifespan)}"):
        parameters = parameters_of(lifespan)
    arguments = {each.name: publisher for each in parameters if each.annotation is Publisher}
    for each in parameters:
        if each.name not in arguments and each.default is each.empty:
            raise ConfigurationError(
                f"lifespan {describe(lifespan)}: nothing feeds parameter {each.name!r}; it takes nothing, or the "
                f"publisher by a parameter that is annotated Publisher"
            )
    return arguments


def _first(name: str, generator: Generator[Any, None, None]) -> Any:
    for value in generator:
        return value
    raise _does_not_yield_once(name, "nothing")


def _rest(name: str, generator: Generator[Any, None, None]) -> None:
    for _ in generator:
        generator.close()
        raise _does_not_yield_once(name, "more than once")


async def _first_async(name: str, generator: AsyncGenerator[Any, None]) -> Any:
    async for value in generator:
        return value
    raise _does_not_yield_once(name, "nothing")


async def _rest_async(name: str, generator: AsyncGenerator[Any, None]) -> None:
    async for _ in generator:
        await generator.aclose()
        raise _does_not_yield_once(name, "more than once")


def _does_not_yield_once(name: str, yields: str) -> ConfigurationError:
    return ConfigurationError(
        f"lifespan {name} yields {yields}: it must yield exactly once, what handlers ask for, and then end"
    )

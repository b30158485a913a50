"""Dependencies: the providers of a handler, opened for one message and closed after it.

An error is never lost here: what is raised while providers are open is raised again after they are closed, even if one
of them swallows it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, replace
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Final

from taskroute.errors import ConfigurationError
from taskroute.handlers.function import kind_of, name_of
from taskroute.handlers.marks import Provider
from taskroute.handlers.returned import ASYNC_CONTEXT, CONTEXT
from taskroute.handlers.sources import Answer, Source, answered
from taskroute.keys.pattern import Captures
from taskroute.message.delivery import Delivery

Made = Mapping[Provider, object]
"""What providers made for one message, by provider."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """A provider, and where its own parameters come from: from the message, and from providers before it."""

    provider: Provider
    sources: tuple[tuple[str, Source], ...]
    needs: tuple[tuple[str, Provider], ...]

    @property
    def is_async(self) -> bool:
        """Return whether only an event loop can run it. A decorated one is not known before it is called."""
        return kind_of(self.provider) in ("coroutine", "async_generator", "async_context_manager")

    def answered(self, answer: Answer) -> Dependency:
        """Return it with sources in place of what its parameters ask a worker for."""
        return replace(self, sources=answered(self.sources, answer))

    def arguments(self, delivery: Delivery, captures: Captures, made: Made) -> dict[str, object]:
        """Return the keyword arguments of the provider."""
        arguments = {name: source(delivery, captures) for name, source in self.sources}
        return arguments | needed(self.needs, made)


class _Opened:
    """A generator as a context manager: like that of `contextlib`, but it names a provider that does not yield once."""

    __slots__ = ("_generator", "_provider")

    def __init__(self, provider: Provider, generator: Generator[Any, None, None]) -> None:
        self._provider = provider
        self._generator = generator

    def __enter__(self) -> Any:
        for made in self._generator:
            return made
        raise _does_not_yield_once(self._provider, "nothing")

    def __exit__(self, _: object, error: BaseException | None, traceback: TracebackType | None) -> bool:
        try:
            if error is None:
                next(self._generator)
            else:
                self._generator.throw(error)
        except StopIteration:
            return True
        except BaseException as raised:
            if error is None or not _is_let_through(raised, error):
                raise
            error.__traceback__ = traceback  # drops the frames of the generator and of this function
            return False
        self._generator.close()
        raise _does_not_yield_once(self._provider, "more than once")


class _OpenedAsync:
    """The same for an async generator."""

    __slots__ = ("_generator", "_provider")

    def __init__(self, provider: Provider, generator: AsyncGenerator[Any, None]) -> None:
        self._provider = provider
        self._generator = generator

    async def __aenter__(self) -> Any:
        async for made in self._generator:
            return made
        raise _does_not_yield_once(self._provider, "nothing")

    async def __aexit__(self, _: object, error: BaseException | None, traceback: TracebackType | None) -> bool:
        try:
            if error is None:
                await anext(self._generator)
            else:
                await self._generator.athrow(error)
        except StopAsyncIteration:
            return True
        except BaseException as raised:
            if error is None or not _is_let_through(raised, error):
                raise
            error.__traceback__ = traceback  # drops the frames of the generator and of this function
            return False
        await self._generator.aclose()
        raise _does_not_yield_once(self._provider, "more than once")


def _is_let_through(raised: BaseException, error: BaseException) -> bool:
    """Return whether a generator lets through the error raised in it. Python wraps a StopIteration that leaves one."""
    return raised is error or (isinstance(error, StopIteration | StopAsyncIteration) and raised.__cause__ is error)


def _does_not_yield_once(provider: Provider, yields: str) -> ConfigurationError:
    return ConfigurationError(
        f"provider {name_of(provider)} yields {yields}: it must yield exactly once, what the handler is given, "
        f"and then end"
    )


_OPENED: Final[Mapping[type, Callable[[Provider, Any], AbstractContextManager[Any]]]] = {
    GeneratorType: _Opened,
    CONTEXT: lambda _, context: context,
}
_OPENED_ASYNC: Final[Mapping[type, Callable[[Provider, Any], AbstractAsyncContextManager[Any]]]] = {
    AsyncGeneratorType: _OpenedAsync,
    ASYNC_CONTEXT: lambda _, context: context,
}
"""How what a provider returned is opened, by its type. What is not here, and no coroutine, is handed over as it is."""


def needed(needs: Iterable[tuple[str, Provider]], made: Made) -> dict[str, object]:
    """Return what providers made for the parameters that need it."""
    return {name: made[provider] for name, provider in needs}


@contextmanager
def provided(dependencies: Iterable[Dependency], delivery: Delivery, captures: Captures) -> Iterator[Made]:
    """Call plain providers, and close them on leaving.

    An error of the block is raised again, even if a generator swallows it.
    """
    made: dict[Provider, object] = {}
    failure: BaseException | None = None
    try:
        with ExitStack() as stack:
            try:
                for each in dependencies:
                    made[each.provider] = _make(each.provider, each.arguments(delivery, captures, made), stack)
                yield made
            except BaseException as error:
                failure = error
                raise
        if failure is not None:
            raise failure  # a generator has swallowed it
    finally:
        del failure  # else there is a circle: error, traceback, this frame, error


@asynccontextmanager
async def provided_async(
    dependencies: Iterable[Dependency], delivery: Delivery, captures: Captures
) -> AsyncIterator[Made]:
    """Do the same on an event loop, with providers of any kind."""
    made: dict[Provider, object] = {}
    failure: BaseException | None = None
    try:
        async with AsyncExitStack() as stack:
            try:
                for each in dependencies:
                    arguments = each.arguments(delivery, captures, made)
                    made[each.provider] = await _make_async(each.provider, arguments, stack)
                yield made
            except BaseException as error:
                failure = error
                raise
        if failure is not None:
            raise failure
    finally:
        del failure  # else there is a circle: error, traceback, this frame, error


def _make(provider: Provider, arguments: Mapping[str, object], stack: ExitStack) -> object:
    given = provider(**arguments)
    if type(given) is CoroutineType or type(given) in _OPENED_ASYNC:
        raise _needs_a_loop(provider, given)
    opened = _OPENED.get(type(given))
    return given if opened is None else stack.enter_context(opened(provider, given))


async def _make_async(provider: Provider, arguments: Mapping[str, object], stack: AsyncExitStack) -> object:
    given = provider(**arguments)
    while type(given) is CoroutineType:
        given = await given
    if (opened := _OPENED.get(type(given))) is not None:
        return stack.enter_context(opened(provider, given))
    if (opened_async := _OPENED_ASYNC.get(type(given))) is not None:
        return await stack.enter_async_context(opened_async(provider, given))
    return given


def _needs_a_loop(provider: Provider, given: Any) -> ConfigurationError:
    if isinstance(given, CoroutineType):
        given.close()
    return ConfigurationError(
        f"provider {name_of(provider)} looks like a plain function and returns what only an async handler can await "
        f"or enter: make the handler an async def, or the provider plain"
    )

"""Depends: what a handler's parameter is given by a provider, opened for one message and closed after it."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from taskroute.message import Delivery
from taskroute.patterns import Captures

Provider = Callable[..., Any]
Source = Callable[[Delivery, Captures], object]
"""What a parameter takes from a message."""

Made = Mapping[Provider, object]
"""What providers have made for one message."""

Kind = Literal["function", "generator", "coroutine", "async_generator"]


@dataclass(frozen=True, slots=True)
class Depends:
    """Marks a parameter that a provider makes: ``session: Annotated[Session, Depends(open_session)]``.

    A provider is called once for each message, however many parameters ask for it. It is a function, or a generator
    that yields once: what follows its ``yield`` runs after the handler, before the message is acknowledged. An error
    of the handler is raised at the ``yield``, so release things with ``with`` or ``finally``; the message has failed
    whatever the generator makes of it. A provider may ask for what a handler may ask for, but the body.

    Providers of an ``async def`` handler may be async, and run on the event loop, plain ones too. Those of a plain
    handler are plain and run in its thread.

    Example:
        >>> def open_session():
        ...     with Session() as session:
        ...         yield session
    """

    provider: Provider


@dataclass(frozen=True, slots=True)
class Dependency:
    """A provider with where its parameters come from: from the message, and from providers before it."""

    provider: Provider
    sources: tuple[tuple[str, Source], ...]
    needs: tuple[tuple[str, Provider], ...]
    kind: Kind = field(init=False)
    call: Callable[..., Any] = field(init=False, repr=False)
    """The provider, or what makes a context manager of it."""

    def __post_init__(self) -> None:
        kind = kind_of(self.provider)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "call", _WRAPPED[kind](self.provider))

    @property
    def is_async(self) -> bool:
        """Whether only an event loop can run it."""
        return self.kind in ("coroutine", "async_generator")

    def arguments(self, delivery: Delivery, captures: Captures, made: Made) -> dict[str, object]:
        """Return what the provider is called with."""
        arguments = {name: source(delivery, captures) for name, source in self.sources}
        return arguments | needed(self.needs, made)


_WRAPPED: Final[Mapping[Kind, Callable[[Provider], Callable[..., Any]]]] = {
    "function": lambda provider: provider,
    "coroutine": lambda provider: provider,
    "generator": contextmanager,
    "async_generator": asynccontextmanager,
}


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return how a function has to be called."""
    while isinstance(function, partial | staticmethod):
        function = function.func if isinstance(function, partial) else function.__func__
    # An object may be called by something async; a class is called to make one.
    for code in (function, None if inspect.isclass(function) else getattr(function, "__call__", None)):  # noqa: B004
        if inspect.isasyncgenfunction(code):
            return "async_generator"
        if inspect.isgeneratorfunction(code):
            return "generator"
        if inspect.iscoroutinefunction(code):
            return "coroutine"
    return "function"


def needed(needs: Iterable[tuple[str, Provider]], made: Made) -> dict[str, object]:
    """Return what the parameters of those names are given."""
    return {name: made[provider] for name, provider in needs}


@contextmanager
def provided(dependencies: Iterable[Dependency], delivery: Delivery, captures: Captures) -> Iterator[Made]:
    """Call plain providers; close them afterwards, and raise what was raised meanwhile, whatever they make of it."""
    made: dict[Provider, object] = {}
    failure: BaseException | None = None
    with ExitStack() as stack:
        try:
            for each in dependencies:
                made[each.provider] = _open(each, each.arguments(delivery, captures, made), stack)
            yield made
        except BaseException as error:
            failure = error
            raise
    if failure is not None:
        raise failure  # a generator kept it to itself


@asynccontextmanager
async def provided_async(
    dependencies: Iterable[Dependency], delivery: Delivery, captures: Captures
) -> AsyncIterator[Made]:
    """Do what `provided` does, on an event loop, with providers of any kind."""
    made: dict[Provider, object] = {}
    failure: BaseException | None = None
    async with AsyncExitStack() as stack:
        try:
            for each in dependencies:
                arguments = each.arguments(delivery, captures, made)
                if each.kind == "async_generator":
                    made[each.provider] = await stack.enter_async_context(each.call(**arguments))
                elif each.kind == "coroutine":
                    made[each.provider] = await each.call(**arguments)
                else:
                    made[each.provider] = _open(each, arguments, stack)
            yield made
        except BaseException as error:
            failure = error
            raise
    if failure is not None:
        raise failure


def _open(dependency: Dependency, arguments: dict[str, object], stack: ExitStack | AsyncExitStack) -> object:
    made = dependency.call(**arguments)
    return stack.enter_context(made) if dependency.kind == "generator" else made

"""HandlerRegistry: which function handles which routing keys of which queue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

from taskroute.errors import AmbiguousHandlerError, ConfigurationError, DuplicateHandlerError
from taskroute.handlers.arguments import ArgumentPlan, plan_arguments
from taskroute.handlers.function import describe, is_async
from taskroute.handlers.middleware import Layer, Middleware, layers
from taskroute.keys.automaton import BudgetExceededError, canonical, find_words, split_words
from taskroute.keys.matcher import Matcher
from taskroute.keys.pattern import Captures, RoutingPattern
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Handled, HandlerTimeoutError
from taskroute.quoting import shorten
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy

F = TypeVar("F", bound=Callable[..., object])

RESOLVED_KEYS: Final = 4096
"""How many (queue, routing key) pairs stay resolved. Keys are outsiders' data, so there is a limit."""

AMBIGUITY_BUDGET: Final = 20_000
"""States that the search for one ambiguous key may expand."""


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A function registered for a pattern. `queue` None: for any queue.

    `retry` None: as its queue says. `timeout` in seconds. `middleware` is around it, the first one outermost.
    """

    pattern: RoutingPattern
    function: Callable[..., object]
    queue: str | None
    plan: ArgumentPlan
    retry: RetryPolicy | Literal[False] | None = None
    timeout: float | None = None
    is_fallback: bool = False
    middleware: tuple[Layer, ...] = ()
    is_async: bool = field(init=False)
    call: Callable[[Delivery, Captures], Any] = field(init=False, repr=False)
    """The function as a function of the message."""
    handled: Handled = field(init=False, repr=False)  # made once, not for each message

    def __post_init__(self) -> None:
        call = self.plan.caller(self.function)
        has_limit = is_async(self.function) and self.timeout is not None
        object.__setattr__(self, "is_async", is_async(self.function))
        object.__setattr__(self, "call", _cancelled_after(self.timeout or 0, call) if has_limit else call)
        object.__setattr__(self, "handled", Handled(describe(self.function)))

    @property
    def name(self) -> str:
        """Module and qualified name of the function."""
        return self.handled.handler

    def __str__(self) -> str:
        where = "any queue" if self.queue is None else f"queue {self.queue!r}"
        what = "fallback" if self.is_fallback else repr(str(self.pattern))
        return f"{self.name} ({what} of {where})"


def _cancelled_after(seconds: float, call: Callable[..., Any]) -> Callable[[Delivery, Captures], Any]:
    async def limited(delivery: Delivery, captures: Captures) -> Any:
        try:
            async with asyncio.timeout(seconds) as limit:
                return await call(delivery, captures)
        except TimeoutError:
            if limit.expired():
                raise HandlerTimeoutError(f"cancelled after {seconds} s") from None
            raise

    return limited


@dataclass(frozen=True, slots=True)
class HandlerMatch:
    """The handler of a key, and what its pattern captured."""

    handler: Handler
    captures: Captures


class HandlerRegistry:
    """Functions by routing-key pattern and queue.

    Of the handlers that match a key, a queue's own come before those for any queue, and both before a fallback;
    among equals the pattern whose keys are a subset of the other's wins. The order of registration never
    matters. Fill it from one thread, then share it.

    Args:
        middleware: around each of its handlers, and of those that it includes; the first one outermost.

    Raises:
        ConfigurationError: a middleware is not a function of a message and of what comes next.

    Example:
        >>> registry = HandlerRegistry()
        >>> @registry.handler("video.{action}", queue="video_queue")
        ... def transcode(task: dict, action: str) -> None: ...
        >>> registry.resolve("video_queue", "video.upload").captures
        {'action': 'upload'}
    """

    def __init__(self, *, middleware: Iterable[Middleware] = ()) -> None:
        self._middleware = layers(middleware)
        self._by_keys: dict[object, Handler] = {}
        self._resolver: Resolver | None = None

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """Every handler and fallback."""
        return tuple(self._by_keys.values())

    def handler(
        self,
        pattern: str | RoutingPattern | EventSpec[Any],
        *,
        queue: QueueSpec | str | None = None,
        retry: RetryPolicy | Literal[False] | None = None,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function; may be stacked. See `add`."""
        parsed = _parsed(pattern)

        def register(function: F) -> F:
            self.add(parsed, function, queue=queue, retry=retry, timeout=timeout)
            return function

        return register

    def add(
        self,
        pattern: str | RoutingPattern | EventSpec[Any],
        function: Callable[..., object],
        *,
        queue: QueueSpec | str | None = None,
        retry: RetryPolicy | Literal[False] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Register `function` for the keys of `pattern`, in `queue` or in any queue.

        Args:
            pattern: see `RoutingPattern`; what it captures feeds the parameters of those names. An `EventSpec`
                stands for its pattern.
            function: called with keyword arguments: a plain one in a handler thread of the worker, an ``async def`` on
                the worker's event loop. May be the method of an object, ``service.on_order``.
            queue: a spec or a name; None for any queue that the worker consumes.
            retry: instead of the queue's policy; may use only delays that the queue's policy names.
            timeout: seconds. An ``async def`` is cancelled then, and the message has failed (``handler_timeout``). A
                plain function that still runs is reported: a log line ``handler_overdue``, and `Worker.health` is not
                ready until it returns; it is not interrupted, as no thread can be. Without effect on plain functions
                where a worker has no handler threads.

        Raises:
            PatternError: the pattern is not valid.
            HandlerSignatureError: a parameter that nothing can feed.
            DuplicateHandlerError: another handler of the same queue takes exactly the same keys.
            ConfigurationError: `retry` or `timeout` is of a wrong type or out of range; brackets are missing.
        """
        parsed = _parsed(pattern)
        for problem in _option_problems(retry, timeout):
            raise ConfigurationError(f"handler {describe(function)}: {problem}")
        name = None if queue is None else str(queue)
        self._extend([Handler(parsed, function, name, plan_arguments(function, parsed), retry, timeout)])

    def fallback(self, queue: QueueSpec | str | None = None) -> Callable[[F], F]:
        """Register the decorated function for the keys that no handler takes, in `queue` or in any queue."""
        if callable(queue):
            raise ConfigurationError(f"brackets are missing: write @registry.fallback() above {describe(queue)}")
        name = None if queue is None else str(queue)

        def register(function: F) -> F:
            pattern = RoutingPattern("#")
            self._extend([Handler(pattern, function, name, plan_arguments(function, pattern), is_fallback=True)])
            return function

        return register

    def include(self, other: HandlerRegistry) -> None:
        """Add every handler of another registry, or none if one of them is a duplicate.

        The middleware of this registry is put around theirs.
        """
        self._extend(other.handlers)

    def resolve(self, queue: QueueSpec | str, routing_key: str) -> HandlerMatch | None:
        """Return the handler that `routing_key` has in `queue`, with the captures, or None.

        Raises:
            AmbiguousHandlerError: two handlers match, and neither is more specific.
        """
        if self._resolver is None:
            self._resolver = Resolver(self._by_keys.values())
        return self._resolver.resolve(str(queue), routing_key)

    def _extend(self, handlers: Iterable[Handler]) -> None:
        added: dict[object, Handler] = {}
        for each in handlers:
            handler = replace(each, middleware=(*self._middleware, *each.middleware)) if self._middleware else each
            taken = (handler.queue, handler.is_fallback, canonical(handler.pattern.tokens))
            # What is included twice is there once.
            same = self._by_keys.get(taken) or added.setdefault(taken, handler)
            if same.plan is not handler.plan or same.middleware != handler.middleware:
                raise DuplicateHandlerError(f"{handler} takes exactly the keys of {same}: keep one of them")
        self._by_keys.update(added)
        self._resolver = None


def _parsed(pattern: str | RoutingPattern | EventSpec[Any]) -> RoutingPattern:
    if isinstance(pattern, EventSpec):
        return pattern.pattern
    if callable(pattern):
        raise ConfigurationError(f"brackets are missing: write @registry.handler('a.b') above {describe(pattern)}")
    return pattern if isinstance(pattern, RoutingPattern) else RoutingPattern(pattern)


def derived(registry: HandlerRegistry, change: Callable[[Handler], Handler]) -> HandlerRegistry:
    """Return a registry with each handler as `change` makes it; the one given stays as it is."""
    changed = HandlerRegistry()
    changed._extend(map(change, registry.handlers))
    return changed


def _option_problems(retry: object, timeout: object) -> Iterator[str]:
    if not (retry is None or retry is False or isinstance(retry, RetryPolicy)):
        yield f"retry={retry!r} is neither a RetryPolicy nor False"
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        yield f"timeout={timeout!r} has to be a number of seconds, more than 0"


class Resolver:
    """The handlers of a registry as they were, ready to be looked up. Safe from any thread."""

    def __init__(self, handlers: Iterable[Handler]) -> None:
        self._tiers: dict[tuple[str | None, bool], Matcher[Handler]] = {}
        for handler in handlers:
            tier = self._tiers.setdefault((handler.queue, handler.is_fallback), Matcher())
            tier.add(handler.pattern.binding_key, handler)
        self.resolve = lru_cache(maxsize=RESOLVED_KEYS)(self._resolve)

    def candidates(self, queue: str, routing_key: str) -> Iterator[list[Handler]]:
        """Matching handlers by precedence: the queue's own, any-queue, the queue's fallback, any fallback."""
        for tier in ((queue, False), (None, False), (queue, True), (None, True)):
            matcher = self._tiers.get(tier)
            yield matcher.matches(routing_key) if matcher is not None else []

    def _resolve(self, queue: str, routing_key: str) -> HandlerMatch | None:
        for matching in self.candidates(queue, routing_key):
            if matching:
                handler = _most_specific(matching, routing_key)
                return HandlerMatch(handler, handler.pattern.extract(split_words(routing_key)))
        return None


def _most_specific(matching: list[Handler], routing_key: str) -> Handler:
    for handler in matching:
        if all(handler.pattern.is_subset(other.pattern) for other in matching):
            return handler
    raise AmbiguousHandlerError(
        f"the key {shorten(routing_key)} matches {' and '.join(str(handler) for handler in matching)}, "
        f"and none of them is more specific than the others"
    )


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Two handlers that share `witness`, a key that no more specific handler takes; None: undecided."""

    first: Handler
    second: Handler
    witness: str | None

    def __str__(self) -> str:
        if self.witness is None:
            return f"{self.first} and {self.second} may be ambiguous; it was too hard to decide"
        return f"{self.first} and {self.second} both match {self.witness!r}, and neither is more specific"


def find_ambiguities(handlers: Iterable[Handler]) -> Iterator[Ambiguity]:
    """Pairs that share keys, neither inside the other, unless handlers more specific than both take those keys."""
    tiers: dict[tuple[str | None, bool], list[Handler]] = {}
    for handler in handlers:
        tiers.setdefault((handler.queue, handler.is_fallback), []).append(handler)
    for tier in tiers.values():
        yield from _ambiguities_within(tier)


def _ambiguities_within(tier: list[Handler]) -> Iterator[Ambiguity]:
    matcher: Matcher[Handler] = Matcher()
    for handler in tier:
        sharing = matcher.overlapping(handler.pattern.binding_key)
        matcher.add(handler.pattern.binding_key, handler)
        for other in sharing:
            if not (handler.pattern.is_subset(other.pattern) or other.pattern.is_subset(handler.pattern)):
                yield from _ambiguous_pair(other, handler, tier)


def _ambiguous_pair(first: Handler, second: Handler, tier: list[Handler]) -> Iterator[Ambiguity]:
    more_specific = [
        handler.pattern.tokens
        for handler in tier
        if handler.pattern.is_subset(first.pattern) and handler.pattern.is_subset(second.pattern)
    ]
    try:
        words = find_words((first.pattern.tokens, second.pattern.tokens), more_specific, AMBIGUITY_BUDGET)
    except BudgetExceededError:
        yield Ambiguity(first, second, None)
        return
    if words is not None:
        yield Ambiguity(first, second, ".".join(words))

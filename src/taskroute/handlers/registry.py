"""HandlerRegistry: which function handles which routing keys of which queue."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn, TypeVar

from taskroute.errors import ConfigurationError, DuplicateHandlerError, HandlerSignatureError
from taskroute.exported import exported_by
from taskroute.handlers.arguments import ArgumentPlan, plan_arguments
from taskroute.handlers.function import describe
from taskroute.handlers.handler import Handler, HandlerMatch, tier_of
from taskroute.handlers.middleware import Middleware, layers
from taskroute.handlers.resolver import Resolver
from taskroute.handlers.signature import naming
from taskroute.keys.automaton import canonical
from taskroute.keys.pattern import RoutingPattern
from taskroute.quoting import shown
from taskroute.suggestion import suggests_options
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy

F = TypeVar("F", bound=Callable[..., object])


@exported_by("taskroute")
@suggests_options()
class HandlerRegistry:
    """Functions by routing-key pattern and queue.

    Of the handlers that match a key, a queue's own come before those for any queue, and both before a fallback;
    among equals the pattern whose keys are a subset of the other's wins. The order of registration never
    matters. Fill it from one thread, then share it.

    Args:
        middleware: around each of its handlers, and of those that it includes; the first one outermost.

    Raises:
        ConfigurationError: a middleware is not a function of a message and ``call_next``.

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

    def __reduce__(self) -> NoReturn:
        raise TypeError("a registry cannot be sent to another process: let its module be imported there")

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """Every handler and fallback."""
        return tuple(self._by_keys.values())

    @suggests_options()
    def handler(
        self,
        pattern: str | RoutingPattern | EventSpec[Any] | Sequence[str | RoutingPattern | EventSpec[Any]],
        *,
        queue: QueueSpec | str | None = None,
        retry: RetryPolicy | Literal[False] | None = None,
        timeout: float | None = None,
    ) -> Callable[[F], F]:
        """Register the decorated function; may be stacked. See `add`."""
        _parsed(pattern)  # now: what is wrong is told at the decorator's line

        def register(function: F) -> F:
            self.add(pattern, function, queue=queue, retry=retry, timeout=timeout)
            return function

        return register

    @suggests_options()
    def add(
        self,
        pattern: str | RoutingPattern | EventSpec[Any] | Sequence[str | RoutingPattern | EventSpec[Any]],
        function: Callable[..., object],
        *,
        queue: QueueSpec | str | None = None,
        retry: RetryPolicy | Literal[False] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Register `function` for the keys of `pattern`, in `queue` or in any queue.

        Args:
            pattern: see `RoutingPattern`; what it captures feeds the parameters of those names. An `EventSpec`
                stands for its pattern. A list: each of them feeds what the function asks for.
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
        patterns = _parsed(pattern)
        for problem in (*_queue_problems(queue), *_option_problems(retry, timeout)):
            raise ConfigurationError(f"handler {describe(function)}: {problem}")
        name = None if queue is None else str(queue)
        self._extend(
            [
                Handler(each, function, name, _plan(function, each, patterns), retry, timeout, event=event)
                for each, event in zip(patterns, _events(pattern), strict=True)
            ]
        )

    @suggests_options()
    def fallback(self, queue: QueueSpec | str | None = None) -> Callable[[F], F]:
        """Register the decorated function for the keys that no handler takes, in `queue` or in any queue."""
        if callable(queue):
            raise ConfigurationError(f"brackets are missing: write @registry.fallback() above {describe(queue)}")
        for problem in _queue_problems(queue):
            raise ConfigurationError(f"fallback: {problem}")
        name = None if queue is None else str(queue)

        def register(function: F) -> F:
            pattern = RoutingPattern("#")
            self._extend([Handler(pattern, function, name, plan_arguments(function, pattern), is_fallback=True)])
            return function

        return register

    def include(self, other: HandlerRegistry) -> None:
        """Add every handler of another registry, with the middleware of this one around its own.

        Raises:
            DuplicateHandlerError: one of them is a duplicate; then none is added.
        """
        self._extend(other.handlers)

    def resolve(self, queue: QueueSpec | str, routing_key: str) -> HandlerMatch | None:
        """Return the handler that `routing_key` has in `queue`, with the captures, or None.

        Raises:
            AmbiguousHandlerError: two handlers match, and neither is more specific.
        """
        resolver = self._resolver  # read once: several threads may ask first, and each one's is as good
        if resolver is None:
            resolver = self._resolver = Resolver(self._by_keys.values())
        return resolver.resolve(str(queue), routing_key)

    def _extend(self, handlers: Iterable[Handler]) -> None:
        added: dict[object, Handler] = {}
        for each in handlers:
            handler = replace(each, middleware=(*self._middleware, *each.middleware)) if self._middleware else each
            taken = (tier_of(handler), canonical(handler.pattern.tokens))
            # A handler that is included twice counts once.
            same = self._by_keys.get(taken) or added.setdefault(taken, handler)
            if same.plan is not handler.plan or same.middleware != handler.middleware:
                raise DuplicateHandlerError(f"{handler} takes exactly the keys of {same}: keep one of them")
        self._by_keys.update(added)
        self._resolver = None


def _parsed(pattern: object) -> tuple[RoutingPattern, ...]:
    if not isinstance(pattern, list | tuple):
        return (_parsed_one(pattern),)
    if not pattern:
        raise ConfigurationError("a list without a pattern: a handler takes at least one")
    return tuple(_parsed_one(each) for each in pattern)


def _events(pattern: object) -> list[EventSpec[Any] | None]:
    given = pattern if isinstance(pattern, list | tuple) else (pattern,)
    return [each if isinstance(each, EventSpec) else None for each in given]


def _parsed_one(pattern: Any) -> RoutingPattern:
    if isinstance(pattern, EventSpec):
        return pattern.pattern
    if callable(pattern):
        raise ConfigurationError(f"brackets are missing: write @registry.handler('a.b') above {describe(pattern)}")
    return pattern if isinstance(pattern, RoutingPattern) else RoutingPattern(pattern)


def _plan(function: Callable[..., object], pattern: RoutingPattern, patterns: Sequence[RoutingPattern]) -> ArgumentPlan:
    """Plan the arguments for one of some patterns; the error names that one."""
    if len(patterns) == 1:
        return plan_arguments(function, pattern)
    with naming(f"pattern {str(pattern)!r}"):
        plan = plan_arguments(function, pattern)
        for other in patterns:
            if plan.body is not None and plan.body.name in other.capture_names:
                raise HandlerSignatureError(
                    f"handler {describe(function)}: it does not capture {plan.body.name!r}, as {str(other)!r} does, "
                    f"and so that parameter would take the body: capture it in each, or register them one by one"
                )
        return plan


def derived(registry: HandlerRegistry, change: Callable[[Handler], Handler]) -> HandlerRegistry:
    """Return a new registry with each handler as `change` makes it."""
    changed = HandlerRegistry()
    changed._extend(map(change, registry.handlers))
    return changed


def _queue_problems(queue: object) -> Iterator[str]:
    if not (queue is None or isinstance(queue, str | QueueSpec)):
        yield f"queue={shown(queue)}: pass one QueueSpec, or its name; register it once for each of several queues"


def _option_problems(retry: object, timeout: object) -> Iterator[str]:
    if not (retry is None or retry is False or isinstance(retry, RetryPolicy)):
        yield f"retry={shown(retry)} is neither a RetryPolicy nor False"
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        yield f"timeout={shown(timeout)} must be a number of seconds, more than 0"

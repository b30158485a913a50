"""Handler: a function registered for a pattern, and its match with a routing key."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from taskroute.exported import exported_by
from taskroute.handlers.arguments import ArgumentPlan
from taskroute.handlers.call import Call, call_of
from taskroute.handlers.function import describe, is_async
from taskroute.handlers.middleware import Layer
from taskroute.keys.pattern import Captures, RoutingPattern
from taskroute.message.outcome import Handled
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.retry_policy import RetryPolicy

Tier = tuple[str | None, bool]
"""Handlers that compete by their patterns alone: those of one queue (None: any queue), fallbacks apart."""


@exported_by("taskroute")
@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A function registered for a pattern.

    Attributes:
        pattern: the routing keys that it takes, and what it captures of them.
        function: as it was registered.
        queue: a queue's name, None for any queue.
        plan: where its arguments come from.
        retry: None for what its queue says.
        timeout: in seconds.
        is_fallback: whether it takes only keys that no other handler takes.
        middleware: around the function, the first one outermost.
        event: what it was registered for, None for a pattern.
        is_async: whether it is an ``async def``, which runs on an event loop.
        call: the function as a function of a message.
        handled: the outcome when it returns; made once, not for each message.
    """

    pattern: RoutingPattern
    function: Callable[..., object]
    queue: str | None
    plan: ArgumentPlan
    retry: RetryPolicy | Literal[False] | None = None
    timeout: float | None = None
    is_fallback: bool = False
    middleware: tuple[Layer, ...] = ()
    event: EventSpec[Any] | None = None
    is_async: bool = field(init=False)
    call: Call = field(init=False, repr=False)
    handled: Handled = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", is_async(self.function))
        object.__setattr__(self, "call", call_of(self.function, self.plan, self.timeout))
        object.__setattr__(self, "handled", Handled(describe(self.function)))

    @property
    def name(self) -> str:
        """The module and qualified name of the function."""
        return self.handled.handler

    def __str__(self) -> str:
        where = "any queue" if self.queue is None else f"queue {self.queue!r}"
        what = "fallback" if self.is_fallback else repr(str(self.pattern))
        return f"{self.name} ({what} of {where})"


def is_one_with(handler: Handler, other: Handler) -> bool:
    """Return whether it makes no difference which of two handlers of one tier is called for a key.

    So it is with one function that was registered for a list of patterns, where these capture nothing.
    """
    return (
        handler.function is other.function
        and not handler.pattern.capture_names | other.pattern.capture_names
        and (handler.retry, handler.timeout, handler.middleware) == (other.retry, other.timeout, other.middleware)
    )


def tier_of(handler: Handler) -> Tier:
    """Return the tier of a handler."""
    return handler.queue, handler.is_fallback


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class HandlerMatch:
    """The handler of a routing key, and what its pattern captures of the key."""

    handler: Handler
    captures: Captures

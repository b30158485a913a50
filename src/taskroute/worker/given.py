"""Given: what a worker gives to handlers that ask for it."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from inspect import Parameter

from taskroute.errors import ConfigurationError
from taskroute.handlers.asked import Asked
from taskroute.handlers.handler import Handler
from taskroute.handlers.registry import HandlerRegistry, derived
from taskroute.handlers.resources import find_resource
from taskroute.handlers.sources import Source
from taskroute.keys.pattern import Captures
from taskroute.message.delivery import Delivery
from taskroute.publisher.publisher import Publisher
from taskroute.quoting import kind_with_article
from taskroute.worker.event_loop import EventLoop


class Resources:
    """What handlers are given that ask by `Resource()`: known at once, or when it is open.

    Written by the thread that makes and starts the worker; handlers read it, on threads that are started later.

    Args:
        loop: the event loop that it belongs to; None: to none.
    """

    def __init__(self, loop: EventLoop | None = None) -> None:
        self.loop = loop
        self._answers: list[_Answer] = []

    def source(self, asked: Asked, handler: Handler) -> Source:
        """Return the source of what a handler asks for. It has something to give once these are open."""
        answer = _Answer(asked, handler)
        self._answers.append(answer)
        return answer

    def open(self, resources: object) -> None:
        """Answer what was asked for.

        Raises:
            ConfigurationError: a handler asks for something else; names it.
        """
        for answer in self._answers:
            answer.find(resources)


def give(
    registry: HandlerRegistry, queues: Container[str], resources: object | None, publisher: Publisher | None
) -> HandlerRegistry:
    """Return handlers that are given what they ask for, where they ask for something.

    Args:
        registry: of the handlers.
        queues: names of those that the worker consumes.
        resources: open already, or `Resources`, which are open before the first message.
        publisher: of the worker; None: it has none.

    Raises:
        ConfigurationError: a handler asks for something else; an argument is of another type.
    """
    known = Resources() if resources is not None and not isinstance(resources, Resources) else resources
    given = _Given(queues, known, publisher)
    if not any(handler.plan.asked for handler in registry.handlers):
        return registry
    answered = derived(registry, given.to)
    if known is not None and known is not resources:
        known.open(resources)
    return answered


class _Answer:
    """The source of one resource."""

    __slots__ = ("_asked", "_handler", "_value")

    def __init__(self, asked: Asked, handler: Handler) -> None:
        self._asked = asked
        self._handler = handler
        self._value: object = None

    def find(self, resources: object) -> None:
        """Look for it among those that are open now."""
        try:
            self._value = find_resource(resources, self._asked)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self._handler}: {error}") from None

    def __call__(self, _: Delivery, __: Captures) -> object:
        return self._value


class _Given:
    """Answers what handlers ask a worker for.

    Args:
        queues: names of those that the worker consumes. Handlers of others are never called by it, and may ask in vain.
        resources: None: there are none.
        publisher: None: there is none.
    """

    def __init__(self, queues: Container[str], resources: Resources | None, publisher: Publisher | None) -> None:
        if not isinstance(publisher, Publisher | None):
            raise ConfigurationError(f"publisher must be a Publisher, and is {kind_with_article(publisher)}")
        self._queues = queues
        self._resources = resources
        self._publisher = publisher

    def to(self, handler: Handler) -> Handler:
        """Return a handler that is given what it asks for.

        Raises:
            ConfigurationError: there is none; names the handler, and the way out.
        """
        if not handler.plan.asked or (handler.queue is not None and handler.queue not in self._queues):
            return handler
        return replace(handler, plan=handler.plan.answered(lambda asked: self._source(asked, handler)))

    def _source(self, asked: Asked, handler: Handler) -> Source:
        if asked.is_resource and self._resources is not None:
            return self._resources.source(asked, handler)
        if not asked.is_resource and self._publisher is not None:
            publisher = self._publisher
            return lambda _, __: publisher
        if asked.default is not Parameter.empty:
            default = asked.default
            return lambda _, __: default
        raise ConfigurationError(
            f"{handler}: {asked}, and this worker has none: "
            + (
                "give it Worker(resources=...), or give a Service a lifespan that yields it"
                if asked.is_resource
                else "give it Worker(publisher=...), or run a Service, which has one"
            )
        )


def loop_of(resources: object | None) -> EventLoop | None:
    """Return the event loop that resources belong to, None where they belong to none."""
    return resources.loop if isinstance(resources, Resources) else None

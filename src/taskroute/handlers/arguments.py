"""A handler's signature, compiled once into a plan that turns a delivery into its keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.dependencies import Dependency, needed, provided, provided_async
from taskroute.handlers.function import describe, is_async, kind_of
from taskroute.handlers.marks import Provider
from taskroute.handlers.providers import Providers
from taskroute.handlers.sources import Source, body_source
from taskroute.keys.pattern import Captures, RoutingPattern
from taskroute.message.message import Delivery

_NO_OVERRIDES: Final[Mapping[Provider, Provider]] = {}


class BodyParameter(NamedTuple):
    """The parameter that takes the body: its annotation, and how it is read from a delivery."""

    annotation: Any
    source: Source


class ArgumentPlan:
    """Where each parameter of a handler comes from, decided at registration. `body` None: it takes no body."""

    __slots__ = ("_sources", "body", "dependencies", "needs")

    def __init__(
        self,
        sources: Mapping[str, Source],
        needs: Mapping[str, Provider] | None = None,
        dependencies: Iterable[Dependency] = (),
        body: BodyParameter | None = None,
    ) -> None:
        self.body = body
        self._sources = tuple(sources.items())
        self.needs = tuple((needs or {}).items())
        self.dependencies = tuple(dependencies)  # each one after those that it needs

    def bind(self, delivery: Delivery, captures: Captures) -> dict[str, object]:
        """Return the keyword arguments that one message gives.

        Raises:
            InvalidArgumentError: the message does not fit; says with which reason.
        """
        return {name: source(delivery, captures) for name, source in self._sources}

    def also(self, name: str, source: Source) -> ArgumentPlan:
        """Return a plan that feeds one parameter more."""
        return ArgumentPlan({**dict(self._sources), name: source}, dict(self.needs), self.dependencies)

    def caller(self, function: Callable[..., Any]) -> Callable[[Delivery, Captures], Any]:
        """Return `function` as a function of the message; what providers open is open while it runs."""
        if not self.dependencies:
            return lambda delivery, captures: function(**self.bind(delivery, captures))

        # Bound first: nothing is opened for a message that does not fit.
        def call(delivery: Delivery, captures: Captures) -> Any:
            arguments = self.bind(delivery, captures)
            with provided(self.dependencies, delivery, captures) as made:
                return function(**arguments, **needed(self.needs, made))

        async def call_async(delivery: Delivery, captures: Captures) -> Any:
            arguments = self.bind(delivery, captures)
            async with provided_async(self.dependencies, delivery, captures) as made:
                return await function(**arguments, **needed(self.needs, made))

        return call_async if is_async(function) else call


def plan_arguments(
    function: Callable[..., object], pattern: RoutingPattern, overrides: Mapping[Provider, Provider] = _NO_OVERRIDES
) -> ArgumentPlan:
    """Read the signature of a handler for `pattern`.

    A name the pattern captures is that capture; `Message` is the envelope; ``Annotated[T, Header(name)]`` a
    header; ``Annotated[T, Depends(provider)]`` what the provider makes; the one that remains is the body. A
    parameter with a default that nothing feeds keeps it. `overrides` has providers in place of others.

    Raises:
        HandlerSignatureError: a parameter that nothing can feed, a generator function, an async provider of a plain
            handler, an annotation that cannot be resolved or validated.
    """
    name = describe(function)
    if not callable(function):
        raise HandlerSignatureError(f"a handler is a function, not {type(function).__name__}")
    if kind_of(function).endswith("generator"):
        raise HandlerSignatureError(
            f"handler {name} is a generator function, and calling it would run nothing; "
            f"write a plain or an async function"
        )
    providers = Providers(pattern, overrides)
    sources, needs, remaining = providers.sort(function, name)
    taken = _body_parameter(remaining, pattern, name)
    body = None if taken is None else BodyParameter(taken.annotation, body_source(taken, name))
    if taken is not None and body is not None:
        sources[taken.name] = body.source
    for dependency in providers.planned.values():
        if dependency.is_async and not is_async(function):
            raise HandlerSignatureError(
                f"handler {name} is a plain function, and its provider {describe(dependency.provider)} is async; "
                f"make both plain, or both async"
            )
    return ArgumentPlan(sources, needs, providers.planned.values(), body)


def _body_parameter(remaining: list[inspect.Parameter], pattern: RoutingPattern, name: str) -> inspect.Parameter | None:
    required = [parameter for parameter in remaining if parameter.default is parameter.empty]
    if required and (required[0].name == "self" or (required[0].name == "cls" and len(required) > 1)):
        raise HandlerSignatureError(
            f"handler {name} takes {required[0].name}, as a method does that belongs to no object yet: "
            f"register it from its object, registry.add(pattern, object.{name.rpartition('.')[2]})"
        )
    if len(required) > 1:
        names = ", ".join(parameter.name for parameter in required)
        captured = ", ".join(sorted(pattern.capture_names)) or "nothing"
        raise HandlerSignatureError(
            f"handler {name}: only one parameter can take the body, but {names} remain "
            f"({str(pattern)!r} captures {captured}); capture them, mark them Header(...) or Depends(...), "
            f"or give them defaults"
        )
    return required[0] if required else None

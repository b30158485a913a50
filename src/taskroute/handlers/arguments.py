"""Arguments: a handler's signature, compiled once into a plan that turns a delivery into keyword arguments."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Final

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.asked import Asked
from taskroute.handlers.body import BodyParameter, body_parameter
from taskroute.handlers.dependencies import Dependency
from taskroute.handlers.function import chooses_by_position, describe, is_async, is_class, is_wrapper, kind_of, name_of
from taskroute.handlers.marks import Provider
from taskroute.handlers.providers import ProviderPlan
from taskroute.handlers.signature import naming
from taskroute.handlers.sources import Answer, Source, answered
from taskroute.keys.pattern import Captures, RoutingPattern
from taskroute.message.delivery import Delivery

_NO_OVERRIDES: Final[Mapping[Provider, Provider]] = {}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ArgumentPlan:
    """Where each parameter of a handler comes from, decided at registration.

    Attributes:
        sources: what the message gives, by the parameter's name.
        needs: which provider gives it, by the parameter's name.
        dependencies: the providers, each after those that it needs.
        body: the parameter that takes the body, None where no parameter does.
    """

    sources: tuple[tuple[str, Source], ...]
    needs: tuple[tuple[str, Provider], ...]
    dependencies: tuple[Dependency, ...]
    body: BodyParameter | None

    def bind(self, delivery: Delivery, captures: Captures) -> dict[str, object]:
        """Return the keyword arguments that one message gives.

        Raises:
            InvalidArgumentError: the message does not fit; says with which reason.
        """
        return {name: source(delivery, captures) for name, source in self.sources}

    @property
    def asked(self) -> tuple[Asked, ...]:
        """What it asks a worker for, by parameters of its own and of its providers."""
        sources = [*self.sources, *(each for dependency in self.dependencies for each in dependency.sources)]
        return tuple(source for _, source in sources if isinstance(source, Asked))

    def answered(self, answer: Answer) -> "ArgumentPlan":
        """Return a plan with sources in place of what is asked of a worker."""
        dependencies = tuple(each.answered(answer) for each in self.dependencies)
        return replace(self, sources=answered(self.sources, answer), dependencies=dependencies)

    def also(self, name: str, source: Source) -> "ArgumentPlan":
        """Return a plan that feeds one parameter more."""
        return replace(self, sources=(*self.sources, (name, source)))


def plan_arguments(
    function: Callable[..., object], pattern: RoutingPattern, overrides: Mapping[Provider, Provider] = _NO_OVERRIDES
) -> ArgumentPlan:
    """Read the signature of a handler for `pattern`.

    A name that the pattern captures is that capture; `Message` is the envelope; ``Annotated[T, Header(name)]`` a
    header; ``Annotated[T, Depends(provider)]`` what the provider makes; ``Annotated[T, Resource()]`` and
    `Publisher` what a worker gives; the one that remains is the body. A
    parameter with a default that nothing feeds keeps it. `overrides` has providers in place of others.

    Raises:
        HandlerSignatureError: a parameter that nothing can feed, a class or a generator function, an async provider of
            a plain handler, an annotation that cannot be resolved or validated.
    """
    if not callable(function):
        raise HandlerSignatureError(f"a handler is a function, not {type(function).__name__}")
    with naming(f"handler {describe(function)}"):
        return _planned(function, pattern, overrides)


def _planned(
    function: Callable[..., object], pattern: RoutingPattern, overrides: Mapping[Provider, Provider]
) -> ArgumentPlan:
    if problem := _unusable(function):
        raise HandlerSignatureError(problem)
    providers = ProviderPlan(pattern, overrides)
    sources, needs, unfed = providers.inputs_of(function)
    _check_bound(function, unfed)
    _check_one_body(function, unfed, pattern)
    body = body_parameter(unfed[0]) if unfed else None
    if body is not None:
        sources = (*sources, (body.name, body.source))
    _check_kinds(function, providers.dependencies)
    return ArgumentPlan(sources, needs, providers.dependencies, body)


def _unusable(function: Callable[..., object]) -> str | None:
    """Return why a call would certainly not handle a message. What a decorator hides is seen when it is called."""
    if is_class(function):
        return "it is a class, and calling it would make an object and handle nothing; register a method of an object"
    if kind_of(function).endswith("generator"):
        return "it is a generator function, and calling it would run nothing; write a plain or an async function"
    if kind_of(function).endswith("context_manager"):
        return "it makes a context manager, and calling it would run nothing; write a plain or an async function"
    if chooses_by_position(function):
        return (
            "it is a singledispatch function, which chooses by an argument without a name, and handlers get theirs by "
            "name; register a function that calls it"
        )
    return None


def _check_bound(function: Callable[..., object], unfed: tuple[Parameter, ...]) -> None:
    """Refuse a method as it stands in its class: its first parameter is for an object, or for the class."""
    names = [parameter.name for parameter in unfed]
    if names[:1] == ["self"] or (names[:1] == ["cls"] and len(names) > 1):
        method = name_of(function).rpartition(".")[2]
        raise HandlerSignatureError(
            f"it takes {names[0]}, as a method does that belongs to no object yet: "
            f"register it from its object, registry.add(pattern, object.{method})"
        )


def _check_one_body(function: Callable[..., object], unfed: tuple[Parameter, ...], pattern: RoutingPattern) -> None:
    if len(unfed) > 1:
        passed = "; if its decorator passes one of them, set wrapper.__signature__ in the decorator, without that one"
        names = ", ".join(parameter.name for parameter in unfed)
        captured = ", ".join(sorted(pattern.capture_names)) or "nothing"
        raise HandlerSignatureError(
            f"only one parameter can take the body, but {names} remain ({str(pattern)!r} captures {captured}); "
            f"capture them, mark them Header(...), Depends(...) or Resource(), or give them defaults"
            f"{passed if is_wrapper(function) else ''}"
        )


def _check_kinds(function: Callable[..., object], dependencies: tuple[Dependency, ...]) -> None:
    for dependency in dependencies:
        if dependency.is_async and not is_async(function):
            raise HandlerSignatureError(
                f"it is a plain function, and its provider {describe(dependency.provider)} is async; "
                f"make both plain, or both async"
            )

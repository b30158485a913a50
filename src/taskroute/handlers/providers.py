"""Providers: the plan of those that a handler needs, made at registration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import NamedTuple

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.asked import asked_by
from taskroute.handlers.dependencies import Dependency
from taskroute.handlers.function import describe
from taskroute.handlers.marks import Depends, Provider, mark_of
from taskroute.handlers.signature import naming, parameters_of
from taskroute.handlers.sources import Source, source_of
from taskroute.keys.pattern import RoutingPattern


class Inputs(NamedTuple):
    """Where the parameters of one function come from: the message, providers, or nothing.

    A parameter with a default that nothing feeds keeps its default and is not here.
    """

    sources: tuple[tuple[str, Source], ...]
    needs: tuple[tuple[str, Provider], ...]
    unfed: tuple[Parameter, ...]


class ProviderPlan:
    """The providers that one handler needs, each after those that it needs itself.

    Args:
        pattern: of the handler.
        overrides: providers to use in place of others.
    """

    def __init__(self, pattern: RoutingPattern, overrides: Mapping[Provider, Provider]) -> None:
        self._pattern = pattern
        self._overrides = overrides
        self._being_planned: list[Provider] = []
        self._planned: dict[Provider, Dependency] = {}

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        """The providers planned so far, in the order in which they must be called."""
        return tuple(self._planned.values())

    def inputs_of(self, function: Callable[..., object]) -> Inputs:
        """Return where the parameters of a function come from, and plan the providers that it asks for.

        Raises:
            HandlerSignatureError: a parameter that nothing can feed.
        """
        sources: dict[str, Source] = {}
        needs: dict[str, Provider] = {}
        unfed: list[Parameter] = []
        for parameter in parameters_of(function):
            if (mark := mark_of(parameter, Depends)) is not None:
                needs[parameter.name] = self._plan(mark.provider)
            elif (asked := asked_by(parameter)) is not None and asked.type in self._overrides:
                needs[parameter.name] = self._plan(asked.type)
            elif (source := source_of(parameter, self._pattern)) is not None:
                sources[parameter.name] = source
            elif parameter.default is parameter.empty:
                unfed.append(parameter)
        return Inputs(tuple(sources.items()), tuple(needs.items()), tuple(unfed))

    def _plan(self, asked: Provider) -> Provider:
        """Plan a provider, unless it is planned already, and return it or what overrides it."""
        provider = self._overridden(asked)
        if not callable(provider):
            raise HandlerSignatureError(f"Depends({provider!r}) needs a function")
        if provider in self._being_planned:
            circle = " -> ".join(describe(each) for each in [*self._being_planned, provider])
            raise HandlerSignatureError(f"providers depend on each other in a circle: {circle}")
        if provider not in self._planned:
            self._being_planned.append(provider)
            with naming(f"provider {describe(provider)}"):
                self._planned[provider] = self._dependency(provider)
            self._being_planned.pop()
        return provider

    def _overridden(self, asked: Provider) -> Provider:
        try:
            provider = self._overrides.get(asked, asked)
            hash(provider)
        except TypeError:
            raise HandlerSignatureError(
                f"Depends({asked!r}) has no hash, which identifies a provider; "
                f"pass a bound method, for example its __call__, or make its class a frozen dataclass"
            ) from None
        return provider

    def _dependency(self, provider: Provider) -> Dependency:
        inputs = self.inputs_of(provider)
        for parameter in inputs.unfed:
            raise HandlerSignatureError(
                f"nothing feeds parameter {parameter.name!r}; a provider takes what the pattern captures, Message, "
                f"Header(...), Depends(...) and Resource(), and not the body"
            )
        return Dependency(provider, inputs.sources, inputs.needs)

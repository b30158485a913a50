"""Providers: the plan of those that a handler needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.dependencies import Dependency
from taskroute.handlers.function import describe
from taskroute.handlers.marks import Depends, Provider, marks_of
from taskroute.handlers.signature import parameters_of
from taskroute.handlers.sources import Source, source_of
from taskroute.keys.pattern import RoutingPattern


class Providers:
    """The providers that a handler needs, planned each after those that it needs itself."""

    def __init__(self, pattern: RoutingPattern, overrides: Mapping[Provider, Provider]) -> None:
        self._pattern = pattern
        self._overrides = overrides
        self._being_planned: list[Provider] = []
        self.planned: dict[Provider, Dependency] = {}

    def sort(
        self, function: Callable[..., object], name: str
    ) -> tuple[dict[str, Source], dict[str, Provider], list[inspect.Parameter]]:
        """Return where parameters come from, by name: the message, or a provider; and those that are left over."""
        sources: dict[str, Source] = {}
        needs: dict[str, Provider] = {}
        remaining: list[inspect.Parameter] = []
        for parameter in parameters_of(function, name):
            provider = _provider_of(parameter)
            if provider is not None:
                needs[parameter.name] = self._plan(provider, name)
            elif (source := source_of(parameter, self._pattern, name)) is not None:
                sources[parameter.name] = source
            else:
                remaining.append(parameter)
        return sources, needs, remaining

    def _plan(self, asked: Provider, user: str) -> Provider:
        try:
            provider = self._overrides.get(asked, asked)
            hash(provider)
        except TypeError:
            raise HandlerSignatureError(
                f"handler {user}: Depends({asked!r}) has no hash, by which it is told from others; "
                f"pass a method of it, its __call__ say, or make its class a frozen dataclass"
            ) from None
        if not callable(provider):
            raise HandlerSignatureError(f"handler {user}: Depends({provider!r}) needs a function")
        if provider in self._being_planned:
            circle = " -> ".join(describe(each) for each in [*self._being_planned, provider])
            raise HandlerSignatureError(f"handler {user}: providers depend on each other in a circle: {circle}")
        if provider not in self.planned:
            self._being_planned.append(provider)
            self.planned[provider] = self._dependency(provider, f"{user} (its provider {describe(provider)})")
            self._being_planned.pop()
        return provider

    def _dependency(self, provider: Provider, name: str) -> Dependency:
        sources, needs, remaining = self.sort(provider, name)
        for parameter in remaining:
            if parameter.default is parameter.empty:
                raise HandlerSignatureError(
                    f"handler {name}: nothing feeds parameter {parameter.name!r}; a provider takes what the pattern "
                    f"captures, Message, Header(...) and Depends(...), and not the body"
                )
        return Dependency(provider, tuple(sources.items()), tuple(needs.items()))


def _provider_of(parameter: inspect.Parameter) -> Provider | None:
    for mark in marks_of(parameter.annotation):
        if isinstance(mark, Depends):
            return mark.provider
    return None

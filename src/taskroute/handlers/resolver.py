"""Resolver: the handler of a queue and a routing key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from taskroute.errors import AmbiguousHandlerError
from taskroute.handlers.handler import Handler, HandlerMatch
from taskroute.keys.automaton import split_words
from taskroute.keys.matcher import Matcher
from taskroute.quoting import shorten

RESOLVED_KEYS: Final = 4096
"""How many (queue, routing key) pairs stay resolved. Keys are outsiders' data, so there is a limit."""


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

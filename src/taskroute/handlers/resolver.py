"""Resolver: the handler of a queue and a routing key, by precedence and not by order of registration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from taskroute.errors import AmbiguousHandlerError
from taskroute.handlers.handler import Handler, HandlerMatch, Tier, is_one_with, tier_of
from taskroute.keys.automaton import split_words
from taskroute.keys.matcher import Matcher
from taskroute.quoting import shorten

RESOLVED_KEYS: Final = 4096
"""Size of the cache of (queue, routing key) pairs. Limited, because publishers choose the keys."""


class Resolver:
    """Finds the handler of a key among those given, which do not change. Safe from any thread.

    Raises:
        AmbiguousHandlerError: by `resolve`: several handlers match, and none is the most specific.
    """

    def __init__(self, handlers: Iterable[Handler]) -> None:
        self._tiers: dict[Tier, Matcher[Handler]] = {}
        for handler in handlers:
            matcher = self._tiers.setdefault(tier_of(handler), Matcher())
            matcher.add(handler.pattern.binding_key, handler)
        self.resolve = lru_cache(maxsize=RESOLVED_KEYS)(self._resolve)

    def candidates(self, queue: str, routing_key: str) -> Iterator[list[Handler]]:
        """Yield matching handlers by precedence: of the queue, of any queue, fallbacks of the queue, of any queue."""
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
        if all(handler.pattern.is_subset(other.pattern) or is_one_with(handler, other) for other in matching):
            return handler
    raise AmbiguousHandlerError(
        f"the key {shorten(routing_key)} matches {' and '.join(str(handler) for handler in matching)}, "
        f"and none of them is more specific than the others"
    )

"""Ambiguity: two handlers that share a key although neither is more specific. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from taskroute.handlers.handler import Handler, Tier, is_one_with, tier_of
from taskroute.keys.automaton import BudgetExceededError, find_words
from taskroute.keys.matcher import Matcher

AMBIGUITY_BUDGET: Final = 20_000
"""How many states the search for one ambiguous key may expand."""

WAY_OUT: Final = "add a handler for what they share, or make one more specific"


@dataclass(frozen=True, slots=True)
class Ambiguity:
    """Two handlers that share `witness`, a key that no more specific handler takes; None when that is undecided."""

    first: Handler
    second: Handler
    witness: str | None

    def __str__(self) -> str:
        if self.witness is None:
            return f"{self.first} and {self.second} may be ambiguous; it was too hard to decide"
        return f"{self.first} and {self.second} both match {self.witness!r}, and neither is more specific"


def find_ambiguities(handlers: Iterable[Handler]) -> Iterator[Ambiguity]:
    """Yield pairs that share keys, neither a subset of the other, which no handler more specific than both takes."""
    tiers: dict[Tier, list[Handler]] = {}
    for handler in handlers:
        tiers.setdefault(tier_of(handler), []).append(handler)
    for tier in tiers.values():
        yield from _ambiguities_within(tier)


def _ambiguities_within(tier: list[Handler]) -> Iterator[Ambiguity]:
    matcher: Matcher[Handler] = Matcher()
    for handler in tier:
        sharing = matcher.overlapping(handler.pattern.binding_key)
        matcher.add(handler.pattern.binding_key, handler)
        for other in sharing:
            is_decided = handler.pattern.is_subset(other.pattern) or other.pattern.is_subset(handler.pattern)
            if not is_decided and not is_one_with(handler, other):
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

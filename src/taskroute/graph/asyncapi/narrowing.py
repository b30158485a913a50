"""Narrowing: which keys of a handler's pattern a binding lets in, as one pattern. Pure."""

from __future__ import annotations

from taskroute.errors import PatternError
from taskroute.keys.automaton import ANY_WORDS, ONE_WORD, split_words
from taskroute.keys.pattern import RoutingPattern
from taskroute.topology.exchange import BindingSpec, ExchangeSpec


def binding_pattern(exchange: ExchangeSpec, binding: BindingSpec) -> RoutingPattern | None:
    """Return the keys that a binding takes, None for every key, or for one that no pattern can say."""
    if exchange.type not in ("topic", "direct"):
        return None
    if exchange.type == "direct" and {ONE_WORD, ANY_WORDS} & set(split_words(binding.binding_key)):
        return None  # the exchange takes a wildcard for itself
    try:
        return RoutingPattern(binding.binding_key)
    except PatternError:
        return None


def narrowed(pattern: RoutingPattern, taken: RoutingPattern | None) -> RoutingPattern:
    """Return the narrower one of two patterns that share a key, with the names of the first.

    Where each has keys that the other has not, it is the first.

    Example:
        >>> narrowed(RoutingPattern("order.{number}.{state}"), RoutingPattern("order.*.paid"))
        RoutingPattern('order.{number}.paid')
    """
    if taken is None or pattern.is_subset(taken) or not taken.is_subset(pattern):
        return pattern
    return _with_names(taken, pattern)


def _with_names(pattern: RoutingPattern, named: RoutingPattern) -> RoutingPattern:
    """Return a pattern with the names that another one has at the same places, where places can be told."""
    if len(pattern.tokens) != len(named.tokens) or ANY_WORDS in (*pattern.tokens, *named.tokens):
        return pattern
    words = zip(pattern.tokens, split_words(named.template), strict=True)
    return RoutingPattern(".".join(name if token == ONE_WORD else token for token, name in words))

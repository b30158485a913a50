"""Address: a routing pattern as the address of a channel, in which each wildcard is a parameter.

An address has no wildcards: `#` would be a fragment, which AsyncAPI forbids. So a wildcard without a name gets one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from taskroute.keys.automaton import ANY_WORDS, ONE_WORD, split_words
from taskroute.keys.pattern import RoutingPattern

_FORBIDDEN: Final = frozenset("{}?#")
"""What AsyncAPI reads as a parameter, a query or a fragment, and cannot be escaped."""

_DESCRIBED: Final = {
    ONE_WORD: "One word of the routing key, without a dot.",
    ANY_WORDS: "Any number of words of the routing key, with dots between them. For none, its dot is left out as well.",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a channel is.

    Attributes:
        text: None where AsyncAPI cannot say it.
        words: of the key, with a parameter's name for a wildcard; for identifiers.
        parameters: what each stands for, by name.
    """

    text: str | None
    words: tuple[str, ...]
    parameters: Mapping[str, str]


def address_of(pattern: RoutingPattern) -> Address:
    """Return the address of a pattern.

    Example:
        >>> address_of(RoutingPattern("order.{number}.#")).text
        'order.{number}.{words_1}'
    """
    words = list(_words(pattern))
    text = None
    if not any(_FORBIDDEN & set(word) for token, word in words if token is None):
        text = ".".join(word if token is None else f"{{{word}}}" for token, word in words)
    parameters = {word: _DESCRIBED[token] for token, word in words if token is not None}
    return Address(text, tuple(word for _, word in words), parameters)


def address_of_key(key: str) -> Address:
    """Return the address of one routing key, in which nothing is a wildcard."""
    return Address(None if _FORBIDDEN & set(key) else key, split_words(key), {})


def _words(pattern: RoutingPattern) -> Iterator[tuple[str | None, str]]:
    """Yield each word: None and the word itself, or the wildcard and its name."""
    numbers = {ONE_WORD: 0, ANY_WORDS: 0}
    for word, token in zip(split_words(pattern.template), pattern.tokens, strict=True):
        if token not in numbers:
            yield None, word
        elif word != token:
            yield token, word[1:-1].removesuffix(":#")
        else:
            numbers[token] += 1
            yield token, _free_name(token, numbers, pattern)


def _free_name(token: str, numbers: dict[str, int], pattern: RoutingPattern) -> str:
    kind = "word" if token == ONE_WORD else "words"
    while (name := f"{kind}_{numbers[token]}") in pattern.capture_names:
        numbers[token] += 1
    return name

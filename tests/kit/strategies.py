"""Keys and patterns for the property tests, and the naive reading of a pattern that they are compared with.

The alphabet is small on purpose, so that words collide: two words, the empty one, and the wildcards.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

from hypothesis import strategies as st

Words = tuple[str, ...]

WORDS = ("a", "b", "")
FRESH = "z"  # a word that no pattern of these strategies spells out


def is_key(words: Words) -> bool:
    """One empty word joins to the empty key, which has no words at all."""
    return words != ("",)


def words_of(key: str) -> Words:
    """What stands between the dots; the empty key has no words."""
    return () if key == "" else tuple(key.split("."))


@lru_cache(maxsize=200_000)
def accepts(tokens: Words, words: Words) -> bool:
    """The rule itself, word by word and without any cleverness."""
    if not tokens:
        return not words
    first, rest = tokens[0], tokens[1:]
    if first == "#":
        return any(accepts(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and accepts(rest, words[1:])


@lru_cache(maxsize=8)
def all_keys(longest: int) -> tuple[Words, ...]:
    """Every key of up to `longest` words of the alphabet and a fresh one."""
    alphabet = (*WORDS, FRESH)
    return tuple(words for length in range(longest + 1) for words in product(alphabet, repeat=length) if is_key(words))


def token_lists(longest: int = 4) -> st.SearchStrategy[Words]:
    """Patterns without captures, as tokens."""
    tokens = st.sampled_from(("a", "b", "", "*", "#", "*", "#"))
    return st.lists(tokens, max_size=longest).map(tuple).filter(is_key)


def keys(longest: int = 7) -> st.SearchStrategy[str]:
    """Routing keys."""
    words = st.lists(st.sampled_from((*WORDS, FRESH)), max_size=longest).map(tuple).filter(is_key)
    return words.map(".".join)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Patterns with captures: each wildcard may have a name of its own, and there is one ``#`` at most."""
    tokens = draw(token_lists(5).filter(lambda tokens: tokens.count("#") <= 1))
    words = []
    for number, token in enumerate(tokens):
        named = token in "*#" and token != "" and draw(st.booleans())
        words.append((f"{{w{number}:#}}" if token == "#" else f"{{w{number}}}") if named else token)
    return ".".join(words)

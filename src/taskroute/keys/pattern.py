"""RoutingPattern: one pattern over routing keys: parse, match, capture, format, compare.

>>> pattern = RoutingPattern("video.{action}")
>>> pattern.binding_key
'video.*'
>>> pattern.captures("video.upload")
{'action': 'upload'}
>>> pattern.format(action="upload")
'video.upload'
"""

from __future__ import annotations

import keyword
import re

from taskroute.errors import PatternError
from taskroute.exported import exported_by
from taskroute.keys.automaton import ANY_WORDS, ONE_WORD, Automaton, Tokens, find_words, is_subset, split_words
from taskroute.keys.short_string import check_key
from taskroute.suggestion import did_you_mean

_CAPTURE = re.compile(r"\{(\w+)(:#)?\}", re.ASCII)

Captures = dict[str, "str | tuple[str, ...]"]


@exported_by("taskroute")
class RoutingPattern:
    """A pattern over routing keys, as topic exchanges match them, with named captures.

    ``*`` is exactly one word, ``#`` zero or more, ``{name}`` captures one word as a str, ``{name:#}`` zero or
    more as a tuple of words. Dots separate words; the empty key has no words. A pattern with captures has at most
    one ``#``, so that captures are unique. Two patterns are equal when their templates are.

    Matching is linear in the words of the key, whatever the pattern. Immutable, so safe from any thread.

    Raises:
        PatternError: a wildcard glued to text, a bad or repeated capture name, control characters, more than
            255 bytes. The message says where.

    Example:
        >>> RoutingPattern("order.{id}.#").matches("order.7.paid.eu")
        True
    """

    __slots__ = ("_automaton", "_names", "template", "tokens")

    def __init__(self, template: str) -> None:
        check_key(template, "pattern", PatternError)
        self.template: str = template
        names: list[str | None] = []
        tokens: list[str] = []
        for word in split_words(template):
            token, name = _parse_word(word, template)
            tokens.append(token)
            names.append(name)
        self.tokens: Tokens = tuple(tokens)
        self._names = tuple(names)
        self._automaton = Automaton((self.tokens,))
        self._check_captures()

    @property
    def binding_key(self) -> str:
        """The key to bind a queue with, where captures are ``*`` or ``#``."""
        return ".".join(self.tokens)

    @property
    def capture_names(self) -> frozenset[str]:
        """The names that this pattern captures."""
        return frozenset(name for name in self._names if name is not None)

    def matches(self, key: str) -> bool:
        """Return whether a topic exchange would route `key` through this pattern."""
        positions = self._automaton.start
        for word in split_words(key):
            positions = self._automaton.step(positions, word)
        return bool(positions & self._automaton.accepting)

    def captures(self, key: str) -> Captures | None:
        """Return the captured words by name, or None when the key does not match."""
        return self.extract(split_words(key)) if self.matches(key) else None

    def extract(self, words: Tokens) -> Captures:
        """Return the captured words of a key that is known to match, without matching it again."""
        if not any(self._names):
            return {}
        if ANY_WORDS not in self.tokens:
            return {name: word for name, word in zip(self._names, words, strict=True) if name is not None}
        before = self.tokens.index(ANY_WORDS)
        after = len(words) - (len(self.tokens) - before - 1)
        pieces: list[str | tuple[str, ...]] = [*words[:before], words[before:after], *words[after:]]
        return {name: piece for name, piece in zip(self._names, pieces, strict=True) if name is not None}

    def format(self, /, **captures: str | int | tuple[str, ...] | list[str]) -> str:
        """Return the routing key with these captures: the inverse of `captures`.

        Raises:
            PatternError: a missing or unknown name, a word with a dot or a wildcard, a wildcard without a name.

        Example:
            >>> RoutingPattern("log.{path:#}").format(path=("eu", "web"))
            'log.eu.web'
        """
        if captures.keys() != self.capture_names:
            near = [did_you_mean(name, self.capture_names) for name in captures if name not in self.capture_names]
            hint = f"; {near[0]}" if near and near[0] else ""
            raise PatternError(
                f"{self!r} captures {sorted(self.capture_names)}, but format() was given {sorted(captures)}{hint}"
            )
        words: list[str] = []
        for token, name in zip(self.tokens, self._names, strict=True):
            if name is not None:
                words += self._words_of(name, token, captures[name])
            elif token in (ONE_WORD, ANY_WORDS):
                raise PatternError(f"{self!r} has a {token!r} without a name: write {{name}} to format a key from it")
            else:
                words.append(token)
        return self._checked(words)

    def overlap(self, other: RoutingPattern) -> str | None:
        """Return a key that both patterns match, or None when there is none."""
        words = find_words((self.tokens, other.tokens))
        return None if words is None else ".".join(words)

    def is_subset(self, other: RoutingPattern) -> bool:
        """Return whether `other` matches every key that this pattern matches."""
        return is_subset(self.tokens, other._automaton)

    def __eq__(self, other: object) -> bool:
        return self.template == other.template if isinstance(other, RoutingPattern) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.template)

    def __repr__(self) -> str:
        return f"RoutingPattern({self.template!r})"

    def __str__(self) -> str:
        return self.template

    def _check_captures(self) -> None:
        named = [name for name in self._names if name is not None]
        repeated = sorted({name for name in named if named.count(name) > 1})
        if repeated:
            raise PatternError(f"{self!r} captures {', '.join(repeated)} more than once: give each its own name")
        if named and self.tokens.count(ANY_WORDS) > 1:
            raise PatternError(
                f"{self!r} has captures and more than one '#', so a capture would not be unique: keep one '#'"
            )

    def _words_of(self, name: str, token: str, value: object) -> list[str]:
        if token == ONE_WORD:
            return [self._word(name, value)]
        if not isinstance(value, tuple | list):
            raise PatternError(f"{self!r}: {name} takes a tuple of words, not {type(value).__name__}")
        return [self._word(name, word) for word in value]

    def _word(self, name: str, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise PatternError(f"{self!r}: {name} takes a word (str or int), not {type(value).__name__}")
        word = str(value)
        if any(mark in word for mark in ".*#"):
            raise PatternError(f"{self!r}: {name}={word!r} is not one word: no '.', '*' or '#' in it")
        return word

    def _checked(self, words: list[str]) -> str:
        key = ".".join(words)
        check_key(key, "routing key", PatternError)
        if words == [""]:
            raise PatternError(f"{self!r} cannot give one empty word alone: the empty key has no words")
        return key


def _parse_word(word: str, template: str) -> tuple[str, str | None]:
    """Return token and capture name: ``"{path:#}"`` -> ``("#", "path")``, ``"video"`` -> ``("video", None)``."""
    capture = _CAPTURE.fullmatch(word)
    if capture:
        name = capture[1]
        if not name.isidentifier() or keyword.iskeyword(name):
            raise PatternError(f"{template!r}: {name!r} cannot be the name of a capture: it is not a Python identifier")
        return (ANY_WORDS if capture[2] else ONE_WORD), name
    if word in (ONE_WORD, ANY_WORDS):
        return word, None
    if "{" in word or "}" in word:
        raise PatternError(f"{template!r}: {word!r} is not a capture; write a whole word as {{name}} or {{name:#}}")
    if ONE_WORD in word or ANY_WORDS in word:
        raise PatternError(
            f"{template!r}: the wildcard in {word!r} is glued to text, which a broker takes literally; "
            f"a wildcard stands alone between dots"
        )
    return word, None

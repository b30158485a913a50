"""Matcher: among many binding keys, find those that match a key and those that share a key with a pattern.

A trie over words. Reading a key costs the nodes that its words can reach, whatever the number of binding keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from taskroute.keys.automaton import ANY_WORDS, ONE_WORD, Tokens, normalize, split_words

T = TypeVar("T")


class _Node(Generic[T]):
    __slots__ = ("any_words", "literals", "loops", "one_word", "values")

    def __init__(self, *, loops: bool = False) -> None:
        self.literals: dict[str, _Node[T]] = {}
        self.one_word: _Node[T] | None = None
        self.any_words: _Node[T] | None = None
        self.loops = loops  # behind a "#": stays here on any word
        self.values: dict[T, None] = {}

    def child(self, token: str) -> _Node[T] | None:
        if token == ANY_WORDS:
            return self.any_words
        return self.one_word if token == ONE_WORD else self.literals.get(token)

    def grow(self, token: str) -> _Node[T]:
        child = self.child(token)
        if child is None:
            child = _Node(loops=token == ANY_WORDS)
            if token == ANY_WORDS:
                self.any_words = child
            elif token == ONE_WORD:
                self.one_word = child
            else:
                self.literals[token] = child
        return child

    def prune(self, token: str) -> None:
        if token == ANY_WORDS:
            self.any_words = None
        elif token == ONE_WORD:
            self.one_word = None
        else:
            del self.literals[token]

    def children(self) -> list[_Node[T]]:
        wild = [node for node in (self.one_word, self.any_words) if node is not None]
        return [*self.literals.values(), *wild]

    def is_empty(self) -> bool:
        return not (self.values or self.literals or self.one_word or self.any_words)


class Matcher(Generic[T]):
    """Values filed under binding keys; a key finds the values of every binding key that matches it.

    A value is filed under a binding key once, however often it is added. Not synchronized: build it and then read
    it from any thread, or hold a lock.

    Example:
        >>> matcher = Matcher[str]()
        >>> matcher.add("video.#", "videos")
        >>> matcher.add("*.upload", "uploads")
        >>> sorted(matcher.matches("video.upload"))
        ['uploads', 'videos']
    """

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, binding_key: str, value: T) -> None:
        """File `value` under `binding_key`. A wildcard glued to text (``a.b*``) is literal, as on the broker."""
        node = self._root
        for token in normalize(split_words(binding_key)):
            node = node.grow(token)
        node.values[value] = None

    def discard(self, binding_key: str, value: T) -> None:
        """Remove `value` from under `binding_key`, if it is there, and the nodes that no other value needs."""
        path = [self._root]
        tokens = normalize(split_words(binding_key))
        for token in tokens:
            child = path[-1].child(token)
            if child is None:
                return
            path.append(child)
        path[-1].values.pop(value, None)
        for parent, token, node in zip(path[-2::-1], tokens[::-1], path[:0:-1], strict=True):
            if not node.is_empty():
                return
            parent.prune(token)

    def matches(self, routing_key: str) -> list[T]:
        """Return the values of every binding key that matches, once per binding key, in no particular order."""
        active = [self._root]
        if self._root.any_words is not None:
            active.append(self._root.any_words)
        for word in split_words(routing_key):
            active = _advance(active, word)
        return [value for node in active for value in node.values]

    def overlapping(self, binding_key: str) -> list[T]:
        """Return the values of every binding key that shares at least one key with `binding_key`.

        May return more: ``#.`` and ``*`` share the sequence of one empty word, which cannot be written as a key.
        """
        tokens = normalize(split_words(binding_key))
        seen: set[tuple[int, int]] = set()
        found: list[T] = []
        pending: list[tuple[_Node[T], int]] = [(self._root, 0)]
        while pending:
            node, at = pending.pop()
            if (id(node), at) in seen:
                continue
            seen.add((id(node), at))
            if at == len(tokens):
                found += node.values
            pending += _both_read(node, tokens, at)
        return found


def _advance(active: list[_Node[T]], word: str) -> list[_Node[T]]:
    """Return the nodes that one more word reaches; a node behind a ``#`` is reached from itself and from its parent."""
    following: dict[_Node[T], None] = {}
    for node in active:
        if node.loops:
            following[node] = None
        for child in (node.literals.get(word), node.one_word):
            if child is not None:
                following[child] = None
                if child.any_words is not None:
                    following[child.any_words] = None
    return list(following)


def _both_read(node: _Node[T], tokens: Tokens, at: int) -> Iterable[tuple[_Node[T], int]]:
    """Yield the states reached when trie and pattern read one common word, or when one of them ends a ``#``."""
    if node.any_words is not None:
        yield node.any_words, at
    if at == len(tokens):
        return
    token = tokens[at]
    after = at if token == ANY_WORDS else at + 1
    if token == ANY_WORDS:
        yield node, at + 1
    if token in (ONE_WORD, ANY_WORDS):
        for child in node.children():
            if not child.loops:
                yield child, after
    else:
        for literal in (node.literals.get(token), node.one_word):
            if literal is not None:
                yield literal, after
    if node.loops:
        yield node, after

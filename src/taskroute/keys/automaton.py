"""The language of a binding key: which sequences of words it accepts, as a word automaton.

Every question that the library asks about patterns (does this key match, do two patterns share a key, is one
inside the other, is a set of them covered by another set) is answered here, on plain tuples of tokens.

A token is a literal word, ``*`` (exactly one word, an empty one too) or ``#`` (zero or more words). The rule is
RabbitMQ's: a key is split at its dots, and the empty key has no words. It follows that the sequence of one empty
word cannot be written as a key; see `_writable`.

The algebra is over keys of any length; the broker's limit of 255 bytes is not part of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

Tokens = tuple[str, ...]

ONE_WORD = "*"
ANY_WORDS = "#"


class BudgetExceededError(Exception):
    """A search needs more steps than its budget. Internal: `check` reports it as `undecided`."""


def split_words(key: str) -> Tokens:
    """Split a routing key or binding key into words: ``"a..b"`` -> ``("a", "", "b")``, ``""`` -> ``()``."""
    return tuple(key.split(".")) if key else ()


def normalize(tokens: Tokens) -> Tokens:
    """Rewrite each run of wildcards as its ``*`` followed by at most one ``#``; the language stays the same.

    >>> normalize(("#", "*", "#", "a"))
    ('*', '#', 'a')
    """
    result: list[str] = []
    pending = False  # a "#" of the current run of wildcards, not yet written
    for token in tokens:
        if token == ANY_WORDS:
            pending = True
            continue
        if pending and token != ONE_WORD:
            result.append(ANY_WORDS)
            pending = False
        result.append(token)
    if pending:
        result.append(ANY_WORDS)
    return tuple(result)


class Automaton:
    """Several patterns read at once, word by word. A set of positions is an integer with one bit for each position.

    A step costs a few integer operations, whatever the patterns are, so matching is linear in the words.
    """

    __slots__ = ("_any_words", "_literals", "_one_word", "_open_runs", "accepting", "start")

    def __init__(self, patterns: Iterable[Tokens]) -> None:
        self._literals: dict[str, int] = {}
        self._one_word = self._any_words = self._open_runs = self.accepting = 0
        start, bit = 0, 1
        for pattern in patterns:
            start |= bit
            run = 0  # the "*" directly before this token
            for token in normalize(pattern):
                if token == ANY_WORDS:
                    self._any_words |= bit
                    self._open_runs |= run | bit
                elif token == ONE_WORD:
                    self._one_word |= bit
                else:
                    self._literals[token] = self._literals.get(token, 0) | bit
                run = run | bit if token == ONE_WORD else 0
                bit <<= 1
            self.accepting |= bit
            bit <<= 1
        self.start = self._with_skips(start)

    def step(self, positions: int, word: str) -> int:
        """Return the positions after reading `word`."""
        movable = self._literals.get(word, 0) | self._one_word
        return self._with_skips(((positions & movable) << 1) | (positions & self._any_words))

    def step_over_any_words(self, positions: int) -> int:
        """Return the positions that any words leave alive: those in a run of wildcards that has a ``#``."""
        return self._with_skips(positions & self._open_runs)

    def step_fresh(self, positions: int) -> int:
        """Return the positions after reading a word that no pattern contains."""
        return self._with_skips(((positions & self._one_word) << 1) | (positions & self._any_words))

    def _with_skips(self, positions: int) -> int:
        # One pass is enough: after `normalize` no "#" follows a "#".
        return positions | ((positions & self._any_words) << 1)


def matches(tokens: Tokens, words: Iterable[str]) -> bool:
    """Return whether the pattern accepts these words."""
    automaton = Automaton((tokens,))
    positions = automaton.start
    for word in words:
        positions = automaton.step(positions, word)
    return bool(positions & automaton.accepting)


def is_subset(inner: Tokens, outer: Automaton) -> bool:
    """Return whether every key of the pattern `inner` is a key of `outer`, the automaton of one pattern.

    Linear in both. `outer` reads the tokens of `inner` as if they were words. A ``*`` of `inner` stands for a word
    that no pattern contains. Only a run of wildcards of `outer` that has a ``#`` can read a ``#`` of `inner`, wherever
    in the run its ``#`` is, since ``*.#`` and ``#.*`` are the same keys. This is complete, because there are more words
    than patterns can contain.
    """
    return all(_reads(outer, variant) for variant in _writable(normalize(inner)))


def canonical(tokens: Tokens) -> tuple[Tokens, ...]:
    """Return a value that is equal for two patterns exactly when they have the same keys."""
    return _writable(normalize(tokens))


def _reads(automaton: Automaton, tokens: Tokens) -> bool:
    positions = automaton.start
    for token in tokens:
        if token == ANY_WORDS:
            positions = automaton.step_over_any_words(positions)
        elif token == ONE_WORD:
            positions = automaton.step_fresh(positions)
        else:
            positions = automaton.step(positions, token)
    return bool(positions & automaton.accepting)


def find_words(inside: Sequence[Tokens], outside: Sequence[Tokens] = (), budget: int = 100_000) -> Tokens | None:
    """Return the words of a key that every pattern of `inside` accepts and none of `outside`, or None.

    A breadth-first search, so no other key has fewer words. A state is one position in each pattern of `inside` and
    the set of positions of `outside`. Of two states with equal positions, the one with the smaller `outside` set
    accepts whatever the other does, so only the smallest sets are kept (antichains).

    Raises:
        BudgetExceededError: more than `budget` states were expanded.
    """
    automaton = Automaton(outside)
    fresh = fresh_word(word for tokens in (*inside, *outside) for word in tokens)
    found = [
        words
        for variants in product(*(_writable(normalize(tokens)) for tokens in inside))
        if (words := _search(variants, automaton, fresh, budget)) is not None
    ]
    return min(found, key=len, default=None)


def fresh_word(taken: Iterable[str]) -> str:
    """Return a short word that is not among `taken`: ``x``, ``x1``, ``x2``, ..."""
    used = set(taken)
    word, number = "x", 0
    while word in used:
        number += 1
        word = f"x{number}"
    return word


_Positions = tuple[int, ...]


def _search(inside: tuple[Tokens, ...], outside: Automaton, fresh: str, budget: int) -> Tokens | None:
    smallest: dict[_Positions, list[int]] = {}
    ends = tuple(len(tokens) for tokens in inside)
    queue: deque[tuple[_Positions, int, Tokens]] = deque()
    expanded = 0

    def visit(positions: _Positions, reached: int, words: Tokens) -> None:
        for skipped in _skips(inside, positions):
            known = smallest.setdefault(skipped, [])
            if any(seen & reached == seen for seen in known):
                continue
            known[:] = [seen for seen in known if seen & reached != reached]
            known.append(reached)
            queue.append((skipped, reached, words))

    visit((0,) * len(inside), outside.start, ())
    while queue:
        positions, reached, words = queue.popleft()
        if positions == ends:
            if not reached & outside.accepting:
                return words
            continue
        expanded += 1
        if expanded > budget:
            raise BudgetExceededError
        step = _next_word(inside, positions)
        if step is not None:
            word, following = step
            word = fresh if word is None else word
            visit(following, outside.step(reached, word), (*words, word))
    return None


def _skips(inside: tuple[Tokens, ...], positions: _Positions) -> Iterator[_Positions]:
    """Return every choice of which ``#`` at the current positions have ended."""
    options: list[tuple[int, ...]] = [
        (at, at + 1) if at < len(tokens) and tokens[at] == ANY_WORDS else (at,)
        for tokens, at in zip(inside, positions, strict=True)
    ]
    results: list[_Positions] = [()]
    for option in options:
        results = [(*result, at) for result in results for at in option]
    return iter(results)


def _next_word(inside: tuple[Tokens, ...], positions: _Positions) -> tuple[str | None, _Positions] | None:
    """Return the one word worth trying from here and the positions it leads to, or None if no word leads on.

    The word is None where no pattern of `inside` requires a literal: a fresh word is then at least as good as any
    other, because it leaves the fewest positions of `outside` alive.
    """
    word: str | None = None
    following: list[int] = []
    for tokens, at in zip(inside, positions, strict=True):
        if at == len(tokens):
            return None
        token = tokens[at]
        if token not in (ONE_WORD, ANY_WORDS):
            if word is not None and word != token:
                return None
            word = token
        following.append(at if token == ANY_WORDS else at + 1)
    return word, tuple(following)


def _writable(tokens: Tokens) -> tuple[Tokens, ...]:
    """Return patterns that have together the keys of `tokens`, and do not lead to one empty word, which is no key.

    A search reads ``*`` as a fresh word, so only a pattern of one empty word and ``#`` leads there: ``#.`` becomes
    ``*.#.``, which reads at least one more word.
    """
    required = [token for token in tokens if token != ANY_WORDS]
    if required != [""]:
        return (tokens,)
    return tuple(
        normalize((*tokens[:at], ONE_WORD, *tokens[at:])) for at, token in enumerate(tokens) if token == ANY_WORDS
    )

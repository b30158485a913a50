"""Asked: what a handler asks of keys and headers besides its pattern, as the entries of two contracts say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, product
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from taskroute.graph.bodies.examples import examples
from taskroute.graph.contract.routing import Taker
from taskroute.graph.contract.shapes import Shape
from taskroute.graph.contract.types import type_of, validator_of
from taskroute.graph.reachability import Flow, literal
from taskroute.keys.automaton import split_words

_WORDS: Final = ("x", "1", "-1", "0", "0.5", "1000000", "true", "2001-02-03", "12345678-1234-4678-8234-567812345678")
_MOST_KEYS: Final = 2_000
_MOST_VALUES: Final = 50


class Problem(NamedTuple):
    """A message that was taken and is not any more."""

    key: str | None
    reason: str


def find_problem(before: Taker, now: Taker, flow: Flow, budget: int) -> Problem | None:
    """Return a message that one handler took and another one does not, because of its key or its headers.

    Raises:
        BudgetExceededError: too hard to decide.
    """
    key = flow.witness((), budget)
    if key is None:
        return None
    for reason in _header_problems(before, now):
        return Problem(key, reason)
    if not now.entry.captures:
        return None
    for other in _keys_like(key, before, now):
        if takes(before, other) and not takes(now, other) and flow.witness((literal(other),), budget) == other:
            return Problem(other, "a word of the key is not what it asks for")
    return None


def _header_problems(before: Taker, now: Taker) -> Iterator[str]:
    for name in sorted(set(now.entry.required) - set(before.entry.required)):
        yield f"it asks for the header {name!r}"
    for name, shape in now.entry.headers.items():
        known = before.entry.headers.get(name)
        if known is not None and known != shape and any(not _accepts(shape, value) for value in _values(known)):
            yield f"it does not read every value of the header {name!r} that it read"


def _values(shape: Shape) -> Iterator[Any]:
    reads = type_of(shape)
    for document in islice(examples(reads), _MOST_VALUES):
        yield from_json(document)


def _keys_like(key: str, before: Taker, now: Taker) -> Iterator[str]:
    """Yield keys that have other words, one or several of those that are captured."""
    words = split_words(key)
    others = list(dict.fromkeys([*_WORDS, *_constants(before), *_constants(now)]))
    captured = [at for at in range(len(words)) if _is_captured(words, at, before, now)][:3]
    for chosen in islice(product(others, repeat=len(captured)), _MOST_KEYS):
        changed = list(words)
        for at, word in zip(captured, chosen, strict=True):
            changed[at] = word
        yield ".".join(changed)


def _is_captured(words: tuple[str, ...], at: int, *takers: Taker) -> bool:
    """Return whether a word of a key belongs to a capture that a handler asks something of."""
    marked = (*words[:at], "\0", *words[at + 1 :])
    return any(
        "\0" in value
        for taker in takers
        for name, value in taker.pattern.extract(marked).items()
        if name in taker.entry.captures
    )


def _constants(taker: Taker) -> Iterable[str]:
    for shape in taker.entry.captures.values():
        for document in islice(examples(type_of(shape)), _MOST_VALUES):
            word = str(from_json(document))
            if word and not set(word) & set(".*#") and word.isprintable():
                yield word


def takes(taker: Taker, key: str) -> bool:
    """Return whether the words of a key are what a handler asks for."""
    captures = taker.pattern.captures(key)
    if captures is None:
        return False
    return all(_accepts(shape, captures[name]) for name, shape in taker.entry.captures.items() if name in captures)


def _accepts(shape: Shape, value: Any) -> bool:
    try:
        validator_of(type_of(shape)).validate_json(to_json(value))
    except ValidationError:
        return False
    return True

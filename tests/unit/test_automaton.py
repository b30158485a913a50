"""Word automata against the naive rule: matching, inclusion, and the search for a key inside and outside."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.strategies import Words, accepts, all_keys, is_key, keys, token_lists, words_of

from taskroute.keys.automaton import (
    Automaton,
    BudgetExceededError,
    canonical,
    find_words,
    fresh_word,
    is_subset,
    matches,
    normalize,
    split_words,
)


def keys_of(tokens: Words, longest: int) -> frozenset[Words]:
    return frozenset(words for words in all_keys(longest) if accepts(tokens, words))


@pytest.mark.parametrize(
    ("key", "words"),
    [("", ()), ("a", ("a",)), ("a.b", ("a", "b")), (".", ("", "")), ("a.", ("a", "")), ("a..b", ("a", "", "b"))],
)
def test_key_is_split_at_its_dots(key: str, words: Words) -> None:
    """The empty key has no words; a dot at an end of a key, or beside another dot, makes an empty word."""
    assert split_words(key) == words


@given(token_lists(), keys())
def test_pattern_matches_the_keys_of_the_naive_rule(tokens: Words, key: str) -> None:
    assert matches(tokens, words_of(key)) == accepts(tokens, words_of(key))


@given(token_lists(6))
def test_normalized_pattern_keeps_its_keys_and_repeats_no_hash(tokens: Words) -> None:
    """Of neighbouring wildcards, at most one is `#`, and it comes last."""
    normal = normalize(tokens)

    assert keys_of(normal, 4) == keys_of(tokens, 4)
    assert normalize(normal) == normal
    assert ("#", "#") not in set(pairwise(normal))
    assert ("#", "*") not in set(pairwise(normal))


@given(st.lists(token_lists(3), max_size=4), keys())
def test_automaton_of_patterns_accepts_the_union_of_their_keys(patterns: list[Words], key: str) -> None:
    automaton = Automaton(patterns)

    positions = automaton.start
    for word in words_of(key):
        positions = automaton.step(positions, word)

    assert bool(positions & automaton.accepting) == any(accepts(tokens, words_of(key)) for tokens in patterns)


@given(token_lists(), token_lists())
def test_is_subset_equals_inclusion_of_the_enumerated_keys(inner: Words, outer: Words) -> None:
    assert is_subset(inner, Automaton((outer,))) == (keys_of(inner, 5) <= keys_of(outer, 5))


@given(token_lists(5), token_lists(5))
def test_is_subset_agrees_with_find_words(inner: Words, outer: Words) -> None:
    """A pattern is a subset of another if and only if no key matches it alone."""
    assert is_subset(inner, Automaton((outer,))) == (find_words([inner], [outer]) is None)


@given(token_lists(), token_lists())
def test_canonical_forms_are_equal_exactly_for_equal_sets_of_keys(first: Words, second: Words) -> None:
    assert (canonical(first) == canonical(second)) == (keys_of(first, 5) == keys_of(second, 5))


def test_canonical_form_identifies_the_keys_of_every_short_pattern() -> None:
    """All patterns of up to three tokens: one form for one set of keys, and one set for one form."""
    by_form: dict[object, set[frozenset[Words]]] = {}
    by_keys: dict[frozenset[Words], set[object]] = {}

    for length in range(4):
        for tokens in filter(is_key, product(("a", "", "*", "#"), repeat=length)):
            by_form.setdefault(canonical(tokens), set()).add(keys_of(tokens, 4))
            by_keys.setdefault(keys_of(tokens, 4), set()).add(canonical(tokens))

    assert all(len(languages) == 1 for languages in by_form.values())
    assert all(len(forms) == 1 for forms in by_keys.values())


@given(st.lists(token_lists(3), min_size=1, max_size=3), st.lists(token_lists(3), max_size=4))
def test_find_words_returns_a_shortest_key_inside_and_outside(inside: list[Words], outside: list[Words]) -> None:
    """The key matches every inside pattern and no outside pattern; None means that there is no such key."""

    def fits(words: Words) -> bool:
        return all(accepts(tokens, words) for tokens in inside) and not any(
            accepts(tokens, words) for tokens in outside
        )

    found = find_words(inside, outside)
    shortest = min((len(words) for words in all_keys(4) if fits(words)), default=None)

    if found is None:
        assert shortest is None
    else:
        assert is_key(found)
        assert fits(found)
        assert shortest is None or len(found) == shortest


def test_find_words_invents_a_word_that_no_pattern_contains() -> None:
    assert find_words([("*",)], [("a",), ("x",), ("x1",)]) == ("x2",)


def test_find_words_excludes_the_union_of_the_outside_patterns() -> None:
    assert find_words([("#",)], [(), ("*",), ("*", "*", "#")]) is None
    assert find_words([("#",)], [(), ("*", "*", "#")]) == ("x",)


def test_find_words_beyond_its_budget_raises() -> None:
    inside, outside = [("#", "a", "#", "b", "#")], [("#", "b", "#", "a", "#")]

    assert find_words(inside, outside) == ("a", "b")

    with pytest.raises(BudgetExceededError):
        find_words(inside, outside, budget=1)


def test_fresh_word_differs_from_every_taken_word() -> None:
    assert fresh_word(["a"]) == "x"
    assert fresh_word(["x", "x1", "x3"]) == "x2"

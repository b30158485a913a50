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
def test_a_key_is_split_at_its_dots_and_the_empty_key_has_no_words(key: str, words: Words) -> None:
    assert split_words(key) == words


@given(token_lists(), keys())
def test_a_pattern_matches_what_the_naive_rule_accepts(tokens: Words, key: str) -> None:
    assert matches(tokens, words_of(key)) == accepts(tokens, words_of(key))


@given(token_lists(6))
def test_normalized_tokens_have_the_same_keys_and_no_wildcard_that_repeats(tokens: Words) -> None:
    normal = normalize(tokens)
    assert keys_of(normal, 4) == keys_of(tokens, 4)
    assert normalize(normal) == normal
    assert ("#", "#") not in set(pairwise(normal))
    assert ("#", "*") not in set(pairwise(normal))


@given(st.lists(token_lists(3), max_size=4), keys())
def test_an_automaton_of_several_patterns_accepts_what_any_of_them_does(patterns: list[Words], key: str) -> None:
    automaton = Automaton(patterns)
    positions = automaton.start
    for word in words_of(key):
        positions = automaton.step(positions, word)
    assert bool(positions & automaton.accepting) == any(accepts(tokens, words_of(key)) for tokens in patterns)


@given(token_lists(), token_lists())
def test_is_subset_is_inclusion_of_the_enumerated_keys(inner: Words, outer: Words) -> None:
    assert is_subset(inner, Automaton((outer,))) == (keys_of(inner, 5) <= keys_of(outer, 5))


@given(token_lists(5), token_lists(5))
def test_is_subset_says_that_nothing_is_inside_and_not_outside(inner: Words, outer: Words) -> None:
    assert is_subset(inner, Automaton((outer,))) == (find_words([inner], [outer]) is None)


@given(token_lists(), token_lists())
def test_canonical_forms_are_equal_for_equal_keys_and_only_for_those(first: Words, second: Words) -> None:
    assert (canonical(first) == canonical(second)) == (keys_of(first, 5) == keys_of(second, 5))


def test_no_two_of_all_short_patterns_share_a_canonical_form_with_different_keys() -> None:
    by_form: dict[object, set[frozenset[Words]]] = {}
    by_keys: dict[frozenset[Words], set[object]] = {}
    for length in range(4):
        for tokens in filter(is_key, product(("a", "", "*", "#"), repeat=length)):
            by_form.setdefault(canonical(tokens), set()).add(keys_of(tokens, 4))
            by_keys.setdefault(keys_of(tokens, 4), set()).add(canonical(tokens))
    assert all(len(languages) == 1 for languages in by_form.values())
    assert all(len(forms) == 1 for forms in by_keys.values())


@given(st.lists(token_lists(3), min_size=1, max_size=3), st.lists(token_lists(3), max_size=4))
def test_find_words_finds_a_shortest_key_inside_all_and_outside_all(inside: list[Words], outside: list[Words]) -> None:
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


def test_find_words_uses_a_word_that_nobody_spells_out() -> None:
    assert find_words([("*",)], [("a",), ("x",), ("x1",)]) == ("x2",)


def test_find_words_needs_all_of_a_union_to_cover() -> None:
    assert find_words([("#",)], [(), ("*",), ("*", "*", "#")]) is None
    assert find_words([("#",)], [(), ("*", "*", "#")]) == ("x",)


def test_find_words_gives_up_beyond_its_budget_and_says_so() -> None:
    inside, outside = [("#", "a", "#", "b", "#")], [("#", "b", "#", "a", "#")]
    assert find_words(inside, outside) == ("a", "b")
    with pytest.raises(BudgetExceededError):
        find_words(inside, outside, budget=1)


def test_a_fresh_word_is_none_of_those_taken() -> None:
    assert fresh_word(["a"]) == "x"
    assert fresh_word(["x", "x1", "x3"]) == "x2"

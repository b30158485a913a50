"""Matcher: finds what its patterns match one by one, and a value that was discarded leaves nothing."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from tests.kit.inside import trie_of
from tests.kit.strategies import accepts, all_keys, keys, token_lists, words_of

from taskroute.keys.matcher import Matcher

binding_keys = token_lists().map(".".join)


def filed(entries: list[tuple[str, int]]) -> Matcher[int]:
    matcher = Matcher[int]()
    for binding_key, value in entries:
        matcher.add(binding_key, value)
    return matcher


def expected(entries: set[tuple[str, int]], key: str) -> set[int]:
    return {value for binding_key, value in entries if accepts(words_of(binding_key), words_of(key))}


@given(st.lists(binding_keys, max_size=8), keys())
def test_key_finds_the_value_of_every_matching_pattern(patterns: list[str], key: str) -> None:
    entries = list(zip(patterns, range(len(patterns)), strict=True))

    assert Counter(filed(entries).matches(key)) == Counter(expected(set(entries), key))


@given(st.lists(token_lists(3).map(".".join), max_size=8), token_lists(3))  # keys of four words tell them apart
def test_overlapping_finds_every_pattern_that_shares_a_key(patterns: list[str], tokens: tuple[str, ...]) -> None:
    found = set(filed([(pattern, number) for number, pattern in enumerate(patterns)]).overlapping(".".join(tokens)))
    mine = [words for words in all_keys(4) if accepts(tokens, words)]

    for number, pattern in enumerate(patterns):
        shared = any(accepts(words_of(pattern), words) for words in mine)
        if shared:
            assert number in found
        elif number in found:  # only the sequence that no key can spell
            assert accepts(tokens, ("",))
            assert accepts(words_of(pattern), ("",))


def test_wildcard_glued_to_text_is_literal_as_on_the_broker() -> None:
    matcher = filed([("a.b*", 1), ("a.#b", 2), ("a.**", 3)])

    assert matcher.matches("a.bx") == []
    assert matcher.matches("a.b*") == [1]
    assert matcher.matches("a.**") == [3]


def test_value_is_found_once_for_each_binding_key() -> None:
    """The same value added again under one binding key does not count."""
    matcher = filed([("a", 1), ("a", 1), ("*", 1), ("#", 2)])

    assert Counter(matcher.matches("a")) == Counter([1, 1, 2])


def test_equivalent_binding_keys_are_one_entry() -> None:
    matcher = filed([("#.*", 1)])

    matcher.discard("*.#", 1)

    assert matcher.matches("a") == []


def test_discard_of_missing_entry_changes_nothing() -> None:
    matcher = filed([("a.b", 1)])

    for binding_key, value in [("a.b", 2), ("a", 1), ("a.b.c", 1), ("*", 1), ("", 1)]:
        matcher.discard(binding_key, value)

    assert matcher.matches("a.b") == [1]


class AddAndDiscard(RuleBasedStateMachine):
    """A matcher against a set of (binding key, value)."""

    used = Bundle("used")

    def __init__(self) -> None:
        super().__init__()
        self.matcher = Matcher[int]()
        self.entries: set[tuple[str, int]] = set()

    @rule(target=used, binding_key=binding_keys, value=st.integers(0, 2))
    def add(self, binding_key: str, value: int) -> tuple[str, int]:
        self.matcher.add(binding_key, value)
        self.discard_from_model(binding_key, value)
        self.entries.add((binding_key, value))
        return binding_key, value

    @rule(entry=used)
    def discard(self, entry: tuple[str, int]) -> None:
        self.matcher.discard(*entry)
        self.discard_from_model(*entry)

    @rule(binding_key=binding_keys, value=st.integers(0, 2))
    def discard_anything(self, binding_key: str, value: int) -> None:
        self.matcher.discard(binding_key, value)
        self.discard_from_model(binding_key, value)

    @rule(key=keys())
    def look_up(self, key: str) -> None:
        assert set(self.matcher.matches(key)) == expected(self.entries, key)

    @invariant()
    def equals_new_matcher_of_the_same_entries(self) -> None:
        assert trie_of(self.matcher) == trie_of(filed(sorted(self.entries)))

    def teardown(self) -> None:
        for entry in self.entries:
            self.matcher.discard(*entry)
        assert trie_of(self.matcher) == trie_of(filed([]))

    def discard_from_model(self, binding_key: str, value: int) -> None:
        """Discard every spelling of the same run of wildcards: a matcher keeps only one."""
        self.entries = {
            entry for entry in self.entries if (spelling(entry[0]), entry[1]) != (spelling(binding_key), value)
        }


def spelling(binding_key: str) -> list[str]:
    """Runs of wildcards sorted, each ``#`` once: ``#.*.#.a`` -> ``*.#.a``."""
    result: list[str] = []
    run: list[str] = []
    for token in (*words_of(binding_key), None):
        if token in ("*", "#"):
            run.append(token)
            continue
        result += ["*"] * run.count("*") + ["#"] * ("#" in run)
        run = []
        if token is not None:
            result.append(token)
    return result


AddAndDiscard.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestAddAndDiscard = AddAndDiscard.TestCase

"""RoutingPattern: what it accepts, matches, captures, formats and compares, and what it refuses."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.kit.strategies import Words, accepts, all_keys, keys, templates, token_lists, words_of
from tests.kit.vectors import PATTERN_EXAMPLES

from taskroute.errors import PatternError, TaskrouteError
from taskroute.keys.matcher import Matcher
from taskroute.keys.pattern import RoutingPattern
from taskroute.quoting import shorten


def patterns(longest: int = 4) -> st.SearchStrategy[RoutingPattern]:
    return token_lists(longest).map(lambda tokens: RoutingPattern(".".join(tokens)))


def count_steps(function: Callable[[], object]) -> int:
    """Count the calls of Python and C functions that `function` makes: its work, on any machine."""
    steps = 0

    def count(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal steps
        steps += event in ("call", "c_call")

    gc.disable()  # a collection in between would call the callbacks of gc, which would count
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    return steps


# --- matching ---


@given(token_lists(), keys())
@example((), "")
@example(("#",), "")
@example(("*",), "")
@example(("#", ""), "")
@example(("a", "#", "b"), "a.b")
def test_pattern_matches_what_the_naive_rule_accepts(tokens: Words, key: str) -> None:
    assert RoutingPattern(".".join(tokens)).matches(key) == accepts(tokens, words_of(key))


@pytest.mark.parametrize(("pattern", "taken", "refused"), PATTERN_EXAMPLES)
def test_pattern_matches_example_keys_and_no_others(pattern: str, taken: list[str], refused: list[str]) -> None:
    assert [key for key in taken if not RoutingPattern(pattern).matches(key)] == []
    assert [key for key in refused if RoutingPattern(pattern).matches(key)] == []


HARD = ".".join(["#.a"] * 20)
LONG_KEY = ".".join("a" * 128)


def test_long_key_has_the_maximum_length_and_matches() -> None:
    assert len(LONG_KEY.encode()) == 255
    assert RoutingPattern(HARD).matches(LONG_KEY)


@pytest.mark.parametrize("key", [LONG_KEY, LONG_KEY[:-1] + "b"], ids=["matching", "failing at the last word"])
def test_match_takes_few_steps_per_word_with_any_pattern(key: str) -> None:
    """The work grows with the words of the key, and does not depend on the pattern."""
    hard, easy = RoutingPattern(HARD), RoutingPattern("#")
    words = len(words_of(key))

    assert count_steps(lambda: hard.matches(key)) <= 4 * words + 10
    assert count_steps(lambda: hard.matches(key)) == count_steps(lambda: easy.matches(key))


def test_matcher_takes_few_steps_per_word_and_token() -> None:
    matcher = Matcher[int]()
    matcher.add(HARD, 1)
    tokens, words = 2 * 20, 128

    assert count_steps(lambda: matcher.matches(LONG_KEY)) <= 4 * tokens * words
    assert count_steps(lambda: matcher.matches(LONG_KEY)) <= 2.5 * count_steps(lambda: matcher.matches(LONG_KEY[:127]))


def test_patterns_that_cannot_match_add_no_steps() -> None:
    few, many = Matcher[int](), Matcher[int]()
    few.add("a.*", 1)
    many.add("a.*", 1)
    for number in range(500):
        many.add(f"b{number}.#", number)

    assert count_steps(lambda: many.matches("a.x")) == count_steps(lambda: few.matches("a.x"))


@pytest.mark.parametrize("outer", [HARD, HARD[:-1] + "b"], ids=["inside", "not inside"])
def test_is_subset_takes_few_steps_per_token(outer: str) -> None:
    inner, other = RoutingPattern(HARD), RoutingPattern(outer)
    assert count_steps(lambda: inner.is_subset(other)) <= 10 * 40

    longer = RoutingPattern(".".join(["#.a"] * 40))
    assert count_steps(lambda: longer.is_subset(other)) <= 2.1 * count_steps(lambda: inner.is_subset(other))


def test_overlap_of_two_hard_patterns_takes_bounded_steps() -> None:
    first, second = RoutingPattern(HARD), RoutingPattern(HARD.replace("a", "b"))
    states = (2 * 20 + 1) ** 2

    assert count_steps(lambda: first.overlap(second)) <= 40 * states


# --- captures and format ---


@given(templates(), keys())
def test_captures_of_a_matching_key_format_back_to_it(template: str, key: str) -> None:
    pattern = RoutingPattern(template)

    captures = pattern.captures(key)

    assert (captures is not None) == pattern.matches(key)
    if captures is not None:
        assert captures.keys() == pattern.capture_names
        anonymous = {"*", "#"} & set(words_of(template))
        if not anonymous:
            assert pattern.format(**captures) == key


@given(templates(), st.data())
def test_formatted_key_captures_the_values_it_was_made_from(template: str, data: st.DataObject) -> None:
    pattern = RoutingPattern(template)
    word = st.sampled_from(["a", "é", "", "x-1"])
    values: dict[str, Any] = {
        name: data.draw(st.lists(word, max_size=3).map(tuple) if f"{{{name}:#}}" in template else word)
        for name in sorted(pattern.capture_names)
    }

    try:
        key = pattern.format(**values)
    except PatternError as error:
        reason = str(error)
        assert "without a name" in reason or "one empty word alone" in reason
    else:
        assert pattern.captures(key) == values


def test_captures_are_one_word_or_a_tuple_of_words() -> None:
    pattern = RoutingPattern("{kind}.{path:#}.done")

    assert pattern.captures("job.a.b.done") == {"kind": "job", "path": ("a", "b")}
    assert pattern.captures("job.done") == {"kind": "job", "path": ()}
    assert pattern.captures("job") is None
    assert pattern.binding_key == "*.#.done"
    assert pattern.capture_names == {"kind", "path"}


def test_format_takes_words_numbers_and_sequences() -> None:
    assert RoutingPattern("order.{id}").format(id=7) == "order.7"
    assert RoutingPattern("log.{path:#}").format(path=["eu", "web"]) == "log.eu.web"
    assert RoutingPattern("log.{path:#}").format(path=()) == "log"
    assert RoutingPattern("plain").format() == "plain"
    assert RoutingPattern("").format() == ""


@pytest.mark.parametrize(
    ("template", "values", "says"),
    [
        ("a.{x}", {}, "format() was given []"),
        ("a.{x}", {"x": "1", "y": "2"}, "['x', 'y']"),
        ("a.{x}", {"x": "b.c"}, "not one word"),
        ("a.{x}", {"x": "*"}, "not one word"),
        ("a.{x}", {"x": "b#"}, "not one word"),
        ("a.{x}", {"x": None}, "not NoneType"),
        ("a.{x}", {"x": True}, "not bool"),
        ("a.{x}", {"x": 1.5}, "not float"),
        ("a.{x}", {"x": ("b",)}, "not tuple"),
        ("a.{x:#}", {"x": "b"}, "takes a tuple of words"),
        ("a.{x:#}", {"x": ("b", None)}, "not NoneType"),
        ("a.{x:#}", {"x": ("b.c",)}, "not one word"),
        ("a.*.{x}", {"x": "b"}, "'*' without a name"),
        ("a.#", {}, "'#' without a name"),
        ("{x}", {"x": ""}, "one empty word alone"),
        ("{x:#}", {"x": ("",)}, "one empty word alone"),
        ("{x}", {"x": "a\nb"}, "control character"),
        ("{x}", {"x": "\ud800"}, "cannot be encoded"),
        ("{x}", {"x": "é" * 128}, "256 bytes"),
    ],
)
def test_format_refuses_values_that_would_make_another_key(template: str, values: dict[str, str], says: str) -> None:
    with pytest.raises(PatternError) as caught:
        RoutingPattern(template).format(**values)

    assert says in str(caught.value)


# --- comparing ---


@given(patterns(3), patterns(3))
def test_overlap_is_a_key_of_both_patterns_or_none(first: RoutingPattern, second: RoutingPattern) -> None:
    """None means that no key matches both."""
    witness = first.overlap(second)

    if witness is None:
        assert not any(accepts(first.tokens, words) and accepts(second.tokens, words) for words in all_keys(5))
    else:
        assert accepts(first.tokens, words_of(witness))
        assert accepts(second.tokens, words_of(witness))
    assert (second.overlap(first) is None) == (witness is None)


@given(patterns(), patterns())
def test_is_subset_is_inclusion_of_keys(first: RoutingPattern, second: RoutingPattern) -> None:
    inside = all(accepts(second.tokens, words) for words in all_keys(5) if accepts(first.tokens, words))

    assert first.is_subset(second) == inside


def test_is_subset_ignores_captures() -> None:
    assert RoutingPattern("a.{x}").is_subset(RoutingPattern("a.*"))
    assert RoutingPattern("a.*").is_subset(RoutingPattern("a.{x}"))


def test_patterns_are_equal_when_their_templates_are() -> None:
    assert RoutingPattern("a.{x}") == RoutingPattern("a.{x}")
    assert len({RoutingPattern("a.{x}"), RoutingPattern("a.{x}")}) == 1
    assert RoutingPattern("a.{x}") != RoutingPattern("a.*")
    assert RoutingPattern("a") != "a"
    assert str(RoutingPattern("a.{x}")) == "a.{x}"
    assert repr(RoutingPattern("a.{x}")) == "RoutingPattern('a.{x}')"


# --- refusals ---


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("a.b*", "'b*' is glued to text"),
        ("a.*b", "'*b' is glued to text"),
        ("a.**", "'**' is glued to text"),
        ("##", "'##' is glued to text"),
        ("a.*#", "glued"),
        ("a.{}", "'{}' is not a capture"),
        ("a.{x", "'{x' is not a capture"),
        ("a.x}", "'x}' is not a capture"),
        ("a.v{x}", "'v{x}' is not a capture"),
        ("a.{x}{y}", "is not a capture"),
        ("a.{x:*}", "is not a capture"),
        ("a.{x:##}", "is not a capture"),
        ("a.{x y}", "is not a capture"),
        ("a.{ünïcode}", "is not a capture"),
        ("a.{1x}", "'1x' cannot be the name of a capture"),
        ("a.{class}", "'class' cannot be the name of a capture"),
        ("{x}.{x}", "captures x more than once"),
        ("{x}.{y}.{x:#}", "captures x more than once"),
        ("{x}.#.#", "keep one '#'"),
        ("{x:#}.a.{y:#}", "keep one '#'"),
        ("{x}.#.a.#", "keep one '#'"),
        ("a\n", "control character"),
        ("a.\x00", "control character"),
        ("a.\x7f", "control character"),
        ("a" * 256, "256 bytes; AMQP allows 255"),
        ("é" * 128, "256 bytes; AMQP allows 255"),
        ("a.\ud800", "cannot be encoded as UTF-8"),
        (5, "a pattern is a str, not int"),
        (None, "a pattern is a str, not NoneType"),
        (b"a", "a pattern is a str, not bytes"),
    ],
)
def test_invalid_pattern_is_refused_with_its_reason(template: str, says: str) -> None:
    with pytest.raises(PatternError) as caught:
        RoutingPattern(template)

    assert says in str(caught.value)


@pytest.mark.parametrize("template", ["a" * 255, "{x}.#", "#.#.*", "{x:#}", "a-b_c/d", "a.b c", "{_}", "\x80"])
def test_valid_template_is_a_pattern(template: str) -> None:
    assert str(RoutingPattern(template)) == template


@given(st.text(max_size=12) | st.text(alphabet=".*#{}:ab\n\ud800", max_size=8))
def test_any_text_is_a_pattern_or_raises_pattern_error(text: str) -> None:
    try:
        pattern = RoutingPattern(text)
    except TaskrouteError as error:
        assert type(error) is PatternError  # noqa: PT017 - either outcome is right
    else:
        assert RoutingPattern(pattern.binding_key).binding_key == pattern.binding_key


def test_shortened_text_is_short_and_on_one_line() -> None:
    """Errors show foreign text with it."""
    assert len(shorten("x" * 1000)) < 100
    assert "\n" not in shorten("a\nb")

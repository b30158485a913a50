"""Circuit: when a queue is left alone and when it is tried again."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskroute import CircuitBreaker, ConfigurationError
from taskroute.handling.circuit_breaker import Circuit, succeeded
from taskroute.message.outcome import Failed, Handled


def circuit(failures: int = 3) -> Circuit:
    return Circuit(CircuitBreaker(failures=failures, pause=1))


def handled(circuit: Circuit, *verdicts: bool | None) -> list[str | None]:
    """Messages that are handled one after the other."""
    changes: list[str | None] = []
    for verdict in verdicts:
        message = object()
        circuit.begin(message)
        changes.append(circuit.end(message, verdict))
    return changes


def test_so_many_failures_in_a_row_open_it() -> None:
    assert handled(circuit(3), False, False, True, False, False, False) == [None] * 5 + ["opened"]


def test_what_says_nothing_neither_counts_nor_breaks_the_row() -> None:
    assert handled(circuit(2), False, None, False) == [None, None, "opened"]


def test_while_it_is_open_nothing_counts() -> None:
    one = circuit(1)
    late = object()
    one.begin(late)
    assert handled(one, False) == ["opened"]
    assert one.end(late, True) is None
    assert (one.state, one.failures) == ("open", 1)


def test_the_one_that_is_let_through_decides() -> None:
    one = circuit(1)
    assert handled(one, False) == ["opened"]
    one.let_one_through()
    assert handled(one, False) == ["opened"]
    one.let_one_through()
    assert handled(one, None, True) == ["still_on_trial", "closed"]
    assert (one.state, one.failures) == ("closed", 0)


@pytest.mark.parametrize("verdict", [True, False, None])
def test_what_began_before_the_pause_decides_nothing(verdict: bool | None) -> None:
    one, late, trial = circuit(1), object(), object()
    one.begin(late)
    handled(one, False)
    one.let_one_through()
    one.begin(trial)
    assert one.end(late, verdict) is None
    assert one.end(trial, True) == "closed"


def test_a_handler_that_is_given_up_has_failed_once_however_it_ends() -> None:
    one, hung = circuit(2), object()
    one.begin(hung)
    assert one.end(hung, False) is None
    assert one.end(hung, False) is None
    assert one.failures == 1
    assert handled(one, False) == ["opened"]
    one.let_one_through()
    one.begin(hung)
    assert one.end(hung, False) == "opened"
    one.let_one_through()
    assert one.end(hung, True) is None
    assert handled(one, True) == ["closed"]


class Against(RuleBasedStateMachine):
    """The rules read aloud: who is running, who is on trial, how many have failed in a row."""

    @initialize(limit=st.integers(1, 4))
    def start(self, limit: int) -> None:
        self.limit, self.circuit = limit, circuit(limit)
        self.running: list[int] = []
        self.begun = self.row = 0
        self.state = "closed"
        self.trial: int | None = None
        self.spoken: set[int] = set()  # who have been given up, and so have said what they can

    @rule()
    def begin(self) -> None:
        self.begun += 1
        self.running.append(self.begun)
        self.circuit.begin(self.begun)
        if self.state == "half_open" and self.trial is None:
            self.trial = self.begun

    @precondition(lambda self: self.state == "open")
    @rule()
    def pause_is_over(self) -> None:
        self.circuit.let_one_through()
        self.state, self.trial = "half_open", None

    @precondition(lambda self: self.running)
    @rule(data=st.data(), verdict=st.sampled_from([True, False, None]))
    def end(self, data: st.DataObject, verdict: bool | None) -> None:
        message = data.draw(st.sampled_from(self.running))
        self.running.remove(message)
        expected = None if message in self.spoken else self.said(message, verdict)
        assert self.circuit.end(message, verdict) == expected

    @precondition(lambda self: set(self.running) - self.spoken)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(sorted(set(self.running) - self.spoken)))
        self.spoken.add(message)
        assert self.circuit.end(message, False) == self.said(message, False)

    def said(self, message: int, verdict: bool | None) -> str | None:
        on_trial = self.state == "half_open" and message == self.trial
        if self.state != "closed" and not on_trial:
            return None
        if verdict is None:
            self.trial = None
            return "still_on_trial" if on_trial else None
        self.row = 0 if verdict else self.row + 1
        if verdict:
            self.state = "closed"
            return "closed" if on_trial else None
        if on_trial or self.row == self.limit:
            self.state = "open"
            return "opened"
        return None

    @invariant()
    def both_are_in_one_state(self) -> None:
        assert (self.circuit.state, self.circuit.failures) == (self.state, self.row)


TestAgainst = Against.TestCase


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Handled("f"), True),
        (Failed("handler_error", ""), False),
        (Failed("handler_error", "", asked_for_retry=True), False),
        (Failed("handler_timeout", ""), False),
        *((Failed(reason, ""), None) for reason in ("rejected", "invalid_body", "no_handler", "too_large")),
    ],
)
def test_only_what_a_handler_did_counts(outcome: Any, verdict: bool | None) -> None:
    assert succeeded(outcome) is verdict


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, None, "3"])
def test_a_number_of_failures_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="failures"):
        CircuitBreaker(failures=wrong)


@pytest.mark.parametrize("wrong", [0, -1, True, None, math.inf, math.nan, "3"])
def test_a_pause_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="pause"):
        CircuitBreaker(pause=wrong)

"""Circuit: when a queue is paused, and when it is tried again."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskroute import CircuitBreaker, ConfigurationError
from taskroute.handling.circuit_breaker import Circuit, succeeded
from taskroute.message.outcome import Failed, Handled


def new_circuit(failures: int = 3) -> Circuit:
    return Circuit(CircuitBreaker(failures=failures, pause=1))


def handled(circuit: Circuit, *verdicts: bool | None) -> list[str | None]:
    """Messages that are handled one after the other."""
    changes: list[str | None] = []
    for verdict in verdicts:
        message = object()
        circuit.begin(message)
        changes.append(circuit.end(message, verdict))
    return changes


def test_failures_in_a_row_open_the_circuit() -> None:
    assert handled(new_circuit(3), False, False, True, False, False, False) == [None] * 5 + ["opened"]


def test_message_without_a_verdict_leaves_the_row_of_failures() -> None:
    assert handled(new_circuit(2), False, None, False) == [None, None, "opened"]


def test_open_circuit_counts_no_message() -> None:
    circuit = new_circuit(1)
    late = object()
    circuit.begin(late)

    assert handled(circuit, False) == ["opened"]
    assert circuit.end(late, True) is None
    assert (circuit.state, circuit.failures) == ("open", 1)


def test_trial_message_closes_or_reopens_the_circuit() -> None:
    circuit = new_circuit(1)
    assert handled(circuit, False) == ["opened"]

    circuit.let_one_through()
    assert handled(circuit, False) == ["opened"]

    circuit.let_one_through()
    assert handled(circuit, None, True) == ["still_on_trial", "closed"]
    assert (circuit.state, circuit.failures) == ("closed", 0)


@pytest.mark.parametrize("verdict", [True, False, None])
def test_message_begun_before_the_pause_decides_nothing(verdict: bool | None) -> None:
    circuit, late, trial = new_circuit(1), object(), object()
    circuit.begin(late)
    handled(circuit, False)
    circuit.let_one_through()
    circuit.begin(trial)

    assert circuit.end(late, verdict) is None
    assert circuit.end(trial, True) == "closed"


def test_handler_past_its_timeout_fails_once() -> None:
    """A handler that was given up has failed already: its late end counts no second time."""
    circuit, hung = new_circuit(2), object()
    circuit.begin(hung)

    assert circuit.end(hung, False) is None
    assert circuit.end(hung, False) is None
    assert circuit.failures == 1
    assert handled(circuit, False) == ["opened"]

    circuit.let_one_through()
    circuit.begin(hung)
    assert circuit.end(hung, False) == "opened"

    circuit.let_one_through()
    assert circuit.end(hung, True) is None
    assert handled(circuit, True) == ["closed"]


class CircuitAgainstModel(RuleBasedStateMachine):
    """Model of a circuit: which messages run, which one is on trial, and how many have failed in a row."""

    @initialize(limit=st.integers(1, 4))
    def start(self, limit: int) -> None:
        self.limit, self.circuit = limit, new_circuit(limit)
        self.running: list[int] = []
        self.begun = self.row = 0
        self.state = "closed"
        self.trial: int | None = None
        self.given_up: set[int] = set()  # their end counts no second time

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
        expected = None if message in self.given_up else self.expected_change(message, verdict)
        assert self.circuit.end(message, verdict) == expected

    @precondition(lambda self: set(self.running) - self.given_up)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        message = data.draw(st.sampled_from(sorted(set(self.running) - self.given_up)))
        self.given_up.add(message)
        assert self.circuit.end(message, False) == self.expected_change(message, False)

    def expected_change(self, message: int, verdict: bool | None) -> str | None:
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


TestCircuitAgainstModel = CircuitAgainstModel.TestCase


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
def test_only_the_work_of_a_handler_has_a_verdict(outcome: Any, verdict: bool | None) -> None:
    assert succeeded(outcome) is verdict


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, None, "3"])
def test_circuit_breaker_with_invalid_failures_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="failures"):
        CircuitBreaker(failures=wrong)


@pytest.mark.parametrize("wrong", [0, -1, True, None, math.inf, math.nan, "3"])
def test_circuit_breaker_with_invalid_pause_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="pause"):
        CircuitBreaker(pause=wrong)

"""The public API, pinned: adding to it or taking from it is a decision, not an accident."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

import pytest

import taskroute
import taskroute.testing
from taskroute.topology import exchange, queue_rules, routing

PUBLIC = (
    "AmbiguousHandlerError",
    "Backlog",
    "BindingSpec",
    "BrokerError",
    "BrokerFacts",
    "BrokerUnavailableError",
    "BrokerUrlError",
    "CallNext",
    "CircuitBreaker",
    "ClosedError",
    "ConfigurationError",
    "Contract",
    "DeadLetters",
    "DefinitionError",
    "Depends",
    "Difference",
    "DuplicateHandlerError",
    "Event",
    "EventOptions",
    "EventSpec",
    "ExchangeSpec",
    "Explanation",
    "Finding",
    "FoundLetters",
    "Handler",
    "HandlerMatch",
    "HandlerRegistry",
    "HandlerSignatureError",
    "Header",
    "Health",
    "LeftLetter",
    "Letter",
    "LookedInto",
    "Message",
    "MessageInvalidError",
    "MessageTooLargeError",
    "Middleware",
    "PatternError",
    "Prospect",
    "PublishError",
    "PublishOptions",
    "PublishRejectedError",
    "PublishTimeoutError",
    "Publisher",
    "PublisherOptions",
    "QueueSpec",
    "Receipt",
    "Reject",
    "Resource",
    "Retry",
    "RetryPolicy",
    "Routes",
    "RoutingPattern",
    "RunningService",
    "Service",
    "SettledLetters",
    "ShutdownTimeoutError",
    "Stats",
    "TaskrouteError",
    "Topology",
    "TopologyError",
    "TopologyMismatchError",
    "UnknownExchangeError",
    "UnknownQueueError",
    "UnroutableError",
    "UnsupportedFeatureError",
    "WhichLetters",
    "Worker",
    "WorkerOptions",
    "__version__",
)


def test_public_names_are_exactly_these() -> None:
    assert sorted(taskroute.__all__) == sorted(PUBLIC)


def test_public_names_exist_and_include_every_error() -> None:
    assert [name for name in PUBLIC if not hasattr(taskroute, name)] == []
    from taskroute import errors

    ours = {name for name in vars(errors) if name.endswith("Error")}
    assert ours - set(PUBLIC) == set()


def test_public_names_of_testing_are_exactly_these() -> None:
    assert taskroute.testing.__all__ == ["Call", "Harness"]


def test_public_class_has_a_docstring() -> None:
    classes = {name: getattr(taskroute, name) for name in PUBLIC if name != "__version__"}
    classes |= {name: getattr(taskroute.testing, name) for name in taskroute.testing.__all__}

    assert [name for name, thing in classes.items() if not thing.__doc__] == []


@pytest.mark.parametrize(
    ("spec", "choices"),
    [
        (taskroute.QueueSpec, [queue_rules.QueueType, queue_rules.Overflow]),
        (taskroute.ExchangeSpec, [routing.ExchangeType]),
        (taskroute.BindingSpec, [exchange.Match]),
    ],
)
def test_docstring_of_a_spec_lists_every_choice_of_its_fields(spec: type, choices: list[Any]) -> None:
    values = {value for choice in choices for value in get_args(choice)}

    assert values - set(re.findall(r"``([\w-]+)``", inspect.getdoc(spec) or "")) == set()


@pytest.mark.parametrize(
    ("function", "shape"),
    [(taskroute.Middleware, "(message, call_next)"), (taskroute.CallNext, "call_next(message)")],
)
def test_docstring_of_a_callable_type_starts_with_its_call(function: type, shape: str) -> None:
    assert shape in (inspect.getdoc(function) or "").splitlines()[0]


def test_version_is_well_formed() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", taskroute.__version__)

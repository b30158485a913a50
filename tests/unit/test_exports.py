"""The public API, pinned: adding to it or taking from it is a decision, not an accident."""

from __future__ import annotations

import re

import taskroute
import taskroute.testing

PUBLIC = (
    "AmbiguousHandlerError",
    "BindingSpec",
    "BrokerError",
    "BrokerUnavailableError",
    "BrokerUrlError",
    "CallNext",
    "CircuitBreaker",
    "ClosedError",
    "ConfigurationError",
    "DefinitionError",
    "Depends",
    "DuplicateHandlerError",
    "Event",
    "EventOptions",
    "EventSpec",
    "ExchangeSpec",
    "Explanation",
    "Finding",
    "Handler",
    "HandlerMatch",
    "HandlerRegistry",
    "HandlerSignatureError",
    "Header",
    "Health",
    "Message",
    "MessageInvalidError",
    "MessageTooLargeError",
    "Middleware",
    "PatternError",
    "PublishError",
    "PublishOptions",
    "PublishRejectedError",
    "PublishTimeoutError",
    "Publisher",
    "QueueSpec",
    "Receipt",
    "Reject",
    "Retry",
    "RetryPolicy",
    "Routes",
    "RoutingPattern",
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
    "Worker",
    "__version__",
)


def test_these_names_are_public_and_no_others() -> None:
    assert sorted(taskroute.__all__) == sorted(PUBLIC)


def test_every_public_name_is_there_and_every_error_is_public() -> None:
    assert [name for name in PUBLIC if not hasattr(taskroute, name)] == []
    from taskroute import errors

    ours = {name for name in vars(errors) if name.endswith("Error")}
    assert ours - set(PUBLIC) == set()


def test_the_testing_kit_is_these_names() -> None:
    assert taskroute.testing.__all__ == ["Call", "DeadLetter", "Harness"]


def test_every_public_class_is_documented() -> None:
    classes = {name: getattr(taskroute, name) for name in PUBLIC if name != "__version__"}
    classes |= {name: getattr(taskroute.testing, name) for name in taskroute.testing.__all__}
    assert [name for name, thing in classes.items() if not thing.__doc__] == []


def test_the_version_is_one() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", taskroute.__version__)

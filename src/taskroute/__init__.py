"""taskroute: declare a topic-exchange topology, register handlers by routing-key pattern, publish with confirms.

The names here, and those of `taskroute.testing` and `taskroute.instrumentation`, are the public API, and for users of
kombu `Transport` and `drop` of `taskroute.broker.embedded.transport`; every other module is an implementation detail.

A name is loaded when it is first asked for, so that a program pays for what it uses.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskroute.broker.roles.backlog import Backlog
    from taskroute.broker.roles.submission import Receipt
    from taskroute.errors import (
        AmbiguousHandlerError,
        BrokerError,
        BrokerUnavailableError,
        BrokerUrlError,
        ClosedError,
        ConfigurationError,
        DefinitionError,
        DuplicateHandlerError,
        HandlerSignatureError,
        MessageInvalidError,
        MessageTooLargeError,
        PatternError,
        PublishError,
        PublishRejectedError,
        PublishTimeoutError,
        ShutdownTimeoutError,
        TaskrouteError,
        TopologyError,
        TopologyMismatchError,
        UnknownExchangeError,
        UnknownQueueError,
        UnroutableError,
        UnsupportedFeatureError,
    )
    from taskroute.graph.check.finding import Finding
    from taskroute.graph.contract.contract import Contract
    from taskroute.graph.contract.difference import Difference
    from taskroute.graph.explanation import Explanation
    from taskroute.graph.routes import Routes
    from taskroute.handlers.handler import Handler, HandlerMatch
    from taskroute.handlers.marks import Depends, Header, Resource
    from taskroute.handlers.middleware import CallNext, Middleware
    from taskroute.handlers.registry import HandlerRegistry
    from taskroute.handling.circuit_breaker import CircuitBreaker
    from taskroute.handling.health import Health
    from taskroute.keys.pattern import RoutingPattern
    from taskroute.message.message import Message
    from taskroute.message.outcome import Reject, Retry
    from taskroute.operate.dead_letters.dead_letters import DeadLetters
    from taskroute.operate.dead_letters.letter import Letter
    from taskroute.operate.dead_letters.rehearsal import Prospect
    from taskroute.operate.dead_letters.results import FoundLetters, LeftLetter, LookedInto, SettledLetters
    from taskroute.operate.dead_letters.which import WhichLetters
    from taskroute.publisher.options import EventOptions, PublisherOptions, PublishOptions
    from taskroute.publisher.publisher import Publisher
    from taskroute.service.running import RunningService
    from taskroute.service.service import Service
    from taskroute.topology.broker_facts import BrokerFacts
    from taskroute.topology.event_spec import Event, EventSpec
    from taskroute.topology.exchange import BindingSpec, ExchangeSpec
    from taskroute.topology.queue import QueueSpec
    from taskroute.topology.retry_policy import RetryPolicy
    from taskroute.topology.topology import Topology
    from taskroute.worker.options import WorkerOptions
    from taskroute.worker.stats import Stats
    from taskroute.worker.worker import Worker

__version__ = "0.1.0"

__all__ = [
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
]

_DEFINED_IN = {
    "broker.roles.backlog": ["Backlog"],
    "broker.roles.submission": ["Receipt"],
    "errors": [
        "AmbiguousHandlerError",
        "BrokerError",
        "BrokerUnavailableError",
        "BrokerUrlError",
        "ClosedError",
        "ConfigurationError",
        "DefinitionError",
        "DuplicateHandlerError",
        "HandlerSignatureError",
        "MessageInvalidError",
        "MessageTooLargeError",
        "PatternError",
        "PublishError",
        "PublishRejectedError",
        "PublishTimeoutError",
        "ShutdownTimeoutError",
        "TaskrouteError",
        "TopologyError",
        "TopologyMismatchError",
        "UnknownExchangeError",
        "UnknownQueueError",
        "UnroutableError",
        "UnsupportedFeatureError",
    ],
    "graph.check.finding": ["Finding"],
    "graph.contract.contract": ["Contract"],
    "graph.contract.difference": ["Difference"],
    "graph.explanation": ["Explanation"],
    "graph.routes": ["Routes"],
    "handlers.handler": ["Handler", "HandlerMatch"],
    "handlers.marks": ["Depends", "Header", "Resource"],
    "handlers.middleware": ["CallNext", "Middleware"],
    "handlers.registry": ["HandlerRegistry"],
    "handling.circuit_breaker": ["CircuitBreaker"],
    "handling.health": ["Health"],
    "keys.pattern": ["RoutingPattern"],
    "message.message": ["Message"],
    "message.outcome": ["Reject", "Retry"],
    "operate.dead_letters.dead_letters": ["DeadLetters"],
    "operate.dead_letters.letter": ["Letter"],
    "operate.dead_letters.rehearsal": ["Prospect"],
    "operate.dead_letters.results": ["FoundLetters", "LeftLetter", "LookedInto", "SettledLetters"],
    "operate.dead_letters.which": ["WhichLetters"],
    "publisher.options": ["EventOptions", "PublishOptions", "PublisherOptions"],
    "publisher.publisher": ["Publisher"],
    "service.running": ["RunningService"],
    "service.service": ["Service"],
    "topology.broker_facts": ["BrokerFacts"],
    "topology.event_spec": ["Event", "EventSpec"],
    "topology.exchange": ["BindingSpec", "ExchangeSpec"],
    "topology.queue": ["QueueSpec"],
    "topology.retry_policy": ["RetryPolicy"],
    "topology.topology": ["Topology"],
    "worker.options": ["WorkerOptions"],
    "worker.stats": ["Stats"],
    "worker.worker": ["Worker"],
}
"""The public names by the module that defines them: what the imports above say to a type checker."""

_HOMES = {name: module for module, names in _DEFINED_IN.items() for name in names}
_PACKAGES = ("instrumentation", "testing")


if not TYPE_CHECKING:  # a checker would take any name for one of this package

    def __getattr__(name: str) -> object:
        if name in _PACKAGES:
            return _import_module(f"taskroute.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(_import_module(f"taskroute.{_HOMES[name]}"), name)
        globals()[name] = value  # found without this function from now on
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_PACKAGES})

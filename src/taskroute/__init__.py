"""taskroute: declare a topic-exchange topology, register handlers by routing-key pattern, publish with confirms.

The names here, and those of `taskroute.testing` and `taskroute.instrumentation`, are the public API, and for users of
kombu `Transport` and `drop` of `taskroute.broker.embedded.transport`; every other module is an implementation detail.
"""

import logging as _logging

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
from taskroute.graph.explanation import Explanation
from taskroute.graph.routes import Routes
from taskroute.handlers.handler import Handler, HandlerMatch
from taskroute.handlers.marks import Depends, Header
from taskroute.handlers.middleware import CallNext, Middleware
from taskroute.handlers.registry import HandlerRegistry
from taskroute.handling.circuit_breaker import CircuitBreaker
from taskroute.handling.health import Health
from taskroute.keys.pattern import RoutingPattern
from taskroute.message.message import Message
from taskroute.message.outcome import Reject, Retry
from taskroute.publisher.options import EventOptions, PublishOptions
from taskroute.publisher.publisher import Publisher
from taskroute.topology.event_spec import Event, EventSpec
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy
from taskroute.topology.topology import Topology
from taskroute.worker.stats import Stats
from taskroute.worker.worker import Worker

__version__ = "0.1.0"

__all__ = [
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
]

_logging.getLogger(__name__).addHandler(_logging.NullHandler())

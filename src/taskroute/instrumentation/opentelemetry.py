"""OpenTelemetry: traces and metrics by its semantic conventions for messaging and RabbitMQ. Extra ``opentelemetry``.

The conventions are those of version 1.44, which are in development. Where they ask for a name of low cardinality (span
names, metrics), it is the name of a queue, an exchange or a handler.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import Final

from taskroute.instrumentation.events import (
    Counted,
    DeadLettered,
    Dropped,
    Event,
    Published,
    PublishFailed,
    Retried,
    Returned,
)
from taskroute.instrumentation.extras import extra
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.message.message import Message
from taskroute.raised import Raised

with extra("opentelemetry"):
    from opentelemetry import context, metrics, propagate, trace
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.propagators.textmap import Getter
    from opentelemetry.trace import Link, Span, SpanKind, StatusCode, TracerProvider

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"

_DEFAULT_EXCHANGE: Final = "amq.default"
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_NEVER_SENT: Final = frozenset(
    {"BrokerUnavailableError", "CancelledError", "ClosedError", "MessageInvalidError", "MessageTooLargeError"}
)
_OUTCOMES: Final[Mapping[type[Event], str]] = {
    Retried: "retried",
    DeadLettered: "dead_lettered",
    Dropped: "dropped",
}

_SPAN: Final = context.create_key("taskroute-process-span")

Attributes = dict[str, str | int]


class OpenTelemetryInstrumentation(Instrumentation):
    """Spans from `publish` to the handler in one trace, and the metrics of the conventions.

    The context of a trace travels in the headers of a message, written and read by the global propagator (W3C's
    ``traceparent`` unless configured otherwise). Retries keep the headers. The producer's span, ``publish EXCHANGE``,
    lasts until the confirm. The consumer's, ``process QUEUE``, is its child, links to it, and is the current span while
    the handler runs. A failure has the class of its error, and an event ``exception`` with what the worker's `errors`
    lets be told of it; text and traceback may quote the message.

    Spans end on threads that read from the broker: use a processor that exports in the background, such as
    ``BatchSpanProcessor``.

    Args:
        tracer_provider: left out, the global one.
        meter_provider: left out, the global one.

    Example:
        >>> instrumentation = OpenTelemetryInstrumentation()
        >>> worker = Worker(url, topology, registry, instrumentation=[instrumentation])
        >>> publisher = Publisher(url, topology, instrumentation=[instrumentation])
    """

    def __init__(
        self, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        release = version("taskroute")
        self._tracer = trace.get_tracer("taskroute", release, tracer_provider, SCHEMA_URL)
        meter = metrics.get_meter("taskroute", release, meter_provider, SCHEMA_URL)
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Messages that the producer attempted to send to the broker."
        )
        self._operation = meter.create_histogram(
            "messaging.client.operation.duration",
            "s",
            "Duration of publishing, until the confirm.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._consumed = meter.create_counter(
            "messaging.client.consumed.messages", "{message}", "Messages that were given to a handler."
        )
        self._process = meter.create_histogram(
            "messaging.process.duration",
            "s",
            "Duration of one run of a handler.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._failed = meter.create_counter(
            "taskroute.messages.failed", "{message}", "Messages that were not handled, and what became of them."
        )
        self._backlogs = _Backlogs()
        meter.create_observable_gauge(
            "taskroute.queue.messages.ready",
            [self._backlogs.observe],
            "{message}",
            "Messages ready in a queue that is consumed, at the last heartbeat.",
        )
        self._publishing = _Open()

    def publishing(self, exchange: str, routing_key: str, message_id: str) -> Mapping[str, object]:
        """Start the producer's span, and return the headers that carry its context."""
        span = self._tracer.start_span(
            f"publish {_template(exchange)}",
            kind=SpanKind.PRODUCER,
            attributes=_publishing(exchange)
            | _of_message(routing_key, message_id)
            | {"messaging.destination.name": _joined(exchange, routing_key)},
        )
        if span.is_recording():
            self._publishing.add((exchange, routing_key, message_id), span)
        headers: dict[str, object] = {}
        propagate.inject(headers, trace.set_span_in_context(span))
        return headers

    @contextmanager
    def handling(self, message: Message, handler: str) -> Iterator[None]:
        """Make the consumer's span the current one."""
        of_metrics = _processing(message.queue) | {"taskroute.handler": handler}
        parent = propagate.extract(message.headers, getter=_HEADERS)
        creation = trace.get_current_span(parent).get_span_context()
        span = self._tracer.start_span(
            f"process {message.queue}",
            parent,
            SpanKind.CONSUMER,
            of_metrics | _of_delivery(message),
            [Link(creation)] if creation.is_valid else None,
        )
        self._consumed.add(1, of_metrics)
        token = context.attach(context.set_value(_SPAN, span, trace.set_span_in_context(span, parent)))
        began = time.perf_counter()
        try:
            yield
        except BaseException as error:  # exits and cancellation too
            of_metrics["error.type"] = _fail(span, _class_of(error))
            raise
        finally:
            self._process.record(time.perf_counter() - began, of_metrics)
            context.detach(token)
            span.end()

    def on_error(self, raised: Raised) -> None:
        """Add the exception to the consumer's span."""
        told = {
            "exception.type": raised.kind,
            "exception.message": raised.text,
            "exception.stacktrace": raised.traceback,
            "taskroute.place": raised.place,
        }
        span = context.get_value(_SPAN)  # of ours: a handler may have left its own as the current one
        if isinstance(span, Span):
            span.add_event("exception", {name: _utf8(text) for name, text in told.items() if text})

    def on_event(self, event: Event) -> None:
        """End the producer's span, and count the event."""
        match event:
            case Published():
                self._end(event, None)
            case Returned():
                self._end(event, "UnroutableError")
            case PublishFailed():
                self._end(event, event.error)
            case Retried() | DeadLettered() | Dropped():
                attributes = _processing(event.queue) | {
                    "taskroute.outcome": _OUTCOMES[type(event)],
                    "taskroute.reason": event.reason,
                }
                self._failed.add(1, attributes)
            case Counted():
                self._backlogs.set(event.queue, event.ready)

    def _end(self, event: Published | Returned | PublishFailed, error: str | None) -> None:
        span = self._publishing.take((event.exchange, event.routing_key, event.message_id))
        attributes = _publishing(event.exchange)
        if error is not None:
            attributes["error.type"] = _fail(span, error)
        span.end()
        self._operation.record(event.seconds, attributes)
        if error not in _NEVER_SENT:
            self._sent.add(1, attributes)


class _Kept:
    """What is kept under a lock. Any thread may call it.

    A fork begins without any: a thread of the parent may hold the lock at that moment, and workers and publishers of
    the child may have the same instrumentation.
    """

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=partial(_forget_in_child, weakref.ref(self)))

    def forget(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()


def _forget_in_child(reference: weakref.ref[_Kept]) -> None:
    kept = reference()
    if kept is not None:
        kept.forget()


class _Open(_Kept):
    """Spans of messages that have no outcome yet. Two messages may have the same key."""

    def forget(self) -> None:
        """Begin without any."""
        super().forget()
        self._spans: dict[tuple[str, str, str], deque[Span]] = {}

    def add(self, message: tuple[str, str, str], span: Span) -> None:
        with self._lock:
            self._spans.setdefault(message, deque()).append(span)

    def take(self, message: tuple[str, str, str]) -> Span:
        """Remove and return the oldest span of a message; a span that records nothing if it was not sampled."""
        with self._lock:
            spans = self._spans.get(message)
            if not spans:
                return trace.INVALID_SPAN
            span = spans.popleft()
            if not spans:
                del self._spans[message]
            return span


class _Backlogs(_Kept):
    """How many messages are ready, by queue, for whoever reads the metrics next."""

    def forget(self) -> None:
        """Begin without any."""
        super().forget()
        self._ready: dict[str, int] = {}

    def set(self, queue: str, ready: int | None) -> None:
        with self._lock:
            if ready is None:
                self._ready.pop(queue, None)
            else:
                self._ready[queue] = ready

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:  # noqa: ARG002 - as the API calls it
        """Return what is known, on the thread that reads the metrics."""
        with self._lock:
            ready = dict(self._ready)
        return [Observation(count, _counting(queue)) for queue, count in ready.items()]


class _Headers(Getter[Mapping[str, object]]):
    """Reads the headers of a message, whose values may have any type."""

    def get(self, carrier: Mapping[str, object], key: str) -> list[str] | None:
        value = carrier.get(key)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        return [value] if isinstance(value, str) else None

    def keys(self, carrier: Mapping[str, object]) -> list[str]:
        return list(carrier)


_HEADERS: Final = _Headers()


def _publishing(exchange: str) -> Attributes:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.template": _template(exchange),
    }


def _processing(queue: str) -> Attributes:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.template": queue,
    }


def _counting(queue: str) -> Attributes:
    return {"messaging.system": "rabbitmq", "messaging.destination.template": queue}


def _of_message(routing_key: str, message_id: str | None) -> Attributes:
    attributes: Attributes = {}
    if routing_key:
        attributes["messaging.rabbitmq.destination.routing_key"] = routing_key
    if message_id:
        attributes["messaging.message.id"] = message_id
    return attributes


def _of_delivery(message: Message) -> Attributes:
    queue = "" if message.queue == message.routing_key else message.queue
    attributes = _of_message(message.routing_key, message.message_id) | {
        "messaging.destination.name": _joined(message.exchange, message.routing_key, queue),
        "taskroute.attempt": message.attempt,
    }
    if message.correlation_id:
        attributes["messaging.message.conversation_id"] = message.correlation_id
    return attributes


def _template(exchange: str) -> str:
    return exchange or _DEFAULT_EXCHANGE


def _joined(*names: str) -> str:
    return ":".join(filter(None, names)) or _DEFAULT_EXCHANGE


def _utf8(text: str) -> str:
    """Return a text that every exporter can encode."""
    return text.encode(errors="backslashreplace").decode()


def _class_of(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _fail(span: Span, error_type: str) -> str:
    span.set_attribute("error.type", error_type)
    span.set_status(StatusCode.ERROR)
    return error_type

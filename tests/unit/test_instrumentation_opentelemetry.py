"""OpenTelemetry: spans and metrics by the conventions, read from the SDK's in-memory exporter and reader."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode
from tests.kit.fork import run_in_fork
from tests.kit.inside import open_spans, spans_locked

from taskroute import Message, Reject
from taskroute.instrumentation import Counted, Dropped, Published, PublishFailed, Retried, Returned
from taskroute.instrumentation.opentelemetry import OpenTelemetryInstrumentation

KEY = ("media", "video.upload", "m-1")


@dataclass
class Seen:
    """An instrumentation, and the spans and metrics that it has made."""

    sampler: Sampler = ALWAYS_ON
    exporter: InMemorySpanExporter = field(default_factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(default_factory=InMemoryMetricReader)

    def __post_init__(self) -> None:
        self.tracers = TracerProvider(sampler=self.sampler, shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.instrumentation = OpenTelemetryInstrumentation(self.tracers, self.meters)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    seen.tracers.shutdown()
    seen.meters.shutdown()


def message_with(headers: Mapping[str, object], **fields: Any) -> Message:
    known: dict[str, Any] = {
        "body": b"secret",
        "queue": "video",
        "exchange": "media",
        "routing_key": "video.upload",
        "message_id": "m-1",
    }
    return Message(headers=headers, **known | fields)


def published(*message: str, seconds: float = 0.25) -> Published:
    exchange, routing_key, message_id = message
    return Published(exchange=exchange, routing_key=routing_key, message_id=message_id, seconds=seconds)


# --- publishing ---


def test_producer_span_lasts_until_the_confirm(seen: Seen) -> None:
    seen.instrumentation.publishing(*KEY)
    assert not seen.spans

    seen.instrumentation.on_event(published(*KEY))
    (span,) = seen.spans
    assert (span.name, span.kind, span.status.status_code) == ("publish media", SpanKind.PRODUCER, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.name": "media:video.upload",
        "messaging.destination.template": "media",
        "messaging.rabbitmq.destination.routing_key": "video.upload",
        "messaging.message.id": "m-1",
    }


def test_producer_context_travels_in_the_headers(seen: Seen) -> None:
    headers = seen.instrumentation.publishing(*KEY)
    seen.instrumentation.on_event(published(*KEY))

    (span,) = seen.spans
    assert span.context is not None
    assert headers.keys() == {"traceparent"}

    carried = trace.get_current_span(propagate.extract(headers)).get_span_context()
    assert (carried.trace_id, carried.span_id) == (span.context.trace_id, span.context.span_id)
    assert carried.trace_flags.sampled


def test_producer_span_is_a_child_of_the_callers_span(seen: Seen) -> None:
    tracer = seen.tracers.get_tracer("caller")

    with tracer.start_as_current_span("caller") as caller:
        seen.instrumentation.publishing(*KEY)
    seen.instrumentation.on_event(published(*KEY))

    span = seen.spans[-1]
    assert span.parent == caller.get_span_context()


@pytest.mark.parametrize(
    ("exchange", "routing_key", "template", "name"),
    [
        ("", "jobs", "amq.default", "jobs"),
        ("", "", "amq.default", "amq.default"),
        ("events", "", "events", "events"),
    ],
)
def test_publish_destination_omits_empty_exchange_or_key(
    seen: Seen, exchange: str, routing_key: str, template: str, name: str
) -> None:
    """The default exchange has no name: its destination is the routing key."""
    seen.instrumentation.publishing(exchange, routing_key, "m")
    seen.instrumentation.on_event(published(exchange, routing_key, "m"))

    (span,) = seen.spans
    attributes = span.attributes or {}
    assert span.name == f"publish {template}"
    assert attributes["messaging.destination.name"] == name
    assert attributes.get("messaging.rabbitmq.destination.routing_key", "") == routing_key


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (Returned(exchange="media", routing_key="video.upload", message_id="m-1", seconds=0.1), "UnroutableError"),
        (
            PublishFailed(
                exchange="media", routing_key="video.upload", message_id="m-1", seconds=0.1, error="PublishTimeoutError"
            ),
            "PublishTimeoutError",
        ),
    ],
)
def test_unaccepted_publish_has_its_error_in_span_and_metrics(
    seen: Seen, event: Returned | PublishFailed, error: str
) -> None:
    seen.instrumentation.publishing(*KEY)
    seen.instrumentation.on_event(event)

    (span,) = seen.spans
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == error

    (sent,) = seen.points("messaging.client.sent.messages")
    assert (sent.value, sent.attributes["error.type"]) == (1, error)

    (duration,) = seen.points("messaging.client.operation.duration")
    assert (duration.sum, duration.attributes["error.type"]) == (0.1, error)


@pytest.mark.parametrize(
    "error", ["BrokerUnavailableError", "MessageInvalidError", "MessageTooLargeError", "ClosedError"]
)
def test_publish_never_written_is_not_counted_as_sent(seen: Seen, error: str) -> None:
    """It has a span and a duration all the same."""
    seen.instrumentation.publishing(*KEY)
    seen.instrumentation.on_event(
        PublishFailed(exchange="media", routing_key="video.upload", message_id="m-1", seconds=0.1, error=error)
    )

    assert seen.points("messaging.client.sent.messages") == []
    assert len(seen.points("messaging.client.operation.duration")) == 1
    assert len(seen.spans) == 1


def test_publishes_with_equal_message_id_have_separate_spans(seen: Seen) -> None:
    """A message may be published again before its first confirm."""
    first = seen.instrumentation.publishing(*KEY)
    second = seen.instrumentation.publishing(*KEY)
    assert first != second

    seen.instrumentation.on_event(published(*KEY))
    seen.instrumentation.on_event(published(*KEY))
    assert len({span.context.span_id for span in seen.spans if span.context}) == 2
    assert open_spans(seen.instrumentation) == 0


def test_unsampled_publish_is_counted_and_carries_its_context() -> None:
    """Sampling leaves out its span, but neither its metrics nor the context that consumers continue."""
    seen = Seen(sampler=ALWAYS_OFF)

    headers = seen.instrumentation.publishing(*KEY)
    carried = trace.get_current_span(propagate.extract(headers)).get_span_context()
    assert carried.is_valid
    assert not carried.trace_flags.sampled
    assert open_spans(seen.instrumentation) == 0

    seen.instrumentation.on_event(published(*KEY))
    assert seen.spans == ()
    assert seen.points("messaging.client.sent.messages")[0].value == 1


def test_instrumentation_without_sdk_adds_no_header_and_runs() -> None:
    instrumentation = OpenTelemetryInstrumentation(trace.NoOpTracerProvider())

    assert instrumentation.publishing(*KEY) == {}
    instrumentation.on_event(published(*KEY))
    with instrumentation.handling(message_with({}), "app.transcode"):
        pass


def test_publish_metrics_have_few_attributes(seen: Seen) -> None:
    """Neither routing key nor message id is an attribute: their values have no end."""
    for number in range(3):
        seen.instrumentation.publishing("media", f"video.{number}", f"m-{number}")
        seen.instrumentation.on_event(published("media", f"video.{number}", f"m-{number}"))

    expected = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "publish",
        "messaging.operation.type": "send",
        "messaging.destination.template": "media",
    }
    (sent,) = seen.points("messaging.client.sent.messages")
    assert (sent.value, dict(sent.attributes)) == (3, expected)
    (duration,) = seen.points("messaging.client.operation.duration")
    assert (duration.count, duration.sum, dict(duration.attributes)) == (3, 0.75, expected)
    assert duration.explicit_bounds[0] == 0.005
    assert duration.explicit_bounds[-1] == 10


# --- handling ---


def test_consumer_span_is_a_child_of_producer_span_and_links_to_it(seen: Seen) -> None:
    """The handler runs inside its span, and afterwards the thread has no current span."""
    headers = seen.instrumentation.publishing(*KEY)
    seen.instrumentation.on_event(published(*KEY))

    with seen.instrumentation.handling(message_with(headers, attempt=2, correlation_id="c-1"), "app.transcode"):
        current = trace.get_current_span()

    producer, consumer = seen.spans
    assert consumer.context is not None
    assert producer.context is not None
    assert current.get_span_context() == consumer.context
    assert consumer.context.trace_id == producer.context.trace_id
    assert consumer.parent is not None
    assert consumer.parent.span_id == producer.context.span_id
    assert [link.context.span_id for link in consumer.links] == [producer.context.span_id]
    assert (consumer.name, consumer.kind, consumer.status.status_code) == (
        "process video",
        SpanKind.CONSUMER,
        StatusCode.UNSET,
    )
    assert dict(consumer.attributes or {}) == {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "media:video.upload:video",
        "messaging.destination.template": "video",
        "messaging.rabbitmq.destination.routing_key": "video.upload",
        "messaging.message.id": "m-1",
        "messaging.message.conversation_id": "c-1",
        "taskroute.handler": "app.transcode",
        "taskroute.attempt": 2,
    }
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    ("exchange", "routing_key", "name"),
    [("", "video", "video"), ("media", "video", "media:video"), ("", "a", "a:video")],
)
def test_consumer_destination_names_nothing_twice(seen: Seen, exchange: str, routing_key: str, name: str) -> None:
    """A queue that is also the routing key stands in the destination once."""
    with seen.instrumentation.handling(message_with({}, exchange=exchange, routing_key=routing_key), "h"):
        pass

    assert (seen.spans[0].attributes or {})["messaging.destination.name"] == name


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"traceparent": "nonsense"},
        {"traceparent": 7},
        {"traceparent": ["a", "b"]},
        {"traceparent": b"\xff\xfe", "tracestate": {"a": None}, "baggage": 1.5},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
    ],
)
def test_message_without_readable_context_begins_a_trace(seen: Seen, headers: Mapping[str, object]) -> None:
    """A header that holds no trace context, of any type, fails no message."""
    with seen.instrumentation.handling(message_with(headers), "h"):
        pass

    (span,) = seen.spans
    assert span.parent is None
    assert span.links == ()


def test_context_in_bytes_is_read(seen: Seen) -> None:
    headers = {"traceparent": b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"}

    with seen.instrumentation.handling(message_with(headers), "h"):
        pass

    assert seen.spans[0].parent is not None


def test_baggage_of_message_is_current_in_its_handler_only(seen: Seen) -> None:
    headers: dict[str, object] = {}
    propagate.inject(headers, baggage.set_baggage("tenant", "acme"))

    with seen.instrumentation.handling(message_with(headers), "h"):
        assert baggage.get_baggage("tenant") == "acme"

    assert baggage.get_baggage("tenant") is None


@pytest.mark.parametrize(
    ("error", "name"), [(ValueError("secret"), "ValueError"), (Reject("secret"), "taskroute.Reject")]
)
def test_handler_error_is_recorded_by_class_and_without_text(seen: Seen, error: Exception, name: str) -> None:
    """The text of an error may hold what a message says."""
    with pytest.raises(type(error)), seen.instrumentation.handling(message_with({}), "h"):
        raise error

    (span,) = seen.spans
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == name
    assert "secret" not in span.to_json()

    (duration,) = seen.points("messaging.process.duration")
    assert duration.attributes["error.type"] == name


def test_tasks_of_one_loop_have_separate_current_spans(seen: Seen) -> None:
    barrier = asyncio.Barrier(2)

    async def handle(number: int) -> None:
        with seen.instrumentation.handling(message_with({}, message_id=f"m-{number}"), "h"):
            await barrier.wait()
            with seen.tracers.get_tracer("inner").start_as_current_span(f"inner {number}"):
                await barrier.wait()

    async def main() -> None:
        await asyncio.gather(handle(1), handle(2))

    asyncio.run(main())

    by_id = {span.context.span_id: span for span in seen.spans if span.context}
    inner = [span for span in seen.spans if span.name.startswith("inner")]
    assert sorted(
        (span.name, (by_id[span.parent.span_id].attributes or {})["messaging.message.id"])
        for span in inner
        if span.parent
    ) == [("inner 1", "m-1"), ("inner 2", "m-2")]


def test_handling_metrics_have_few_attributes(seen: Seen) -> None:
    """Neither routing key nor message id is an attribute: their values have no end."""
    for number in range(3):
        message = message_with({}, routing_key=f"video.{number}", message_id=f"m-{number}")
        with seen.instrumentation.handling(message, "app.transcode"):
            pass

    expected = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.template": "video",
        "taskroute.handler": "app.transcode",
    }
    (consumed,) = seen.points("messaging.client.consumed.messages")
    assert (consumed.value, dict(consumed.attributes)) == (3, expected)
    (duration,) = seen.points("messaging.process.duration")
    assert (duration.count, dict(duration.attributes)) == (3, expected)


def test_failed_messages_are_counted_by_outcome(seen: Seen) -> None:
    failure: dict[str, Any] = {
        "queue": "video",
        "exchange": "media",
        "routing_key": "video.upload",
        "message_id": "m-1",
        "attempt": 1,
        "handler": None,
        "reason": "no_handler",
        "error": "e",
        "seconds": 0.1,
    }

    seen.instrumentation.on_event(Retried(**failure, delay=1))
    seen.instrumentation.on_event(Dropped(**failure))
    seen.instrumentation.on_event(Dropped(**failure))

    counts = {point.attributes["taskroute.outcome"]: point.value for point in seen.points("taskroute.messages.failed")}
    assert counts == {"retried": 1, "dropped": 2}


def test_ready_messages_are_observed_where_they_are_known(seen: Seen) -> None:
    for queue, ready in (("video", 7), ("video", 3), ("mail", 1), ("mail", None), ("gone", None)):
        seen.instrumentation.on_event(Counted(queue=queue, ready=ready))

    (point,) = seen.points("taskroute.queue.messages.ready")
    assert point.value == 3
    assert dict(point.attributes) == {"messaging.system": "rabbitmq", "messaging.destination.template": "video"}


def test_context_of_thread_is_restored_after_publish_and_handling(seen: Seen) -> None:
    before = context.get_current()

    seen.instrumentation.publishing(*KEY)
    with seen.instrumentation.handling(message_with({}), "h"):
        pass

    assert context.get_current() == before


def test_instrumentation_begins_anew_in_a_fork(seen: Seen) -> None:
    """A publisher of the child may have the instrumentation of the parent, of which a thread holds the lock."""
    seen.instrumentation.publishing(*KEY)

    def publish_in_child() -> list[int]:
        before = open_spans(seen.instrumentation)
        seen.instrumentation.publishing(*KEY)
        return [before, open_spans(seen.instrumentation)]

    with spans_locked(seen.instrumentation):
        answers = run_in_fork(publish_in_child)

    assert answers == repr([0, 1])
    assert open_spans(seen.instrumentation) == 1

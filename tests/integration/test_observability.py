"""The adapters on a worker and a publisher that run: traces, metrics and log lines, end to end."""

from __future__ import annotations

import asyncio
import io
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import structlog
from opentelemetry import context, propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.kit.inside import open_spans
from tests.kit.running import registry_of as handlers_of
from tests.kit.running import running
from tests.kit.specs import Video, media, topology, video
from tests.kit.waiting import DEADLINE

from taskroute import (
    HandlerRegistry,
    Message,
    Publisher,
    Reject,
    UnroutableError,
    Worker,
)
from taskroute.instrumentation import Instrumentation
from taskroute.instrumentation.logging import LoggingInstrumentation, MessageFilter
from taskroute.instrumentation.opentelemetry import OpenTelemetryInstrumentation
from taskroute.instrumentation.prometheus import DeadLetterCollector, PrometheusInstrumentation
from taskroute.instrumentation.structlog import StructlogInstrumentation


class Tracing:
    """A tracer provider of its own, an instrumentation for it, and the spans that ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.instrumentation = OpenTelemetryInstrumentation(self.provider)
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    tracing = Tracing()
    yield tracing
    tracing.provider.shutdown()


def identity(span: ReadableSpan) -> int:
    assert span.context is not None
    number: int = span.context.span_id
    return number


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


async def yielding(message: Message, call_next: Any) -> Any:
    await asyncio.sleep(0)
    return await call_next(message)


def passing(message: Message, call_next: Any) -> Any:
    return call_next(message)


@pytest.fixture(params=["plain", "async", "plain in async", "async in plain"])
def registry_of(request: pytest.FixtureRequest) -> Any:
    """A function that makes a registry: plain or async handler, without middleware or with the other kind of it."""
    handler_is_async = request.param.startswith("async")
    middleware = {"plain in async": [yielding], "async in plain": [passing]}.get(request.param, [])

    def make(function: Any) -> HandlerRegistry:
        registry = HandlerRegistry(middleware=middleware)

        async def later(message: Message) -> None:
            function(message)

        def now(message: Message) -> None:
            function(message)

        registry.add("#", later if handler_is_async else now, queue=video)
        return registry

    return make


def test_trace_covers_publish_retry_handler_and_onward_publish(
    broker_url: str, tracing: Tracing, registry_of: Any
) -> None:
    instrumentation = [tracing.instrumentation]

    with Publisher(broker_url, topology, instrumentation=instrumentation) as publisher:

        def handle(message: Message) -> None:
            if message.routing_key == "video.upload":
                with tracing.tracer.start_as_current_span(f"work {message.attempt}"):
                    if message.attempt == 1:
                        raise ValueError("not yet")
                publisher.publish(b"", "video.done", exchange=media)

        with Worker(broker_url, topology, registry_of(handle), instrumentation=instrumentation) as worker:
            with tracing.tracer.start_as_current_span("request"):
                publisher.publish(b"", "video.upload", exchange=media, message_id="m-1")
            assert worker.wait_idle(DEADLINE)

    spans = tracing.spans
    assert [span.name for span in spans] == [
        "request",
        "publish media",
        "process video",
        "work 1",
        "process video",
        "work 2",
        "publish media",
        "process video",
    ]
    request, publish, first, work_1, second, work_2, onward, last = spans
    assert {span.context.trace_id for span in spans if span.context} == {request.context and request.context.trace_id}
    assert [parent(span) for span in spans] == [
        None,
        identity(request),
        identity(publish),
        identity(first),
        identity(publish),
        identity(second),
        identity(second),
        identity(onward),
    ]
    attempts = [(span.attributes or {})["taskroute.attempt"] for span in (first, second, last)]
    assert attempts == [1, 2, 1]
    errors = [(span.attributes or {}).get("error.type") for span in (publish, first, second, last)]
    assert errors == [None, "ValueError", None, None]
    assert work_1 is not work_2


@pytest.mark.parametrize("errors", ["text", "place"])
def test_failed_span_has_what_may_be_told_of_the_error(
    taskroute_url: str, tracing: Tracing, registry_of: Any, errors: Any
) -> None:
    """Whatever the handler leaves as the current span. What no exporter can encode, and passwords, are replaced."""

    def handle(message: Message) -> None:
        context.attach(trace.set_span_in_context(tracing.tracer.start_span("left")))
        raise LookupError(f"no amqp://me:hunter22@host/ \ud800 {message.body!r}{'x' * 9_999}")

    with (
        Publisher(taskroute_url, topology) as publisher,
        Worker(
            taskroute_url, topology, registry_of(handle), instrumentation=[tracing.instrumentation], errors=errors
        ) as worker,
    ):
        publisher.publish(b"body", "video.a", exchange=media)
        assert worker.wait_idle(DEADLINE)

    span, _ = (span for span in tracing.spans if span.name == "process video")
    (event,) = span.events
    told = dict(event.attributes or {})
    place, text, trace_text = (
        str(told.pop(name, "")) for name in ("taskroute.place", "exception.message", "exception.stacktrace")
    )
    assert (event.name, told) == ("exception", {"exception.type": "LookupError"})
    assert re.fullmatch(r"test_observability\.py:\d+", place.rpartition("/")[2])
    if errors == "place":
        assert text == trace_text == ""
        assert "body" not in span.to_json()
    else:
        assert text.startswith("no amqp://me:***@host/ \\ud800 b'body'xxx")
        assert len(text) < 600 < len(trace_text) <= 4096
        assert "in handle" in trace_text
        assert "hunter22" not in span.to_json()
    span.to_json().encode()


def test_span_of_an_invalid_body_names_its_field_and_no_value(taskroute_url: str, tracing: Tracing) -> None:
    def handle(body: Video) -> None: ...

    with running(taskroute_url, topology, handlers_of(handle, "#"), instrumentation=[tracing.instrumentation]) as (
        worker,
        publisher,
    ):
        publisher.publish({"id": "secret"}, "video.a", exchange=media)
        assert worker.wait_idle(DEADLINE)

    (span,) = tracing.spans
    (event,) = span.events
    assert (event.attributes or {})["exception.message"] == "id: int_parsing"
    assert "secret" not in span.to_json()


def test_trace_of_an_asyncio_task_continues_in_publish_async(broker_url: str, tracing: Tracing) -> None:
    registry = HandlerRegistry()

    @registry.handler("#", queue=video)
    async def handle(message: Message) -> None: ...

    async def main(publisher: Publisher) -> None:
        with tracing.tracer.start_as_current_span("request"):
            await publisher.publish_async(b"", "video.a", exchange=media)

    instrumentation = [tracing.instrumentation]

    with (
        Worker(broker_url, topology, registry, instrumentation=instrumentation) as worker,
        Publisher(broker_url, topology, instrumentation=instrumentation) as publisher,
    ):
        asyncio.run(main(publisher))
        assert worker.wait_idle(DEADLINE)

    request, publish, process = tracing.spans
    assert (parent(publish), parent(process)) == (identity(request), identity(publish))


def test_trace_context_in_the_callers_headers_is_kept(broker_url: str, tracing: Tracing) -> None:
    given: dict[str, object] = {}
    with tracing.tracer.start_as_current_span("created before") as created:
        propagate.inject(given)
    registry, seen = HandlerRegistry(), list[Any]()

    @registry.handler("#", queue=video)
    def handle(message: Message) -> None:
        seen.append(trace.get_current_span())

    with (
        Worker(broker_url, topology, registry, instrumentation=[tracing.instrumentation]) as worker,
        Publisher(broker_url, topology, instrumentation=[tracing.instrumentation]) as publisher,
    ):
        publisher.publish(b"", "video.a", exchange=media, headers=given)
        assert worker.wait_idle(DEADLINE)

    assert parent(seen[0]) == created.get_span_context().span_id


def test_publish_span_ends_with_any_outcome_of_the_message(taskroute_url: str, tracing: Tracing) -> None:
    with Publisher(taskroute_url, topology, instrumentation=[tracing.instrumentation]) as publisher:
        with pytest.raises(UnroutableError):
            publisher.publish(b"", "nowhere", exchange=media)
        outcomes = list(publisher.publish_many([(b"", "video.a"), (b"", "nowhere")] * 50, exchange=media))

    assert len(outcomes) == 100
    assert len(tracing.spans) == 101
    assert open_spans(tracing.instrumentation) == 0


class Adding(Instrumentation):
    def __init__(self, headers: Mapping[str, object]) -> None:
        self._headers = headers

    def publishing(self, exchange: str, routing_key: str, message_id: str) -> Mapping[str, object]:
        return self._headers


@pytest.mark.parametrize("added", [{"x-bad": object()}, {"x-large": "v" * 65_000}, {"CC": "not a list"}])
def test_unusable_instrumentation_headers_are_left_out(
    taskroute_url: str, caplog: pytest.LogCaptureFixture, added: Mapping[str, object]
) -> None:
    """The message is published with its own headers, and the defect is logged once."""
    seen: list[Mapping[str, object]] = []
    registry = HandlerRegistry()

    @registry.handler("#", queue=video)
    def handle(message: Message) -> None:
        seen.append({name: value for name, value in message.headers.items() if name != "x-delivery-count"})

    own = {"x-own": "v" * 1000}

    with (
        Worker(taskroute_url, topology, registry) as worker,
        Publisher(taskroute_url, topology, instrumentation=[Adding(added)]) as publisher,
    ):
        for _ in range(3):
            publisher.publish(b"", "video.a", exchange=media, headers=own)
        assert worker.wait_idle(DEADLINE)

    assert seen == [own] * 3
    assert len([record for record in caplog.records if "instrumentation_failed" in record.message]) == 1


def test_log_records_of_a_handler_have_its_message(broker_url: str, registry_of: Any) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(MessageFilter())
    handler.setFormatter(logging.Formatter("%(message)s %(queue)s %(routing_key)s %(message_id)s %(attempt)s"))
    log = logging.getLogger("app.observed")
    log.addHandler(handler)

    def handle(message: Message) -> None:
        log.warning("working")
        if message.attempt == 1:
            raise ValueError

    instrumentation = [LoggingInstrumentation()]

    with running(broker_url, topology, registry_of(handle), instrumentation=instrumentation) as (worker, publisher):
        publisher.publish(b"", "video.upload", exchange=media, message_id="m-1")
        assert worker.wait_idle(DEADLINE)
    log.removeHandler(handler)

    assert written.getvalue().splitlines() == [
        "working video video.upload m-1 1",
        "working video video.upload m-1 2",
    ]


def test_structlog_has_the_handlers_message_and_the_events(taskroute_url: str, registry_of: Any) -> None:
    merge = structlog.contextvars.merge_contextvars

    def handle(message: Message) -> None:
        log.info("working")

    with structlog.testing.capture_logs(processors=[merge]) as entries:
        log = structlog.get_logger()
        instrumentation = [StructlogInstrumentation()]
        with running(taskroute_url, topology, registry_of(handle), instrumentation=instrumentation) as (
            worker,
            publisher,
        ):
            publisher.publish(b"", "video.upload", exchange=media, message_id="m-1")
            assert worker.wait_idle(DEADLINE)

    (working,) = [entry for entry in entries if entry["event"] == "working"]
    assert {name: working[name] for name in ("queue", "routing_key", "message_id", "attempt")} == {
        "queue": "video",
        "routing_key": "video.upload",
        "message_id": "m-1",
        "attempt": 1,
    }
    assert {"connected", "received", "handled"} <= {entry["event"] for entry in entries}


def samples(registry: CollectorRegistry) -> Mapping[str, float]:
    return {
        sample.name + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def test_prometheus_metrics_count_each_outcome_of_a_message(broker_url: str) -> None:
    metrics, registry = CollectorRegistry(), HandlerRegistry()
    instrumentation = PrometheusInstrumentation(metrics)
    in_progress: list[float] = []

    @registry.handler("video.{action}", queue=video)
    def handle(message: Message, action: str) -> None:
        in_progress.append(samples(metrics)["taskroute_messages_in_progress video"])
        if action == "rejected":
            raise Reject("no")
        if action == "retried" and message.attempt == 1:
            raise ValueError

    name = handle.__module__ + "." + handle.__qualname__

    with (
        Worker(broker_url, topology, registry, name="w", threads=1, instrumentation=[instrumentation]) as worker,
        Publisher(broker_url, topology, name="p", instrumentation=[instrumentation]) as publisher,
    ):
        metrics.register(DeadLetterCollector(worker))
        for action in ("works", "rejected", "retried"):
            publisher.publish(b"", f"video.{action}", exchange=media)
        with pytest.raises(UnroutableError):
            publisher.publish(b"", "nowhere", exchange=media)
        assert worker.wait_idle(DEADLINE)
        found = samples(metrics)

    assert in_progress == [1, 1, 1, 1]
    expected = {
        "taskroute_messages_in_progress video": 0,
        "taskroute_messages_received_total video": 4,
        f"taskroute_messages_handled_total {name} video": 2,
        f"taskroute_messages_retried_total {name} video handler_error": 1,
        f"taskroute_messages_dead_lettered_total {name} video rejected": 1,
        f"taskroute_handling_seconds_count {name} video": 4,
        "taskroute_dead_letter_queue_messages video.dead": 1,
        "taskroute_connected w": 1,
        "taskroute_connected w-hand-over": 1,
        "taskroute_connected p": 1,
    }
    assert {name: found.get(name) for name in expected} == expected

    after = samples(metrics)  # the publisher is closed, so its thread has reported every outcome
    expected = {
        "taskroute_messages_published_total media": 3,
        "taskroute_messages_returned_total media": 1,
        "taskroute_publish_seconds_count media": 3,
        "taskroute_connected w": 0,
        "taskroute_connected p": 0,
    }
    assert {name: after.get(name) for name in expected} == expected
    assert "taskroute_dead_letter_queue_messages video.dead" not in after

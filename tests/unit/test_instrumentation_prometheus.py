"""Prometheus: what is counted, read back with Prometheus' own parsers, and that labels stay few."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from taskroute import BrokerUnavailableError, Message
from taskroute.instrumentation import (
    Connected,
    Counted,
    DeadLettered,
    Disconnected,
    Dropped,
    Event,
    Handled,
    Overdue,
    Paused,
    Published,
    PublishFailed,
    Received,
    Resumed,
    Retried,
    Returned,
)
from taskroute.instrumentation.hooks import Listeners
from taskroute.instrumentation.prometheus import DeadLetterCollector, PrometheusInstrumentation

HOSTILE = 'key"\n{evil="1"} 7'
DELIVERY: dict[str, Any] = {
    "queue": "video",
    "exchange": "media",
    "routing_key": HOSTILE,
    "message_id": HOSTILE,
    "attempt": 1,
}
FAILURE: dict[str, Any] = DELIVERY | {
    "handler": "app.transcode",
    "reason": "handler_error",
    "error": HOSTILE,
    "seconds": 0.2,
}
SENT: dict[str, Any] = {"exchange": "media", "routing_key": HOSTILE, "message_id": HOSTILE, "seconds": 0.01}

EVERY: tuple[Event, ...] = (
    Received(**DELIVERY, redelivered=False),
    Received(**DELIVERY, redelivered=True),
    Handled(**DELIVERY, handler="app.transcode", seconds=0.03),
    Retried(**FAILURE, delay=5),
    DeadLettered(**FAILURE | {"handler": None, "reason": "no_handler"}, to="video.dead"),
    Dropped(**FAILURE),
    Overdue(**DELIVERY, handler="app.transcode", timeout=1),
    Published(**SENT),
    Published(**SENT | {"exchange": ""}),
    Returned(**SENT),
    PublishFailed(**SENT, error="PublishTimeoutError"),
    Connected(session="w", generation=1),
    Disconnected(session="w", error="gone"),
    Connected(session="w", generation=2),
    Paused(queue="video", failures=5, seconds=10),
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def samples(registry: CollectorRegistry) -> Mapping[str, float]:
    """Return what Prometheus reads, without the buckets and the times of creation."""
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in parse(generate_latest(registry).decode())
        for sample in family.samples
        if not sample.name.endswith(("_bucket", "_created"))
    }


def test_events_are_counted_by_their_metrics(registry: CollectorRegistry) -> None:
    instrumentation = PrometheusInstrumentation(registry)

    for event in EVERY:
        instrumentation.on_event(event)

    handler = "handler=app.transcode"
    assert samples(registry) == {
        "taskroute_messages_received_total queue=video": 2,
        "taskroute_messages_redelivered_total queue=video": 1,
        f"taskroute_messages_handled_total {handler} queue=video": 1,
        f"taskroute_messages_retried_total {handler} queue=video reason=handler_error": 1,
        "taskroute_messages_dead_lettered_total handler= queue=video reason=no_handler": 1,
        f"taskroute_messages_dropped_total {handler} queue=video reason=handler_error": 1,
        f"taskroute_handlers_overdue_total {handler} queue=video": 1,
        f"taskroute_handling_seconds_count {handler} queue=video": 3,
        f"taskroute_handling_seconds_sum {handler} queue=video": pytest.approx(0.43),
        "taskroute_queue_paused queue=video": 1,
        "taskroute_messages_published_total exchange=media": 1,
        "taskroute_messages_published_total exchange=amq.default": 1,
        "taskroute_messages_returned_total exchange=media": 1,
        "taskroute_publish_failures_total error=PublishTimeoutError exchange=media": 1,
        "taskroute_publish_seconds_count exchange=media": 1,
        "taskroute_publish_seconds_sum exchange=media": pytest.approx(0.01),
        "taskroute_publish_seconds_count exchange=amq.default": 1,
        "taskroute_publish_seconds_sum exchange=amq.default": pytest.approx(0.01),
        "taskroute_connected session=w": 1,
        "taskroute_reconnects_total session=w": 1,
    }


def test_every_kind_of_event_is_accepted(registry: CollectorRegistry) -> None:
    instrumentation, events = (
        PrometheusInstrumentation(registry),
        (*EVERY, Resumed(queue="video"), Counted(queue="video", ready=3)),
    )
    assert set(map(type, events)) == set(get_args(Event))

    for event in events:
        instrumentation.on_event(event)


def test_gauges_fall_on_disconnect_and_resume(registry: CollectorRegistry) -> None:
    instrumentation = PrometheusInstrumentation(registry)

    for event in (*EVERY, Disconnected(session="w", error=None), Resumed(queue="video")):
        instrumentation.on_event(event)

    found = samples(registry)
    assert (found["taskroute_connected session=w"], found["taskroute_queue_paused queue=video"]) == (0, 0)


def test_ready_messages_are_the_last_known_and_absent_if_unknown(registry: CollectorRegistry) -> None:
    instrumentation, name = PrometheusInstrumentation(registry), "taskroute_queue_messages_ready queue=video"

    def told(ready: int | None) -> float | None:
        instrumentation.on_event(Counted(queue="video", ready=ready))
        return samples(registry).get(name)

    assert name not in samples(registry)
    assert [told(ready) for ready in (3, 0, None, None, 5)] == [3, 0, None, None, 5]


def test_messages_in_progress_are_counted_while_handlers_run(registry: CollectorRegistry) -> None:
    """A handler that raises no longer counts."""
    instrumentation = PrometheusInstrumentation(registry)
    name = "taskroute_messages_in_progress queue=video"
    message = Message(body=b"", queue="video", routing_key=HOSTILE)

    with instrumentation.handling(message, "app.transcode"):
        with pytest.raises(ValueError, match="mine"), instrumentation.handling(message, "app.transcode"):
            raise ValueError("mine")
        assert samples(registry)[name] == 1

    assert samples(registry)[name] == 0


def test_labels_hold_no_text_of_a_message(registry: CollectorRegistry) -> None:
    """Routing keys, message ids and error texts would make labels without end, and could forge a sample."""
    instrumentation = PrometheusInstrumentation(registry)

    for event in EVERY:
        instrumentation.on_event(event)

    text = generate_latest(registry).decode()
    assert "evil" not in text
    labels = {name for family in parse(text) for sample in family.samples for name in sample.labels}
    assert labels == {"queue", "handler", "reason", "exchange", "error", "session", "le"}


def test_metric_names_and_units_follow_the_conventions(registry: CollectorRegistry) -> None:
    instrumentation = PrometheusInstrumentation(registry)

    for event in EVERY:
        instrumentation.on_event(event)

    families = list(parse_openmetrics(generate_openmetrics(registry).decode()))
    assert len(families) > 10
    for family in families:
        assert re.fullmatch(r"taskroute_[a-z_]+", family.name)
        assert family.documentation.endswith(".")
        assert (family.type == "histogram") == family.name.endswith("_seconds")
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples)


def test_histogram_buckets_are_configurable(registry: CollectorRegistry) -> None:
    instrumentation = PrometheusInstrumentation(registry, buckets=(1, 60, 600))

    instrumentation.on_event(Handled(**DELIVERY, handler="app.transcode", seconds=30))

    bounds = {
        sample.labels["le"]: sample.value
        for family in parse(generate_latest(registry).decode())
        for sample in family.samples
        if sample.name == "taskroute_handling_seconds_bucket"
    }
    assert bounds == {"1.0": 0, "60.0": 1, "600.0": 1, "+Inf": 1}


def test_second_instrumentation_on_one_registry_is_refused(registry: CollectorRegistry) -> None:
    PrometheusInstrumentation(registry)

    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusInstrumentation(registry)


def test_prometheus_adds_no_headers_to_a_publish(registry: CollectorRegistry) -> None:
    listeners = Listeners([PrometheusInstrumentation(registry)])

    assert listeners.publishing is None
    assert listeners.on_event is not None


# --- depths ---


class StubWorker:
    """A worker that answers, or raises."""

    def __init__(self, answer: Mapping[str, int] | Exception) -> None:
        self.answer = answer
        self.timeouts: list[float] = []

    def depths(self, *, timeout: float) -> Mapping[str, int]:
        self.timeouts.append(timeout)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_depths_are_requested_at_each_scrape_and_not_before(registry: CollectorRegistry) -> None:
    worker = StubWorker({"video.dead": 3, "audit.dead": 0})

    registry.register(DeadLetterCollector(worker, timeout=2))
    assert worker.timeouts == []

    expected = {
        "taskroute_dead_letter_queue_messages queue=video.dead": 3,
        "taskroute_dead_letter_queue_messages queue=audit.dead": 0,
    }
    assert samples(registry) == expected
    assert worker.timeouts == [2]


def test_unavailable_broker_leaves_depths_out_of_the_scrape(registry: CollectorRegistry) -> None:
    """The other metrics of the registry are scraped as usual."""
    registry.register(DeadLetterCollector(StubWorker(BrokerUnavailableError("away"))))
    other = Counter("other", "Another one.", registry=registry)
    other.inc()

    assert samples(registry) == {"other_total": 1}


def test_unavailable_worker_hides_no_other_of_its_collector(registry: CollectorRegistry) -> None:
    away, here = StubWorker(BrokerUnavailableError("away")), StubWorker({"audit.dead": 1})
    also_here = StubWorker({"audit.dead": 1, "video.dead": 2})

    registry.register(DeadLetterCollector(away, here, also_here))

    assert samples(registry) == {
        "taskroute_dead_letter_queue_messages queue=audit.dead": 1,
        "taskroute_dead_letter_queue_messages queue=video.dead": 2,
    }


def test_second_collector_on_one_registry_is_refused(registry: CollectorRegistry) -> None:
    registry.register(DeadLetterCollector(StubWorker({})))

    with pytest.raises(ValueError, match="Duplicated"):
        registry.register(DeadLetterCollector(StubWorker({})))

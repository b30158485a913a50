"""Prometheus: counters, histograms and gauges of workers and publishers. Extra ``prometheus``.

No label is a routing key or an id, so that senders cannot create time series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Protocol

from taskroute.errors import TaskrouteError
from taskroute.foreign import Log
from taskroute.instrumentation import events
from taskroute.instrumentation.events import Event
from taskroute.instrumentation.extras import extra
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.message.message import Message

with extra("prometheus"):
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector

log = Log("taskroute.instrumentation")

DEFAULT_EXCHANGE: Final = "amq.default"
"""The label of the default exchange. Its name is empty, and Prometheus takes an empty label for none."""

READY: Final = "queue_messages_ready"
"""What every worker of a queue sees alike, so that no sum of it makes sense."""


class PrometheusInstrumentation(Instrumentation):
    """Counters, gauges and durations of workers and publishers. One object serves all of a process.

    Args:
        registry: of the metrics; left out, the default registry of ``prometheus_client``.
        buckets: upper bounds, in seconds, of the histogram of handling times; left out, 5 ms to 10 s.

    Raises:
        ValueError: the registry already has these metrics.

    Example:
        >>> instrumentation = PrometheusInstrumentation()
        >>> worker = Worker(url, topology, registry, instrumentation=[instrumentation])
        >>> publisher = Publisher(url, topology, instrumentation=[instrumentation])
    """

    def __init__(
        self, registry: CollectorRegistry = REGISTRY, *, buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
    ) -> None:
        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(f"taskroute_{name}", documentation, labels, registry=registry)

        def gauge(
            name: str, documentation: str, label: str, of_several: Literal["livesum", "livemostrecent"] = "livesum"
        ) -> Gauge:
            # In multiprocess mode, the sum over the living processes, unless all of them see the same.
            return Gauge(f"taskroute_{name}", documentation, [label], registry=registry, multiprocess_mode=of_several)

        self._received = counter("messages_received", "Messages delivered to this worker.", "queue")
        self._redelivered = counter("messages_redelivered", "Of those, the ones delivered before.", "queue")
        self._handled = counter("messages_handled", "Messages whose handler returned.", "queue", "handler")
        of_failure = ("queue", "handler", "reason")
        self._failed: Mapping[type[Event], Counter] = {
            events.Retried: counter("messages_retried", "Failed messages put into a wait queue.", *of_failure),
            events.DeadLettered: counter(
                "messages_dead_lettered", "Failed messages that are dead letters now.", *of_failure
            ),
            events.Dropped: counter("messages_dropped", "Failed messages of queues that keep none.", *of_failure),
        }
        self._overdue = counter("handlers_overdue", "Handlers that outlived their timeout.", "queue", "handler")
        self._handling = Histogram(
            "taskroute_handling_seconds",
            "What an attempt to handle a message took, whatever became of it.",
            ["queue", "handler"],
            registry=registry,
            buckets=buckets,
        )
        self._in_progress = gauge("messages_in_progress", "Messages that a handler works on now.", "queue")
        self._paused = gauge("queue_paused", "1 while the queue is paused: its handlers fail, or by hand.", "queue")
        self._ready = gauge(READY, "Messages ready in the queue at the last heartbeat.", "queue", "livemostrecent")
        self._published = counter("messages_published", "Messages routed and confirmed.", "exchange")
        self._returned = counter("messages_returned", "Messages that no queue takes.", "exchange")
        self._publish_failures = counter(
            "publish_failures", "Messages not, or not known to be, accepted for another reason.", "exchange", "error"
        )
        self._publishing = Histogram(
            "taskroute_publish_seconds",
            "From the call until the broker's confirm, of messages that were published.",
            ["exchange"],
            registry=registry,
        )
        self._connected = gauge("connected", "1 while the session is connected to the broker.", "session")
        self._reconnects = counter("reconnects", "Connections of a session after its first one.", "session")
        self._counting: Mapping[type[Event], Callable[[Any], None]] = {
            events.Received: self._count_received,
            events.Handled: self._count_handled,
            events.Retried: self._count_failed,
            events.DeadLettered: self._count_failed,
            events.Dropped: self._count_failed,
            events.Overdue: lambda event: self._overdue.labels(event.queue, event.handler).inc(),
            events.Published: self._count_published,
            events.Returned: lambda event: self._returned.labels(_label(event.exchange)).inc(),
            events.PublishFailed: lambda event: self._publish_failures.labels(
                _label(event.exchange), event.error
            ).inc(),
            events.Connected: self._count_connected,
            events.Disconnected: lambda event: self._connected.labels(event.session).set(0),
            events.Paused: lambda event: self._paused.labels(event.queue).set(1),
            events.Resumed: lambda event: self._paused.labels(event.queue).set(0),
            events.Counted: self._set_ready,
        }

    def on_event(self, event: Event) -> None:
        """Count the event."""
        self._counting[type(event)](event)

    def handling(self, message: Message, handler: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Count the message as in progress while its handler runs."""
        return self._in_progress.labels(message.queue).track_inprogress()

    def _count_received(self, event: events.Received) -> None:
        self._received.labels(event.queue).inc()
        if event.redelivered:
            self._redelivered.labels(event.queue).inc()

    def _count_handled(self, event: events.Handled) -> None:
        self._handled.labels(event.queue, event.handler).inc()
        self._handling.labels(event.queue, event.handler).observe(event.seconds)

    def _count_failed(self, event: events.Retried | events.DeadLettered | events.Dropped) -> None:
        handler = event.handler or ""
        self._failed[type(event)].labels(event.queue, handler, event.reason).inc()
        if handler:
            self._handling.labels(event.queue, handler).observe(event.seconds)

    def _count_published(self, event: events.Published) -> None:
        exchange = _label(event.exchange)
        self._published.labels(exchange).inc()
        self._publishing.labels(exchange).observe(event.seconds)

    def _set_ready(self, event: events.Counted) -> None:
        self._ready.labels(event.queue).set(math.nan if event.ready is None else event.ready)
        if event.ready is None:  # not in multiprocess mode, where no sample can be removed
            self._ready.remove(event.queue)

    def _count_connected(self, event: events.Connected) -> None:
        self._connected.labels(event.session).set(1)
        if event.generation > 1:
            self._reconnects.labels(event.session).inc()


class Depths(Protocol):
    """The part of a `Worker` that `DeadLetterCollector` needs."""

    def depths(self, *, timeout: float) -> Mapping[str, int]:
        """Return how many messages are ready in each dead-letter queue."""


class DeadLetterCollector(Collector):
    """``taskroute_dead_letter_queue_messages``: the depth of dead-letter queues, asked of the broker at each scrape.

    A worker that is not connected has no samples, as they might be wrong.

    Args:
        *workers: whose dead-letter queues are counted, those of the queues that they consume.
        timeout: seconds that a scrape waits for each worker at most.

    Example:
        >>> import prometheus_client
        >>> prometheus_client.REGISTRY.register(DeadLetterCollector(worker))
    """

    def __init__(self, *workers: Depths, timeout: float = 5) -> None:
        self._workers = workers
        self._timeout = timeout

    def describe(self) -> Iterator[Metric]:
        """Return the metric without a sample, so that registering the collector asks the broker nothing."""
        yield self._metric({})

    def collect(self) -> Iterator[Metric]:
        """Ask the workers, on the thread that scrapes."""
        depths: dict[str, int] = {}
        for worker in self._workers:
            try:
                depths.update(worker.depths(timeout=self._timeout))
            except TaskrouteError as error:
                log.info("depths_unknown error=%s", type(error).__name__)
        yield self._metric(depths)

    @staticmethod
    def _metric(depths: Mapping[str, int]) -> Metric:
        name, text = "taskroute_dead_letter_queue_messages", "Messages ready in a dead-letter queue."
        metric = GaugeMetricFamily(name, text, labels=["queue"])
        for queue, depth in depths.items():
            metric.add_metric([queue], depth)
        return metric


def _label(exchange: str) -> str:
    return exchange or DEFAULT_EXCHANGE

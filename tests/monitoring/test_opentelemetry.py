"""What the metrics of OpenTelemetry are called in Prometheus: the page has the names that its exporter makes."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from tests.kit.inside import InsideWorker
from tests.kit.running import registry_of
from tests.kit.specs import media, topology
from tests.kit.waiting import DEADLINE, until

from taskroute import Message, Publisher, Reject, Worker
from taskroute.instrumentation.opentelemetry import OpenTelemetryInstrumentation

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()


def rejecting(message: Message) -> None:
    raise Reject("no")


def test_names_of_opentelemetry_on_the_page_are_those_of_its_exporter(tools: None, taskroute_url: str) -> None:
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider

    registry = CollectorRegistry()
    provider = MeterProvider(metric_readers=[PrometheusMetricReader(registry=registry)], shutdown_on_exit=False)
    listening = [OpenTelemetryInstrumentation(meter_provider=provider)]
    with (
        Worker(taskroute_url, topology, registry_of(rejecting, "#"), instrumentation=listening, heartbeat=1) as worker,
        Publisher(taskroute_url, topology, instrumentation=listening) as publisher,
    ):
        publisher.publish(b"", "video.upload", exchange=media)
        assert worker.wait_idle(DEADLINE)
        until(lambda: worker.stats().backlog)
        InsideWorker(worker).run_on_session()  # which has told it to those who listen by then
        shown = generate_latest(registry).decode()
    provider.shutdown()

    samples = {line.partition("{")[0] for line in shown.splitlines() if not line.startswith("#")}
    made = {name for name in samples if not name.startswith("target_") and not name.endswith(("_bucket", "_sum"))}
    assert made == set(re.findall(r"^\| `[\w.]+` \| `(\w+)` \|", PAGE, re.MULTILINE))

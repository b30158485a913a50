"""Metrics: what this process has for Prometheus, as text. The extra is loaded when somebody may ask."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from taskroute import Backlog, Worker
from taskroute.cli.exposition import BACKLOG, DEAD_LETTERS, NoMetricsError
from taskroute.instrumentation.hooks import Instrumentation

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric
    from prometheus_client.samples import Sample

LABEL: Final = "process"
_DEPTHS_TIMEOUT: Final = 2.0


def counting() -> tuple[Instrumentation, ...]:
    """Return what has to listen so that there are metrics: nothing if the service has it, or the extra is missing."""
    try:
        from taskroute.instrumentation.prometheus import PrometheusInstrumentation

        return (PrometheusInstrumentation(),)
    except (ModuleNotFoundError, ValueError):  # ValueError: the service counts into the same registry
        return ()


@contextmanager
def counting_dead_letters(worker: Worker) -> Iterator[None]:
    """Have scrapes in this block count the dead letters of a worker, unless the service or nobody can do that."""
    try:
        from prometheus_client import REGISTRY

        from taskroute.instrumentation.prometheus import DeadLetterCollector

        collector = DeadLetterCollector(worker, timeout=_DEPTHS_TIMEOUT)
        REGISTRY.register(collector)
    except (ModuleNotFoundError, ValueError):  # ValueError: the service has such a collector
        yield
        return
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


def exposition(process: int | None, backlog: Mapping[str, Backlog] = MappingProxyType({})) -> str:
    """Return the metrics of the default registry, each sample with the number of the process if it has one.

    Args:
        process: its number; None if it is alone.
        backlog: what its worker knows of queues, for their times.

    Raises:
        NoMetricsError: the extra is missing.
    """
    try:
        from prometheus_client import REGISTRY, generate_latest
    except ModuleNotFoundError as error:
        raise NoMetricsError("there are no metrics without prometheus-client: pip install prometheus-client") from error
    source: Any = REGISTRY if process is None else labelled(REGISTRY, process, backlog)
    return generate_latest(source).decode()


def labelled(registry: Any, process: int, backlog: Mapping[str, Backlog] = MappingProxyType({})) -> Any:
    """Return a registry that collects what another one does, with the number of a process in each sample.

    What all processes see alike gets the time at which it was seen instead, by which the parent tells the newest.
    """
    return _Labelled(registry, str(process), backlog)


class _Labelled:
    """A registry whose samples all have one more label. A label of that name that a sample has is renamed."""

    def __init__(self, registry: Any, process: str, backlog: Mapping[str, Backlog]) -> None:
        self._registry = registry
        self._process = process
        self._backlog = backlog

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            change = {BACKLOG: self._timed, DEAD_LETTERS: self._now}.get(metric.name, self._numbered)
            metric.samples = [changed for sample in metric.samples for changed in change(sample)]
            yield metric

    def _numbered(self, sample: Sample) -> Iterator[Sample]:
        yield sample._replace(labels=self._labelled(sample.labels))

    def _now(self, sample: Sample) -> Iterator[Sample]:
        yield sample._replace(timestamp=time.time())

    def _timed(self, sample: Sample) -> Iterator[Sample]:
        known = self._backlog.get(sample.labels["queue"])
        if known is not None:
            yield sample._replace(value=known.ready, timestamp=time.time() - known.age)

    def _labelled(self, labels: dict[str, str]) -> dict[str, str]:
        kept = {f"exported_{name}" if name == LABEL else name: value for name, value in labels.items()}
        return {**kept, LABEL: self._process}

"""Metrics: what this process has for Prometheus, as text. The extra is loaded when somebody may ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from taskroute.cli.exposition import NoMetricsError
from taskroute.instrumentation.extras import extra
from taskroute.instrumentation.hooks import Instrumentation

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

LABEL: Final = "process"


def counting() -> tuple[Instrumentation, ...]:
    """Return what has to listen so that there are metrics: nothing if the service has it, or the extra is missing."""
    try:
        from taskroute.instrumentation.prometheus import PrometheusInstrumentation

        return (PrometheusInstrumentation(),)
    except (ModuleNotFoundError, ValueError):  # ValueError: the service counts into the same registry
        return ()


def exposition(process: int | None) -> str:
    """Return the metrics of the default registry, each sample with the number of the process if it has one.

    Raises:
        NoMetricsError: the extra is missing.
    """
    try:
        with extra("prometheus"):
            from prometheus_client import REGISTRY, generate_latest
    except ModuleNotFoundError as error:
        raise NoMetricsError(str(error)) from None
    source: Any = REGISTRY if process is None else labelled(REGISTRY, process)
    return generate_latest(source).decode()


def labelled(registry: Any, process: int) -> Any:
    """Return a registry that collects what another one does, with the number of a process in each sample."""
    return _Labelled(registry, str(process))


class _Labelled:
    """A registry whose samples all have one more label. A label of that name that a sample has is renamed."""

    def __init__(self, registry: Any, process: str) -> None:
        self._registry = registry
        self._process = process

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample._replace(labels=self._labelled(sample.labels)) for sample in metric.samples]
            yield metric

    def _labelled(self, labels: dict[str, str]) -> dict[str, str]:
        kept = {f"exported_{name}" if name == LABEL else name: value for name, value in labels.items()}
        return {**kept, LABEL: self._process}

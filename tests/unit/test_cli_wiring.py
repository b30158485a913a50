"""What a process of `taskroute run` makes of its target and its options."""

from __future__ import annotations

import logging
import ssl
import sys
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter

from taskroute import HandlerRegistry, QueueSpec, Service, Topology
from taskroute.cli.exits import UsageError
from taskroute.cli.exposition import NoMetricsError
from taskroute.cli.serving.logs import configure_logging
from taskroute.cli.serving.metrics import exposition, labelled
from taskroute.cli.serving.wiring import wire
from taskroute.cli.settings import Settings
from taskroute.cli.target import Target

TOPOLOGY = Topology(queues=[QueueSpec(name="jobs"), QueueSpec(name="a,b")])


def handle(body: str) -> None: ...


def wired(worker: Any = None, *, url: Any = "amqp://u:p@h/", **settings: Any) -> Any:
    """Return the options that the worker of a process has."""
    registry = HandlerRegistry()
    for queue in TOPOLOGY.queues:
        registry.add("#", handle, queue=queue)
    service = Service(TOPOLOGY, registry, url=url, worker=worker)
    target = Target("shop:service", service, TOPOLOGY, registry)
    return wire(target, Settings(target="shop:service", **settings)).worker


@pytest.mark.parametrize(
    ("worker", "processes", "prefetch"),
    [
        ({"prefetch": 100}, 3, {"jobs": 33, "a,b": 33}),
        ({"prefetch": {"jobs": 2}}, 4, {"jobs": 1, "a,b": 32}),
        ({"threads": 1}, 4, {"jobs": 4, "a,b": 4}),
        ({"concurrency": {"jobs": 1}}, 2, {"jobs": 8, "a,b": 64}),
        ({}, 200, {"jobs": 1, "a,b": 1}),
    ],
)
def test_processes_take_together_in_advance_what_one_would(worker: Any, processes: int, prefetch: Any) -> None:
    assert wired(worker, processes=processes)["prefetch"] == prefetch


def test_one_process_has_the_options_of_the_service() -> None:
    assert wired({"prefetch": 100, "threads": 3}) == {"prefetch": 100, "threads": 3}


@pytest.mark.parametrize(
    ("words", "queues"), [(["jobs"], ["jobs"]), (["jobs,jobs"], ["jobs", "jobs"]), (["a,b", "jobs"], ["a,b", "jobs"])]
)
def test_queues_are_words_or_have_commas_between_them(words: list[str], queues: list[str]) -> None:
    assert wired(queues=tuple(words))["queues"] == queues


def test_threads_of_the_command_line_replace_those_of_the_service() -> None:
    assert wired({"threads": 3}, threads=0)["threads"] == 0


@pytest.mark.parametrize("url", ["memory://", "MEMORY://x", ["memory://"]])
def test_processes_on_the_embedded_broker_are_refused(url: Any) -> None:
    with pytest.raises(UsageError, match="--processes needs a broker that processes share"):
        wired(url=url, processes=2)


def test_unknown_queue_among_several_processes_is_named() -> None:
    with pytest.raises(UsageError, match=r"^--queues 'job' is not known: did you mean 'jobs'[?]$"):
        wired(queues=("job",), processes=2)


def test_unknown_queue_is_told_which_ones_can_be_consumed() -> None:
    """Those that come with a queue are none."""
    with pytest.raises(UsageError, match=r"^--queues 'nope' is not known: there are 'jobs', 'a,b'$"):
        wired(queues=("jobs,nope",))


def test_url_of_the_command_line_counts_for_more_and_needs_no_tls() -> None:
    service = Service(
        TOPOLOGY, HandlerRegistry(), url="amqps://u:p@h/", worker={"tls": ssl.create_default_context(), "threads": 3}
    )
    target = Target("shop:service", service, TOPOLOGY, service.registry)

    found = wire(target, Settings(target="shop:service", url="amqp://u:p@a/ amqp://u:p@b/"))

    assert found.url == ["amqp://u:p@a/", "amqp://u:p@b/"]
    assert found.worker == {"threads": 3}


def test_settings_for_a_child_have_their_url_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody may see the arguments of a process."""
    settings = Settings(target="shop:service", url="amqp://u:s3cret@h/", queues=("jobs",))
    monkeypatch.setenv("TASKROUTE_URL", settings.environment["TASKROUTE_URL"])

    text = settings.as_json()

    assert "s3cret" not in text + repr(settings)
    assert Settings.from_json(text) == settings


def test_worker_and_bare_topology_are_no_service_to_run() -> None:
    with pytest.raises(UsageError, match="has no handlers to run"):
        wire(Target("shop:topology", TOPOLOGY, TOPOLOGY, None), Settings(target="shop:topology"))


def bare_logging(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """Return the root logger, as in a program that has configured nothing."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", logging.WARNING)
    return root


def test_logging_is_configured_where_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    root = bare_logging(monkeypatch)

    assert configure_logging(3, is_watched=False)

    (handler,) = root.handlers
    record = logging.makeLogRecord({"levelname": "INFO", "name": "shop", "msg": "packed"})
    assert handler.format(record).endswith(" INFO process=3 shop packed")
    assert root.level == logging.INFO


def test_logging_that_is_configured_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    root = bare_logging(monkeypatch)
    handler = logging.NullHandler()
    root.addHandler(handler)

    assert not configure_logging(None, is_watched=False)

    assert (root.handlers, root.level) == ([handler], logging.WARNING)


def test_metrics_without_their_library_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)

    with pytest.raises(NoMetricsError, match=r"without prometheus-client: pip install prometheus-client$"):
        exposition(None)


def test_samples_are_told_apart_by_process_and_keep_a_label_of_that_name() -> None:
    registry = CollectorRegistry()
    Counter("packed", "Goods.", ["process"], registry=registry).labels("gluing").inc()

    (metric,) = labelled(registry, 2).collect()

    assert [dict(sample.labels) for sample in metric.samples if sample.name == "packed_total"] == [
        {"process": "2", "exported_process": "gluing"}
    ]

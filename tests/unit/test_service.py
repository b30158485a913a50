"""Service: what it holds, and what it refuses when it is made. Nothing is opened here."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest

from taskroute import (
    ConfigurationError,
    HandlerRegistry,
    Publisher,
    PublisherOptions,
    QueueSpec,
    Service,
    Topology,
    Worker,
    WorkerOptions,
)
from taskroute.service.url import url_of

JOBS = QueueSpec(name="jobs")
TOPOLOGY = Topology(queues=[JOBS])
SAID_BY_THE_SERVICE = {"url", "topology", "registry", "instrumentation", "resources", "publisher"}


def service(**arguments: Any) -> Service:
    return Service(TOPOLOGY, HandlerRegistry(), **arguments)


@pytest.mark.parametrize(("options", "of"), [(WorkerOptions, Worker), (PublisherOptions, Publisher)])
def test_options_are_all_arguments_that_a_service_passes_on(options: Any, of: type) -> None:
    arguments = set(inspect.signature(of).parameters) - SAID_BY_THE_SERVICE

    assert set(get_type_hints(options)) == arguments


def test_service_holds_what_it_was_given() -> None:
    made = service(url="memory://", worker={"threads": 2}, publisher={"timeout": 3})

    assert made.topology is TOPOLOGY
    assert made.url == "memory://"
    assert made.worker == {"threads": 2}
    assert made.publisher == {"timeout": 3}
    assert made.instrumentation == ()
    assert made.lifespan is None


def test_routes_of_a_service_have_its_handlers() -> None:
    made = service()

    @made.registry.handler("jobs", queue=JOBS)
    def handle(job: int) -> None: ...

    assert made.routes.handled_queues == ("jobs",)


def test_replacing_arguments_gives_another_service() -> None:
    made = service(url="memory://", worker={"threads": 2})

    changed = made.replace(worker={"threads": 3})

    assert (made.worker, changed.worker) == ({"threads": 2}, {"threads": 3})
    assert changed.url == "memory://"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"worker": {"thread": 2}}, "worker: there is no option 'thread'; did you mean 'threads'?"),
        ({"publisher": {"max_inflight": 2}}, "publisher: there is no option 'max_inflight'; did you mean"),
        ({"worker": {"topology": TOPOLOGY}}, "worker: there is no option 'topology'"),
    ],
)
def test_wrong_option_is_refused_by_name(arguments: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text.replace("?", r"\?")):
        service(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"worker": {"errors": "plcae"}},
        {"worker": {"declare": "creat"}},
        {"worker": {"threads": -1}},
        {"worker": {"max_body_size": "1M"}},
        {"worker": {"shutdown_timeout": "30"}},
        {"worker": {"middleware": len}},
        {"publisher": {"declare": "creat"}},
    ],
)
def test_wrong_value_of_an_option_is_refused_at_once(arguments: Any) -> None:
    """So that a check of the service finds it, and not its start."""
    ((option, _),) = next(iter(arguments.values())).items()

    with pytest.raises(ConfigurationError, match=f"{option}="):
        service(**arguments)


@pytest.mark.parametrize("name", ["worker", "publisher"])
def test_options_that_are_no_mapping_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a dict of options, and is an int"):
        service(**{name: 5})


def test_environment_may_name_several_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKROUTE_URL", "amqp://a:b@one/  amqp://a:b@two/")

    assert url_of(None) == ["amqp://a:b@one/", "amqp://a:b@two/"]
    assert url_of("memory://") == "memory://"


def test_wrong_argument_of_replace_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="a service has no 'urls'; did you mean 'url'"):
        service().replace(urls="memory://")


def test_representation_of_a_service_has_no_url() -> None:
    assert "secret" not in repr(service(url="amqp://user:secret@host/"))


def test_later_change_of_given_options_counts_for_nothing() -> None:
    options: WorkerOptions = {"threads": 2}
    made = service(worker=options)

    options["threads"] = 3

    assert made.worker == {"threads": 2}

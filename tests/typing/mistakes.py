"""Wrong use, each line a type error. mypy says so where an ignore is not needed any more."""

from __future__ import annotations

from taskroute import (
    Depends,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Header,
    Publisher,
    QueueSpec,
    Resource,
    RetryPolicy,
    RoutingPattern,
    RunningService,
    Service,
    Topology,
    Worker,
)
from taskroute.testing import Harness

media = ExchangeSpec(name="media")
jobs = QueueSpec(name="jobs")
topology = Topology(exchanges=[media], queues=[jobs])
registry = HandlerRegistry()
counted = EventSpec(pattern="count.{name}", exchange=media, body=int)


def wrong(publisher: Publisher, worker: Worker, harness: Harness, service: Service, running: RunningService) -> None:
    """Never called."""
    ExchangeSpec(name="media", type="topics")  # type: ignore[arg-type]
    ExchangeSpec()  # type: ignore[call-arg]
    QueueSpec(name=1)  # type: ignore[arg-type]
    QueueSpec(name="jobs", ttl=5)  # type: ignore[call-arg]
    QueueSpec(name="jobs", overflow="burst")  # type: ignore[arg-type]
    RetryPolicy(delays=5)  # type: ignore[arg-type]
    Topology(queues=jobs)  # type: ignore[arg-type]
    media.bind(5)  # type: ignore[arg-type]
    media.bind("a", match="most")  # type: ignore[arg-type]
    jobs.name = "other"  # type: ignore[misc]
    RoutingPattern(5)  # type: ignore[arg-type]
    registry.handler(5)  # type: ignore[arg-type]
    registry.add("jobs", "not a function")  # type: ignore[arg-type]
    registry.handler("jobs", retry=5)  # type: ignore[arg-type]
    registry.handler("jobs", timeout="5")  # type: ignore[arg-type]
    HandlerRegistry(middleware=[len])  # type: ignore[list-item]
    Depends("open_session")  # type: ignore[arg-type]
    Header()  # type: ignore[call-arg]
    publisher.publish({}, "jobs")  # type: ignore[call-overload]
    publisher.publish({}, 5, exchange=media)  # type: ignore[call-overload]
    publisher.publish({}, "jobs", exchange=media, persistant=True)  # type: ignore[call-overload]
    publisher.publish({})  # type: ignore[call-overload]
    publisher.publish(counted)  # type: ignore[call-overload]
    publisher.publish(counted(1, name="a"), exchange=media)  # type: ignore[call-overload]
    publisher.submit(counted(1, name="a"), persistant=True)  # type: ignore[call-overload]
    publisher.publish_many([({}, "jobs")])  # type: ignore[list-item]
    EventSpec(pattern="a", exchange=media)  # type: ignore[call-arg]
    EventSpec(pattern="a", exchange=5, body=int)  # type: ignore[arg-type]
    EventSpec(pattern="a", exchange=media, body=5)  # type: ignore[arg-type]
    counted("1", name="a")  # type: ignore[arg-type]
    counted(1, name=None)  # type: ignore[arg-type]
    counted(1, name="a").body.upper()  # type: ignore[attr-defined]
    counted.body = int  # type: ignore[misc]
    Topology(events=counted)  # type: ignore[arg-type]
    QueueSpec(name="jobs", bindings=[counted(1, name="a")])  # type: ignore[list-item]
    worker.health().ready = True  # type: ignore[misc]
    worker.wait_idle()  # type: ignore[call-arg]
    Worker("memory://", topology, registry, declare="maybe")  # type: ignore[arg-type]
    Worker("memory://", topology)  # type: ignore[call-arg]
    Worker("memory://", topology, registry, circuit_breaker=5)  # type: ignore[arg-type]
    Worker("memory://", topology, registry, concurrency=5)  # type: ignore[arg-type]
    Worker("memory://", topology, registry, prefetch={jobs: "many"})  # type: ignore[dict-item]
    publisher.wait_idle()  # type: ignore[call-arg]
    Worker("memory://", topology, registry, publisher="memory://")  # type: ignore[arg-type]
    Resource(list)  # type: ignore[call-arg]
    Service(topology)  # type: ignore[call-arg]
    Service(registry, topology)  # type: ignore[arg-type]
    Service(topology, registry, "memory://")  # type: ignore[call-arg]
    Service(topology, registry, url=5)  # type: ignore[arg-type]
    Service(topology, registry, lifespan=5)  # type: ignore[arg-type]
    Service(topology, registry, instrumentation=[5])  # type: ignore[list-item]
    Service(topology, registry, worker={"thread": 5})  # type: ignore[arg-type]
    Service(topology, registry, worker={"threads": "5"})  # type: ignore[arg-type]
    Service(topology, registry, publisher={"max_in_flight": None})  # type: ignore[arg-type]
    service.url = "memory://"  # type: ignore[misc]
    service.running(5)  # type: ignore[call-arg, arg-type]
    running.worker = worker  # type: ignore[misc]
    Harness(5)  # type: ignore[arg-type]
    harness.publish({}, "jobs")  # type: ignore[call-overload]
    harness.publish(counted(1, name="a"), exchange=media)  # type: ignore[call-overload]
    harness.handled("jobs")  # type: ignore[arg-type]
    harness.dead_letters(5)  # type: ignore[arg-type]
    Harness(topology, registry, overrides={5: list})  # type: ignore[dict-item]

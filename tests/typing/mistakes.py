"""Wrong use, each line a type error. mypy says so where an ignore is not needed any more."""

from __future__ import annotations

from taskroute import ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, RetryPolicy, RoutingPattern, Topology, Worker

media = ExchangeSpec(name="media")
jobs = QueueSpec(name="jobs")
topology = Topology(exchanges=[media], queues=[jobs])
registry = HandlerRegistry()


def wrong(publisher: Publisher, worker: Worker) -> None:
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
    publisher.publish({}, "jobs")  # type: ignore[call-arg]
    publisher.publish({}, 5, exchange=media)  # type: ignore[arg-type]
    publisher.publish({}, "jobs", exchange=media, persistant=True)  # type: ignore[call-arg]
    worker.wait_idle()  # type: ignore[call-arg]
    Worker("memory://", topology, registry, declare="maybe")  # type: ignore[arg-type]
    Worker("memory://", topology)  # type: ignore[call-arg]

"""A service that everything happens to that its metrics can show: each of them has a sample afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from prometheus_client import CollectorRegistry, start_http_server
from tests.kit.rabbitmq import Node
from tests.kit.specs import media, video
from tests.kit.waiting import DEADLINE, until

from taskroute import HandlerRegistry, Message, Publisher, PublishError, QueueSpec, Reject, Topology, Worker
from taskroute.instrumentation import Event, Instrumentation, Overdue, Received
from taskroute.instrumentation.prometheus import DeadLetterCollector, PrometheusInstrumentation

forgetful = QueueSpec(name="forgetful", bindings=[media.bind("forget.#")], retry=False, dead_letter=False)
full = QueueSpec(name="full", type="classic", max_length=1, overflow="reject-publish")
topology = Topology(exchanges=[media], queues=[video, forgetful, full])


class _Noticing(Instrumentation):
    """Ends the handlers that wait for what they are about."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.overdue = threading.Event()
        self.redelivered = threading.Event()

    def on_event(self, event: Event) -> None:
        if isinstance(event, Overdue):
            self.overdue.set()
        elif isinstance(event, Received) and event.redelivered:
            self.redelivered.set()


def _handlers(noticing: _Noticing) -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("video.fails", queue=video)
    def fail(message: Message) -> None:
        if message.attempt == 1:
            raise ValueError

    @registry.handler("video.rejected", queue=video)
    def reject() -> None:
        raise Reject("no")

    @registry.handler("video.slow", queue=video, timeout=0.05)
    def outlive() -> None:
        assert noticing.overdue.wait(DEADLINE)

    @registry.handler("video.held", queue=video)
    def hold() -> None:
        noticing.begun.set()
        assert noticing.redelivered.wait(DEADLINE)

    @registry.handler("forget.it", queue=forgetful)
    def forget() -> None:
        raise Reject("no")

    return registry


@contextmanager
def busy_shop(node: Node, url: str) -> Iterator[int]:
    """A worker and a publisher after everything has happened to them; gives the port of their metrics."""
    metrics, noticing = CollectorRegistry(), _Noticing()
    listening = [PrometheusInstrumentation(metrics), noticing]
    with (
        Worker(url, topology, _handlers(noticing), name="worker", heartbeat=1, instrumentation=listening) as worker,
        Publisher(url, topology, name="publisher", instrumentation=listening) as publisher,
    ):
        metrics.register(DeadLetterCollector(worker))
        for key in ("video.fails", "video.rejected", "video.slow", "video.held", "forget.it"):
            publisher.publish({}, key, exchange=media)
        with suppress(PublishError):
            publisher.publish({}, "nowhere", exchange=media)
        for _ in range(2):
            with suppress(PublishError):
                publisher.publish({}, full.name, exchange="")
        assert noticing.begun.wait(DEADLINE)
        node.close_all_connections()
        assert worker.wait_idle(DEADLINE)
        worker.pause(forgetful)
        until(lambda: worker.stats().backlog)

        server, thread = start_http_server(0, "127.0.0.1", metrics)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

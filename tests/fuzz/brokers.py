"""The two brokers of a comparison: an embedded one with a clock that is moved, and a RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.fuzz.client import Client

from taskroute.broker.connection import connect
from taskroute.broker.embedded.clock import ManualClock
from taskroute.broker.embedded.connection import EmbeddedConnection
from taskroute.broker.embedded.engine import Broker
from taskroute.broker.embedded.rules import RULES, Rules
from taskroute.broker.url import parse_urls


@contextmanager
def embedded_client(rules: Rules) -> Iterator[Client]:
    """A client of a new embedded broker."""
    clock = ManualClock()
    broker = Broker("fuzz", clock, rules)
    client = Client(partial(EmbeddedConnection, broker), clock.advance)
    try:
        yield client
    finally:
        client.close()
        broker.close()


def rules_of(release: str) -> Rules:
    """Return the rules that an embedded broker follows like a release of RabbitMQ."""
    wanted = release.split(".")[:2]
    return next(rules for version, rules in RULES.items() if version.split(".") == wanted)


@contextmanager
def rabbitmq_client() -> Iterator[tuple[str, Client]]:
    """A client of a RabbitMQ that is started for it, and its release."""
    from tests.kit import rabbitmq

    with rabbitmq.running() as node:
        open_one = partial(connect, parse_urls(node.url())[0], name="fuzz", heartbeat=0)
        first: Any = open_one()
        release = str(first.server_properties["version"])
        first.close()
        client = Client(open_one)
        try:
            yield release, client
        finally:
            client.close()

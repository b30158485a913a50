"""A client of each broker in turn: RabbitMQ, and the embedded one, which follows its version."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.kit import rabbitmq as server
from tests.kit.peer import Peer, looking, parsed_version

from taskroute.broker.embedded.rules import RULES


@pytest.fixture(scope="session")
def followed_version() -> str:
    """The version that the embedded broker follows: that of the RabbitMQ which it is compared with."""
    given = os.environ.get("TASKROUTE_TEST_URL")
    if given:
        with looking(given) as peer:
            version = peer.version
    elif server.SCRIPTS:
        version = parsed_version(server.SCRIPTS[-1].parent.name.removeprefix("rabbitmq_server-"))
    else:
        return list(RULES)[-1]
    return [known for known in RULES if parsed_version(known) <= version][-1]


@pytest.fixture
def taskroute_url(taskroute_url: str, followed_version: str) -> str:
    """The URL of an embedded broker for one test."""
    return f"{taskroute_url}?rabbitmq={followed_version}"


@pytest.fixture
def peer(broker_url: str) -> Iterator[Peer]:
    """A client of a broker."""
    with looking(broker_url) as peer:
        yield peer

"""A client of each broker in turn: the embedded one and RabbitMQ."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kit.peer import Peer, looking


@pytest.fixture
def peer(broker_url: str) -> Iterator[Peer]:
    """A client of a broker."""
    with looking(broker_url) as peer:
        yield peer

"""The pytest plugin: fixtures for tests of handlers.

pytest imports its plugins at every start, so this one imports nothing of `taskroute` before a test asks for a fixture.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from taskroute import HandlerRegistry, Service, Topology
    from taskroute.testing import Harness


@pytest.fixture
def taskroute_harness() -> Iterator[Callable[..., Harness]]:
    """Return a function that makes and enters a `taskroute.testing.Harness`, with the same arguments.

    They are closed after the test. It fails then if a handler raised an error that the test never looked at.
    """
    from taskroute.testing import Harness

    with ExitStack() as harnesses:

        def make(topology: Topology | Service, registry: HandlerRegistry | None = None, **options: Any) -> Harness:
            return harnesses.enter_context(Harness(topology, registry, **options))

        yield make


@pytest.fixture
def taskroute_url() -> Iterator[str]:
    """Return the URL of an embedded broker for a `Worker` and a `Publisher`. The broker ends with the test."""
    from taskroute.broker.embedded import transport

    name = f"test-{uuid.uuid4().hex}"
    yield f"memory://{name}"
    transport.drop(name)

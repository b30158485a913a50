"""The pytest plugin: fixtures for tests of handlers.

It stands beside the package, and not in it: pytest imports its plugins at every start, and whoever imports something of
`taskroute` imports all of it. So nothing of it is imported before a test asks for a fixture.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from taskroute import HandlerRegistry, Topology
    from taskroute.testing import Harness


@pytest.fixture
def taskroute_harness() -> Iterator[Callable[..., Harness]]:
    """Make harnesses, entered, with the arguments of `taskroute.testing.Harness`.

    They are closed after the test, which then has an error if a handler raised something that the test never looked at.
    """
    from taskroute.testing import Harness

    with ExitStack() as harnesses:

        def make(topology: Topology, registry: HandlerRegistry | None = None, **options: Any) -> Harness:
            return harnesses.enter_context(Harness(topology, registry, **options))

        yield make


@pytest.fixture
def taskroute_url() -> Iterator[str]:
    """URL of an embedded broker that is the test's own, for a `Worker` and a `Publisher`. It is gone after the test."""
    from taskroute.broker.embedded import transport

    name = f"test-{uuid.uuid4().hex}"
    yield f"memory://{name}"
    transport.drop(name)

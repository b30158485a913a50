"""Options: the keyword arguments of a worker, for those who pass them on."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import ssl
from collections.abc import Iterable
from typing import Final, Literal, TypedDict

from taskroute.broker.declare import DeclareMode
from taskroute.exported import exported_by
from taskroute.handlers.middleware import Middleware
from taskroute.handling.circuit_breaker import CircuitBreaker
from taskroute.topology.queue import QueueSpec
from taskroute.worker.queue_options import ByQueue

DEFAULT_THREADS: Final = 8
DEFAULT_SHUTDOWN_TIMEOUT: Final = 30


@exported_by("taskroute")
class WorkerOptions(TypedDict, total=False):
    """Keyword arguments of `Worker` that a `Service` passes on; see there."""

    queues: Iterable[QueueSpec | str] | None
    threads: int
    prefetch: int | ByQueue[int] | None
    concurrency: ByQueue[int] | None
    circuit_breaker: CircuitBreaker | ByQueue[CircuitBreaker] | None
    consumer_timeout: float | ByQueue[float | None] | None
    heartbeat: float
    shutdown_timeout: float
    declare: DeclareMode
    name: str | None
    tls: ssl.SSLContext | None
    max_body_size: int
    middleware: Iterable[Middleware]
    errors: Literal["text", "place"]

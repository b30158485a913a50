"""Options: the keyword arguments of a worker, for those who pass them on, and what is wrong with a value of one."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Literal, TypedDict

from taskroute.broker.declare import DeclareMode, checked_mode
from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.handlers.middleware import Middleware, layers
from taskroute.handling.circuit_breaker import CircuitBreaker
from taskroute.quoting import shown
from taskroute.raised import checked_detail
from taskroute.topology.queue import QueueSpec
from taskroute.worker.queue_options import ByQueue

DEFAULT_THREADS: Final = 8
DEFAULT_SHUTDOWN_TIMEOUT: Final = 30

MAX_TIMEOUT: Final = threading.TIMEOUT_MAX - 2
"""Seconds that Python can wait at most, less what `Worker.stop` may take longer."""


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


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse values that are wrong with any topology, as a worker made with them would.

    Raises:
        ConfigurationError: names the option.
    """
    for name, check in _CHECKS.items():
        if name in options:
            check(options[name])


def whole(name: str, value: Any) -> int:
    """Return the value of an option that is a whole number.

    Raises:
        ConfigurationError: it is none, or below 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name}={shown(value)} must be a whole number, 0 or more")
    return value


def seconds(name: str, value: Any) -> float:
    """Return the value of an option that is a number of seconds.

    Raises:
        ConfigurationError: it is none, below 0, or more than Python can wait.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIMEOUT:
        raise ConfigurationError(f"{name}={shown(value)} must be a number of seconds between 0 and {MAX_TIMEOUT:.0f}")
    return value


_CHECKS: Final[Mapping[str, Callable[[Any], object]]] = {
    "errors": checked_detail,
    "declare": checked_mode,
    "middleware": layers,
    "threads": partial(whole, "threads"),
    "max_body_size": partial(whole, "max_body_size"),
    "shutdown_timeout": partial(seconds, "shutdown_timeout"),
}

"""QueueOptions: how many messages of each queue in advance, how many at once, and when to pause it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from taskroute.errors import ConfigurationError, UnknownQueueError
from taskroute.handling.circuit_breaker import CircuitBreaker
from taskroute.quoting import shown
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

MAX_PREFETCH: Final = 65_535
DEFAULT_MAX_PREFETCH: Final = 256
PREFETCH_PER_THREAD: Final = 16

CONSUMER_TIMEOUT: Final[float] = 1800
"""Seconds after which RabbitMQ, by default, takes back what is not acknowledged."""

MAX_CONSUMER_TIMEOUT: Final = 2**32

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ByQueue(Protocol[T_co]):
    """A mapping from queues, by spec or name, to something. `Mapping` would not let a ``dict[str, ...]`` pass."""

    def items(self) -> Iterable[tuple[QueueSpec | str, T_co]]:
        """Queues, and what is said about them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What holds for each queue, by name.

    `prefetch`: unacknowledged messages. `limits`: how many may be handled at once, where that is limited. `breakers`:
    when to pause, where a queue is paused at all. `timeouts`: seconds after which the broker takes a message back that
    is not acknowledged, where it does.
    """

    prefetch: Mapping[str, int]
    limits: Mapping[str, int]
    breakers: Mapping[str, CircuitBreaker]
    timeouts: Mapping[str, float]


def read_queue_options(
    queues: Iterable[str],
    topology: Topology,
    *,
    threads: int,
    awaited: Iterable[str],
    prefetch: int | ByQueue[int] | None,
    concurrency: ByQueue[int] | None,
    circuit_breaker: CircuitBreaker | ByQueue[CircuitBreaker] | None,
    consumer_timeout: float | ByQueue[float | None] | None,
) -> QueueOptions:
    """Read the arguments of a worker that consumes `queues`, of which those in `awaited` have async handlers.

    Raises:
        UnknownQueueError, ConfigurationError: as `by_queue`; a value out of range.
    """
    names = tuple(queues)
    limits = read_concurrency(concurrency, names, topology)
    counts = read_prefetch(prefetch, names, topology, threads, limits)
    # Async handlers outlive a connection, and the next connection brings its messages on top of theirs.
    limits = {name: counts[name] for name in awaited} | limits
    return QueueOptions(
        prefetch=counts,
        limits=limits,
        breakers=read_breakers(circuit_breaker, names, topology),
        timeouts=read_consumer_timeout(consumer_timeout, names, topology),
    )


def by_queue(parameter: str, options: ByQueue[T], topology: Topology) -> dict[str, T]:
    """Return options by the names of the queues that they are for, consumed or not: workers may share one mapping.

    Raises:
        UnknownQueueError: the topology does not have a queue.
        ConfigurationError: it is no mapping, or names a queue twice.
    """
    if not hasattr(options, "items"):
        raise ConfigurationError(f"{parameter}={shown(options)} is not by queue: {parameter}={{queue: ...}}")
    named: dict[str, T] = {}
    for queue, option in options.items():
        try:
            name = topology.queue(queue).name
        except UnknownQueueError as error:
            raise UnknownQueueError(f"{parameter}: {error}") from None
        if name in named:
            raise ConfigurationError(f"{parameter}: queue {name!r} is there twice, as a spec and by its name")
        named[name] = option
    return named


def read_concurrency(concurrency: ByQueue[int] | None, consumed: Iterable[str], topology: Topology) -> dict[str, int]:
    """Return how many messages of a queue may be handled at once, for the queues that have such a limit.

    Raises:
        UnknownQueueError, ConfigurationError: as `by_queue`; a number that is none.
    """
    if isinstance(concurrency, int):
        raise ConfigurationError(f"concurrency={concurrency} is not by queue: concurrency={{queue: {concurrency}}}")
    limits = {} if concurrency is None else by_queue("concurrency", concurrency, topology)
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ConfigurationError(f"concurrency={shown(limit)} of queue {name!r} must be a whole number, 1 or more")
    return _only(consumed, limits)


def read_prefetch(
    prefetch: int | ByQueue[int] | None,
    consumed: Iterable[str],
    topology: Topology,
    threads: int,
    concurrency: Mapping[str, int],
) -> dict[str, int]:
    """Return how many messages of each queue are taken in advance.

    What is left out follows from how many can be handled at once, so that none waits here that another worker could
    have handled.

    Raises:
        UnknownQueueError, ConfigurationError: as `by_queue`; a number out of range.
    """
    consumed = tuple(consumed)
    given = _for_each("prefetch", prefetch, consumed, topology)
    for name, count in given.items():
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_PREFETCH:
            raise ConfigurationError(
                f"prefetch={shown(count)} of queue {name!r} must be between 1 and {MAX_PREFETCH}; 0 would be unlimited"
            )
    return {name: _default_prefetch(threads, concurrency.get(name)) for name in consumed} | _only(consumed, given)


def read_breakers(
    breaker: CircuitBreaker | ByQueue[CircuitBreaker] | None, consumed: Iterable[str], topology: Topology
) -> dict[str, CircuitBreaker]:
    """Return the circuit breakers of the queues that have one.

    Raises:
        UnknownQueueError, ConfigurationError: as `by_queue`; something that is none.
    """
    consumed = tuple(consumed)
    breakers = _for_each("circuit_breaker", breaker, consumed, topology)
    for name, each in breakers.items():
        if not isinstance(each, CircuitBreaker):
            raise ConfigurationError(f"circuit_breaker={shown(each)} of queue {name!r} must be a CircuitBreaker")
    return _only(consumed, breakers)


def read_consumer_timeout(
    timeout: float | ByQueue[float | None] | None, consumed: Iterable[str], topology: Topology
) -> dict[str, float]:
    """Return after how many seconds the broker takes a message back, for the queues where it does.

    A queue that is left out has the broker's default.

    Raises:
        UnknownQueueError, ConfigurationError: as `by_queue`; a number out of range.
    """
    consumed = tuple(consumed)
    given = _for_each("consumer_timeout", timeout, consumed, topology)
    for name, seconds in given.items():
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if seconds is not None and not (is_number and 0 < seconds <= MAX_CONSUMER_TIMEOUT):
            raise ConfigurationError(
                f"consumer_timeout={shown(seconds)} of queue {name!r} must be a number of seconds above 0, "
                f"{MAX_CONSUMER_TIMEOUT} at most, or None: the broker takes nothing back"
            )
    others = {} if timeout is None else dict.fromkeys(consumed, CONSUMER_TIMEOUT)
    return {name: seconds for name, seconds in (others | _only(consumed, given)).items() if seconds is not None}


def _for_each(parameter: str, option: Any, consumed: Sequence[str], topology: Topology) -> dict[str, Any]:
    """Return by queue what was given for all queues, for some, or for none."""
    if isinstance(option, Mapping):
        return by_queue(parameter, option, topology)
    return {} if option is None else dict.fromkeys(consumed, option)


def _only(consumed: Iterable[str], options: Mapping[str, T]) -> dict[str, T]:
    """Return the options of the queues that this worker consumes."""
    return {name: options[name] for name in consumed if name in options}


def _default_prefetch(threads: int, limit: int | None) -> int:
    at_once = min(threads or DEFAULT_MAX_PREFETCH, limit or DEFAULT_MAX_PREFETCH)
    usual = min(DEFAULT_MAX_PREFETCH, PREFETCH_PER_THREAD * at_once)
    # Async handlers run at once without as many threads; what is not here cannot.
    return usual if limit is None else min(max(usual, limit), MAX_PREFETCH)

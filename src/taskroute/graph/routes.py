"""Routes: a topology and a registry compiled into the one graph that everything else reads. Immutable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from taskroute.errors import AmbiguousHandlerError, ConfigurationError, UnknownQueueError
from taskroute.exported import exported_by
from taskroute.graph.check.check import check
from taskroute.graph.check.finding import Finding
from taskroute.graph.explain import explain
from taskroute.graph.explanation import Explanation
from taskroute.handlers.ambiguity import WAY_OUT, find_ambiguities
from taskroute.handlers.handler import Handler, HandlerMatch
from taskroute.handlers.registry import HandlerRegistry
from taskroute.handlers.resolver import Resolver
from taskroute.quoting import kind_with_article
from taskroute.topology.broker_facts import BrokerFacts, facts_named
from taskroute.topology.durations import milliseconds
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology


@exported_by("taskroute")
class Routes:
    """Which keys reach which queue, and which code handles them. Immutable; safe from any thread.

    Later registrations do not change it.

    Raises:
        UnknownQueueError: a handler names a queue that the topology does not have.
        AmbiguousHandlerError: two handlers share a key, and neither is more specific; names both and the key.
        ConfigurationError: a handler's retry uses a delay that its queue's policy does not name; an argument is of
            another type.

    Example:
        >>> topology = Topology(queues=[QueueSpec(name="jobs")])
        >>> Routes(topology, HandlerRegistry()).route("jobs", exchange="")
        frozenset({'jobs'})
    """

    def __init__(self, topology: Topology, registry: HandlerRegistry) -> None:
        check_parts(topology, registry)
        self.topology = topology
        self.handlers: tuple[Handler, ...] = registry.handlers
        for handler in self.handlers:
            _check_queue(handler, topology)
        for ambiguity in find_ambiguities(self.handlers):
            if ambiguity.witness is not None:  # `check` reports what is undecided
                raise AmbiguousHandlerError(f"{ambiguity}: {WAY_OUT}")
        self._resolver = Resolver(self.handlers)

    @property
    def handled_queues(self) -> tuple[str, ...]:
        """The queues that a handler or fallback names: those that a worker consumes by default."""
        named = {handler.queue for handler in self.handlers}
        return tuple(queue.name for queue in self.topology.all_queues if queue.name in named)

    def route(
        self, routing_key: str, *, exchange: ExchangeSpec | str, headers: Mapping[str, object] | None = None
    ) -> frozenset[str]:
        """Return the names of the queues that a message reaches; see `Topology.route`."""
        return self.topology.route(routing_key, exchange=exchange, headers=headers)

    def resolve(self, queue: QueueSpec | str, routing_key: str) -> HandlerMatch | None:
        """Return the handler that `routing_key` has in `queue`, or None."""
        return self._resolver.resolve(str(queue), routing_key)

    def explain(
        self, routing_key: str, *, exchange: ExchangeSpec | str, headers: Mapping[str, object] | None = None
    ) -> Explanation:
        """Return why a key goes where it goes; the `str` of the answer is for people."""
        return explain(
            self.topology,
            self.handlers,
            self._resolver,
            routing_key=routing_key,
            exchange=self.topology.exchange(exchange).name if str(exchange) else "",
            headers=headers or {},
        )

    def check(self, *, broker: BrokerFacts | str | None = None) -> tuple[Finding, ...]:
        """Return the holes in the graph, the worst first, each with a key that shows it.

        Args:
            broker: also look for what that broker does not take: ``"4.3"`` is a version of RabbitMQ, others are
                ``"LavinMQ 2.9"`` and ``"Amazon MQ 4.2"``. Nobody is asked.

        Raises:
            ConfigurationError: `broker` names none.
        """
        return check(self.topology, self.handlers, None if broker is None else facts_named(broker))


def check_parts(topology: object, registry: object) -> None:
    """Raise ConfigurationError unless the one is a topology and the other a registry: they are easily swapped."""
    for name, part, kind in (("topology", topology, Topology), ("registry", registry, HandlerRegistry)):
        if not isinstance(part, kind):
            order = "the topology comes first, and the registry after it"
            raise ConfigurationError(f"{name} must be a {kind.__name__}, and is {kind_with_article(part)}: {order}")


def _check_queue(handler: Handler, topology: Topology) -> None:
    queues = topology.queues if handler.queue is None else (_queue_of(handler, topology),)
    for problem in _retry_problems(handler, queues):
        raise ConfigurationError(f"{handler}: retry: {problem}")


def _queue_of(handler: Handler, topology: Topology) -> QueueSpec:
    try:
        return topology.queue(handler.queue or "")
    except UnknownQueueError as error:
        raise UnknownQueueError(f"{handler}: {error}") from None


def _retry_problems(handler: Handler, queues: tuple[QueueSpec, ...]) -> Iterator[str]:
    for queue in queues if handler.retry else ():
        policy = queue.retry_policy
        known = policy.delays if policy else ()
        missing = sorted({delay for delay in (handler.retry.delays if handler.retry else ()) if delay not in known})
        if missing:
            waits = ", ".join(f"{milliseconds(delay)} ms" for delay in missing)
            yield f"queue {queue.name!r} has no wait queue for {waits}; name the delay in the queue's retry policy"

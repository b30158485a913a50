"""Observed: what a live virtual host has, as frozen values read over the management API. Used by one thread.

What a broker does not say is None, "not known", and never 0 or empty: its statistics come some seconds late, or never.
What brokers of different versions say differently is the same here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from taskroute.errors import BrokerUnavailableError
from taskroute.operate.management import ManagementApi

DestinationType = Literal["queue", "exchange"]

SINGLE_ACTIVE: Final = "x-single-active-consumer"
"""The argument of a queue that has one consumer at a time, and counts no other one."""

_NAMELESS: Final = "amq.default"
"""The management API's name for the default exchange, which every virtual host has."""


@dataclass(frozen=True, slots=True)
class ObservedExchange:
    """An exchange.

    Attributes:
        type: whichever name it has, those of plug-ins included.
        policy: the name of the policy in effect, empty if there is none.
    """

    name: str
    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: Mapping[str, Any]
    policy: str = ""


@dataclass(frozen=True, slots=True)
class ObservedConsumer:
    """A consumer of a queue. `connection`: the name of its connection, None if it is not known."""

    tag: str
    arguments: Mapping[str, Any]
    connection: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedQueue:
    """A queue. What is None is not known.

    Attributes:
        type: ``classic``, ``quorum``, ``stream``, or another one.
        arguments: as they were declared; the broker may have added its default type.
        policy: the name of the policy in effect, empty if there is none.
        operator_policy: the name of the operator's policy in effect, empty if there is none.
        policy_definition: what both policies say together, by key.
        messages: how many there are, those that are unacknowledged included.
        ready: how many may be delivered.
        unacknowledged: how many are delivered and not settled.
        consumers: how many there are.
        consumer_details: each of them.
    """

    name: str
    type: str | None
    durable: bool
    auto_delete: bool
    exclusive: bool | None
    arguments: Mapping[str, Any]
    policy: str | None
    operator_policy: str | None
    policy_definition: Mapping[str, Any] | None
    messages: int | None
    ready: int | None
    unacknowledged: int | None
    consumers: int | None
    consumer_details: tuple[ObservedConsumer, ...] | None


@dataclass(frozen=True, slots=True)
class ObservedBinding:
    """A binding. `properties_key`: the broker's own name for it, which removes it and no other."""

    source: str
    destination: str
    destination_type: DestinationType
    routing_key: str
    arguments: Mapping[str, Any]
    properties_key: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class ObservedPolicy:
    """A policy. Of those that fit a queue, the one with the highest priority counts, and no other."""

    name: str
    priority: int
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a virtual host has of what was asked for. What is not in it is not there.

    Attributes:
        exchanges: by name.
        queues: by name.
        bindings: those to the queues, and from and to the exchanges. None from the default exchange.
        policies: by name; only if they were asked for.
    """

    virtual_host: str
    exchanges: Mapping[str, ObservedExchange]
    queues: Mapping[str, ObservedQueue]
    bindings: tuple[ObservedBinding, ...]
    policies: Mapping[str, ObservedPolicy] = field(default_factory=dict)


def observe(
    api: ManagementApi, virtual_host: str, *, queues: Iterable[str] = (), exchanges: Iterable[str] = ()
) -> Observed:
    """Return what there is of these queues and exchanges, each asked for by its name, with their bindings.

    Raises:
        BrokerUnavailableError: there is no answer, no such virtual host, no right to it, or an answer that is none of
            RabbitMQ's.
    """
    reader = _Reader(api, virtual_host)
    found_queues = {name: queue for name in dict.fromkeys(queues) if (queue := reader.queue(name)) is not None}
    found_exchanges = {name: each for name in dict.fromkeys(exchanges) if (each := reader.exchange(name)) is not None}
    bindings = [binding for name in found_queues for binding in reader.bindings_of_queue(name)]
    bindings += [binding for name in found_exchanges for binding in reader.bindings_of_exchange(name)]
    reader.check_virtual_host()
    return _observed(virtual_host, found_exchanges.values(), found_queues.values(), bindings)


def observe_all(api: ManagementApi, virtual_host: str) -> Observed:
    """Return all that there is, but the default exchange. Of consumers nothing is known. Raises what `observe` does."""
    reader = _Reader(api, virtual_host)
    reader.check_virtual_host()
    queues = list(reader.all_queues())
    exchanges = [exchange for exchange in reader.all_exchanges() if exchange.name]
    return _observed(virtual_host, exchanges, queues, list(reader.all_bindings()))


def observe_policies(api: ManagementApi, virtual_host: str) -> dict[str, ObservedPolicy]:
    """Return the policies of a virtual host by their names, those of operators left out. Raises what `observe` does."""
    policies = {}
    for found in api.each("policies", virtual_host):
        if not isinstance(found, Mapping) or not isinstance(found.get("name"), str):
            raise api.unexpected("policies", virtual_host)
        priority = _count(found, "priority") or 0
        policies[found["name"]] = ObservedPolicy(found["name"], priority, _table(found.get("definition")))
    return policies


class _Reader:
    """Reads the entities of one virtual host."""

    def __init__(self, api: ManagementApi, virtual_host: str) -> None:
        self._api = api
        self._virtual_host = virtual_host

    def check_virtual_host(self) -> None:
        """Raise BrokerUnavailableError if there is none: everything in it would look absent."""
        if self._api.get("exchanges", self._virtual_host, _NAMELESS) is None:
            raise BrokerUnavailableError(f"the broker has no virtual host {self._virtual_host!r}: check the URL's path")

    def queue(self, name: str) -> ObservedQueue | None:
        found = self._api.queue(self._virtual_host, name)
        return None if found is None else self._queue(found, policy=None)

    def exchange(self, name: str) -> ObservedExchange | None:
        found = self._api.get("exchanges", self._virtual_host, name)
        return None if found is None else self._exchange(found)

    def all_queues(self) -> Iterator[ObservedQueue]:
        # Without statistics it is cheap, and tells each policy at once, and nothing where there is none.
        for found in self._api.each("queues", self._virtual_host, disable_stats="true", enable_queue_totals="true"):
            yield self._queue(found, policy="")

    def all_exchanges(self) -> Iterator[ObservedExchange]:
        for found in self._api.each("exchanges", self._virtual_host):
            yield self._exchange(found)

    def bindings_of_queue(self, name: str) -> Iterator[ObservedBinding]:
        yield from self._bindings("queues", self._virtual_host, name, "bindings")

    def bindings_of_exchange(self, name: str) -> Iterator[ObservedBinding]:
        for end in ("source", "destination"):
            yield from self._bindings("exchanges", self._virtual_host, name, "bindings", end)

    def all_bindings(self) -> Iterator[ObservedBinding]:
        yield from self._bindings("bindings", self._virtual_host)

    def _bindings(self, *path: str) -> Iterator[ObservedBinding]:
        found = self._api.get(*path)
        if found is None:  # what was bound has gone meanwhile
            return
        if not isinstance(found, list):
            raise self._api.unexpected(*path)
        for binding in map(self._binding, found):
            if binding.source:
                yield binding

    def _queue(self, found: object, policy: str | None) -> ObservedQueue:
        """Return a queue. `policy`: what it means that none is told."""
        facts = self._facts(found, "queues", {"name": str, "durable": bool, "auto_delete": bool})
        arguments = _table(facts.get("arguments"))
        count, details = _count(facts, "consumers"), facts.get("consumer_details")
        if arguments.get(SINGLE_ACTIVE) is True and details and isinstance(details, list):
            count = len(details)  # RabbitMQ counts none of them, or the active one
        told = details if isinstance(details, list) and len(details) == count else None
        return ObservedQueue(
            name=facts["name"],
            type=_queue_type(facts),
            durable=facts["durable"],
            auto_delete=facts["auto_delete"],
            exclusive=_is_exclusive(facts),
            arguments=arguments,
            policy=facts["policy"] or "" if "policy" in facts else policy,
            operator_policy=facts["operator_policy"] or "" if "operator_policy" in facts else None,
            policy_definition=(
                _table(facts["effective_policy_definition"]) if "effective_policy_definition" in facts else None
            ),
            messages=_count(facts, "messages"),
            ready=_count(facts, "messages_ready"),
            unacknowledged=_count(facts, "messages_unacknowledged"),
            consumers=count,
            consumer_details=None if told is None else tuple(map(_consumer, told)),
        )

    def _exchange(self, found: object) -> ObservedExchange:
        kinds: dict[str, type] = {"name": str, "type": str, "durable": bool, "auto_delete": bool, "internal": bool}
        facts = self._facts(found, "exchanges", kinds)
        return ObservedExchange(
            **{name: facts[name] for name in kinds},
            arguments=_table(facts.get("arguments")),
            policy=facts.get("policy") or "",
        )

    def _binding(self, found: object) -> ObservedBinding:
        names = ("source", "destination", "destination_type", "routing_key", "properties_key")
        facts = self._facts(found, "bindings", dict.fromkeys(names, str))
        if facts["destination_type"] not in ("queue", "exchange"):
            raise self._api.unexpected("bindings", self._virtual_host)
        return ObservedBinding(**{name: facts[name] for name in names}, arguments=_table(facts.get("arguments")))

    def _facts(self, found: object, kind: str, needed: Mapping[str, type]) -> Mapping[str, Any]:
        if not isinstance(found, Mapping) or not all(isinstance(found.get(name), of) for name, of in needed.items()):
            raise self._api.unexpected(kind, self._virtual_host)
        return found


def _observed(
    virtual_host: str,
    exchanges: Iterable[ObservedExchange],
    queues: Iterable[ObservedQueue],
    bindings: Iterable[ObservedBinding],
) -> Observed:
    once = {  # a binding between two exchanges that were both asked for is told twice
        (each.source, each.destination_type, each.destination, each.routing_key, each.properties_key): each
        for each in bindings
    }
    return Observed(
        virtual_host,
        {exchange.name: exchange for exchange in exchanges},
        {queue.name: queue for queue in queues},
        tuple(once.values()),
    )


def _queue_type(facts: Mapping[str, Any]) -> str | None:
    told = facts.get("type") or _table(facts.get("arguments")).get("x-queue-type")
    return str(told).removeprefix("rabbit_").removesuffix("_queue") if told else None


def _is_exclusive(facts: Mapping[str, Any]) -> bool | None:
    told = facts.get("exclusive")
    if told is None:  # RabbitMQ 3.10 says so of a quorum queue in a list
        return False if _queue_type(facts) in ("quorum", "stream") else None
    return bool(told)


def _consumer(told: object) -> ObservedConsumer:
    facts = told if isinstance(told, Mapping) else {}
    channel = facts.get("channel_details")
    connection = channel.get("connection_name") if isinstance(channel, Mapping) else None
    return ObservedConsumer(str(facts.get("consumer_tag", "")), _table(facts.get("arguments")), connection)


def _count(facts: Mapping[str, Any], name: str) -> int | None:
    told = facts.get(name)
    return int(told) if isinstance(told, int | float) and not isinstance(told, bool) else None


def _table(told: object) -> Mapping[str, Any]:
    """Return a table. An empty one is also told as ``[]``, ``""`` or null; whole numbers also as floats."""
    if not isinstance(told, Mapping):
        return {}
    return {str(name): _value(value) for name, value in told.items()}


def _value(told: object) -> object:
    if isinstance(told, float) and told.is_integer():
        return int(told)
    if isinstance(told, Mapping):
        return {str(name): _value(value) for name, value in told.items()}
    return [_value(value) for value in told] if isinstance(told, list) else told

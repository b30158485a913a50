"""Topology: queues, the exchanges that feed them, and where a message goes, as frozen data.

Nothing here talks to a broker. A spec refuses, when it is built, what a broker would refuse, or accept and
silently ignore. A `Topology` refuses specs that do not fit together.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from taskroute.errors import TopologyError, UnknownExchangeError, UnknownQueueError
from taskroute.exported import exported_by
from taskroute.quoting import shorten, shorten_list, shown
from taskroute.suggestion import did_you_mean
from taskroute.topology.event_spec import AnyEvent
from taskroute.topology.exchange import ExchangeSpec, check_binding, sources_of
from taskroute.topology.queue import DEAD_SUFFIX, QueueSpec
from taskroute.topology.routing import (
    Destination,
    ExchangeNode,
    all_routing_keys,
    bind_all,
    binding_table,
    reachable_queues,
)
from taskroute.topology.spec import Spec, a_list


@exported_by("taskroute")
class Topology(Spec, frozen=True):
    """Exchanges and queues that belong together. Immutable, and checked when it is built.

    Args:
        exchanges: those that are bound by name alone, and alternate exchanges. Others come with the bindings and events
            that were made of their specs.
        queues: the queues of this service; wait and dead-letter queues come with them.
        retired: queues that are not declared any more, as specs or names: `taskroute prune` deletes them once they are
            empty. A queue that another one `replaces` is retired by that.
        events: what is published, for `Routes.check` and `Routes.explain`. A body is a Python type, so events are
            left out of JSON.

    Raises:
        TopologyError: a name declared twice with different specs, a reference to an exchange that is not
            there, a binding that its exchange's type ignores, a queue that is declared and retired.

    Example:
        >>> media = ExchangeSpec(name="media")
        >>> topology = Topology(queues=[QueueSpec(name="video", bindings=[media.bind("video.#")])])
        >>> topology.route("video.upload", exchange=media)
        frozenset({'video'})
    """

    _written: ClassVar[str] = "Topology(exchanges=[exchange], queues=[queue])"

    exchanges: Annotated[tuple[ExchangeSpec, ...], a_list("exchanges=[exchange]")] = ()
    queues: Annotated[tuple[QueueSpec, ...], a_list("queues=[queue]")] = ()
    retired: Annotated[
        tuple[Annotated[str | QueueSpec, Field(union_mode="left_to_right")], ...], a_list("retired=['orders']")
    ] = ()
    events: Annotated[SkipJsonSchema[tuple[AnyEvent, ...]], a_list("events=[event]"), Field(exclude=True)] = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            exchanges: Iterable[ExchangeSpec] = ...,
            queues: Iterable[QueueSpec] = ...,
            retired: Iterable[QueueSpec | str] = ...,
            events: Iterable[AnyEvent] = ...,
        ) -> None: ...

    def exchange(self, exchange: ExchangeSpec | str) -> ExchangeSpec:
        """Return the exchange of that name.

        Raises:
            UnknownExchangeError: the topology has none.
        """
        found = self._exchanges_by_name.get(str(exchange))
        if found is None:
            raise UnknownExchangeError(_unknown("exchange", exchange, self._exchanges_by_name))
        return found

    def queue(self, queue: QueueSpec | str) -> QueueSpec:
        """Return the queue of that name, a wait or dead-letter queue included.

        Raises:
            UnknownQueueError: the topology has none.
        """
        found = self._queues_by_name.get(str(queue))
        if found is None:
            raise UnknownQueueError(_unknown("queue", queue, self._queues_by_name))
        return found

    @property
    def all_queues(self) -> tuple[QueueSpec, ...]:
        """The queues and, after them, the wait and dead-letter queues that are declared with them."""
        return tuple(self._queues_by_name.values())

    @property
    def retired_names(self) -> frozenset[str]:
        """The names of the queues that are retired, those that others replace included."""
        return frozenset((*self._retired_by_name, *self._replacements))

    def replacement_of(self, queue: QueueSpec | str) -> str | None:
        """Return the name of the queue that replaces another one, None if none does."""
        return self._replacements.get(str(queue))

    @property
    def all_events(self) -> tuple[AnyEvent, ...]:
        """The events and, after them, those that queues are bound with."""
        bound = (binding.event for queue in self.queues for binding in queue.bindings)
        return tuple(dict.fromkeys((*self.events, *(event for event in bound if event is not None))))

    def route(
        self,
        routing_key: str,
        *,
        exchange: ExchangeSpec | str,
        headers: Mapping[str, object] | None = None,
    ) -> frozenset[str]:
        """Return the names of the queues that a message reaches. Pure, and exactly what RabbitMQ does.

        Exchange-to-exchange bindings, alternate exchanges and the headers ``CC`` and ``BCC`` are followed;
        ``exchange=""`` is the default exchange.

        Raises:
            UnknownExchangeError: the topology has no such exchange.
            TopologyError: an internal exchange, or a ``CC`` or ``BCC`` that is not a list of str.
        """
        headers = headers or {}
        try:
            keys = all_routing_keys(routing_key, headers)
        except ValueError as error:
            raise TopologyError(f"message {shorten(routing_key)}: {error}") from None
        if str(exchange) == "":
            return frozenset(key for key in keys if key in self._queues_by_name)
        source = self.exchange(exchange)
        if source.internal:
            raise TopologyError(f"exchange {source.name!r} is internal: nobody can publish to it")
        return frozenset(reachable_queues(source.name, keys, headers, self._nodes))

    def __or__(self, other: "Topology") -> "Topology":
        """Merge both. A name that both declare must have the same spec on both sides."""
        return Topology(
            exchanges=_merged("exchange", self.exchanges + other.exchanges),
            queues=_merged("queue", self.queues + other.queues),
            retired=_retired(self.retired + other.retired),
            events=tuple(dict.fromkeys(self.events + other.events)),
        )

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        self._take_exchanges()
        _merged("queue", self.queues)
        self._check_alternate_exchanges()
        self._check_bindings()
        self._check_events()
        _ = self._queues_by_name  # refuses a queue under the name of another one's wait queue
        self._check_retired()
        return self

    def _take_exchanges(self) -> None:
        """Add the exchanges that bindings and events were made of, before anybody has seen it.

        What is listed counts, also where a binding was made of another spec: it names the exchange then.
        """
        targets: tuple[ExchangeSpec | QueueSpec, ...] = (*self.exchanges, *self.queues)
        listed = {exchange.name for exchange in _merged("exchange", self.exchanges)}
        bound = sources_of(binding for target in targets for binding in target.bindings)
        published = (event.exchange for event in self.events if isinstance(event.exchange, ExchangeSpec))
        found = [exchange for exchange in (*bound, *published) if exchange.name not in listed]
        if found:
            self.__dict__["exchanges"] = (*self.exchanges, *_merged("exchange", found))
            self.model_fields_set.add("exchanges")

    def _check_alternate_exchanges(self) -> None:
        known = self._exchanges_by_name
        for exchange in self.exchanges:
            if exchange.alternate_exchange is not None and exchange.alternate_exchange not in known:
                where = f"exchange {exchange.name!r}: alternate_exchange"
                raise TopologyError(f"{where}: {_unknown('exchange', exchange.alternate_exchange, known)}")

    def _check_bindings(self) -> None:
        known = self._exchanges_by_name
        targets: tuple[ExchangeSpec | QueueSpec, ...] = (*self.exchanges, *self.queues)
        for target in targets:
            for binding in target.bindings:
                if binding.exchange not in known:
                    where = f"{type(target).__name__} {target.name!r}: bindings"
                    raise TopologyError(f"{where}: {_unknown('exchange', binding.exchange, known)}")
                check_binding(known[binding.exchange], binding)

    def _check_events(self) -> None:
        for event in self.events:
            name = str(event.exchange)
            if name not in ("", *self._exchanges_by_name):
                raise TopologyError(f"{event}: exchange: {_unknown('exchange', name, self._exchanges_by_name)}")
            if name and self._exchanges_by_name[name].internal:
                raise TopologyError(f"{event}: exchange: {name!r} is internal: nobody can publish to it")
        specs = tuple(event.exchange for event in self.events if isinstance(event.exchange, ExchangeSpec))
        _merged("exchange", self.exchanges + specs)

    def _check_retired(self) -> None:
        for name, spec in self._retired_by_name.items():
            if name in self._queues_by_name:
                raise TopologyError(f"queue {name!r} is declared and retired: leave it out of queues= or of retired=")
            if spec.passive:
                raise TopologyError(f"retired queue {name!r} is passive: someone else owns it; leave it out")
        for queue in self.queues:
            self._check_replaced(queue)

    def _check_replaced(self, queue: QueueSpec) -> None:
        name = queue.replaces
        if name is None:
            return
        where = f"QueueSpec {queue.name!r}: replaces"
        if name in self._queues_by_name:
            raise TopologyError(f"{where}: queue {name!r} is declared too: leave one out")
        if (other := self._replacements[name]) != queue.name:
            raise TopologyError(f"{where}: queue {name!r} is replaced by {other!r} already: one can take its place")
        known = self._retired_by_name.get(name)
        if known is not None and (known.queue_type == "stream" or known.exclusive):
            kind = "a stream" if known.queue_type == "stream" else "exclusive"
            raise TopologyError(f"{where}: queue {name!r} is {kind}, which no worker can empty; leave replaces out")

    @cached_property
    def _retired_by_name(self) -> Mapping[str, QueueSpec]:
        return {spec.name: spec for spec in map(_spec_of_retired, _retired(self.retired))}

    @cached_property
    def _replacements(self) -> Mapping[str, str]:
        """By the name of the queue that is replaced; the first one counts, and a second one is refused."""
        return {queue.replaces: queue.name for queue in reversed(self.queues) if queue.replaces is not None}

    @cached_property
    def _exchanges_by_name(self) -> Mapping[str, ExchangeSpec]:
        return {exchange.name: exchange for exchange in self.exchanges}

    @cached_property
    def _queues_by_name(self) -> Mapping[str, QueueSpec]:
        queues = {queue.name: queue for queue in self.queues}
        for queue in self.queues:
            for helper in queue.helper_queues():
                declared = queues.setdefault(helper.name, helper)
                if declared != helper and not _may_stand_in(declared, helper):
                    raise TopologyError(
                        f"queue {helper.name!r} is also the wait queue of {queue.name!r}: "
                        f"rename it, or change the delay"
                    )
        return queues

    @cached_property
    def _nodes(self) -> Mapping[str, ExchangeNode]:
        nodes = {
            exchange.name: ExchangeNode(binding_table(exchange.type), exchange.alternate_exchange)
            for exchange in self.exchanges
        }
        for exchange in self.exchanges:
            bind_all(nodes, Destination("exchange", exchange.name), exchange.bindings)
        for queue in self.queues:
            bind_all(nodes, Destination("queue", queue.name), queue.bindings)
        return nodes


def predecessor(queue: QueueSpec, topology: Topology) -> QueueSpec | None:
    """Return the queue that another one replaces, as far as it is known: passive, without retries of its own."""
    name = queue.replaces
    if name is None:
        return None
    known = topology._retired_by_name.get(name) or QueueSpec(name=name)
    return QueueSpec(
        name=name,
        type=known.queue_type,
        single_active_consumer=known.single_active_consumer,
        retry=False,
        dead_letter=False,
        passive=True,
    )


def _retired(given: Iterable[QueueSpec | str]) -> tuple[QueueSpec | str, ...]:
    """Return each once; a spec says more than its name."""
    given = tuple(given)
    specs = _merged("retired queue", [each for each in given if isinstance(each, QueueSpec)])
    known = {spec.name for spec in specs}
    return (*specs, *dict.fromkeys(each for each in given if isinstance(each, str) and each not in known))


def _spec_of_retired(queue: QueueSpec | str) -> QueueSpec:
    try:
        return queue if isinstance(queue, QueueSpec) else QueueSpec(name=queue)
    except TopologyError as error:
        raise TopologyError(f"retired: {error}") from None


def _may_stand_in(declared: QueueSpec, helper: QueueSpec) -> bool:
    # A topology may declare a default dead-letter queue itself, with other limits, but never a wait queue.
    return helper.name.endswith(DEAD_SUFFIX) and helper.message_ttl is None and declared.queue_type != "stream"


def _merged(kind: str, specs: Iterable[Any]) -> tuple[Any, ...]:
    by_name: dict[str, Any] = {}
    for spec in specs:
        known = by_name.setdefault(spec.name, spec)
        if known != spec:
            fields = [name for name in type(spec).model_fields if getattr(known, name) != getattr(spec, name)]
            raise TopologyError(
                f"{kind} {spec.name!r} is declared twice, and differs in {', '.join(fields)}: declare it once"
            )
    return tuple(by_name.values())


def _unknown(kind: str, asked: object, known: Iterable[str]) -> str:
    if not isinstance(asked, str | ExchangeSpec | QueueSpec):
        return f"{shown(asked)} is no {kind}: pass one spec, or its name"
    name, names = str(asked), sorted(known)
    what = f"the topology has no {kind} {name!r}"
    if near := did_you_mean(name, names):
        return f"{what}; {near} Or add its spec to {kind}s="
    it_has = shorten_list(", ".join(map(repr, names)) or "none")
    return f"{what} (it has {it_has}): add its spec to {kind}s="

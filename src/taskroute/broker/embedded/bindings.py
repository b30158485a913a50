"""Bindings: the exchanges of a broker, and the bindings from them."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from taskroute.broker.embedded.refusal import (
    ACCESS_REFUSED,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    Refusal,
)
from taskroute.broker.embedded.rules import Rules
from taskroute.topology.routing import (
    PREDECLARED,
    BindingTable,
    Destination,
    ExchangeType,
    binding_identity,
    binding_table,
    reachable_queues,
)

_INTERNAL: Final = "amq.rabbitmq.trace"
_DEFAULT: Final = ""
_KNOWN_ROUTES: Final = 1024
"""Routes kept at most. Most messages have one of a few keys, and the walk would be a quarter of the publishing."""

_MATCHES: Final = ("all", "any", "all-with-x", "any-with-x")


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding. Two that differ in any field are two bindings; in the arguments RabbitMQ tells True from 1."""

    source: str
    destination: Destination
    key: str
    identity: str
    arguments: Mapping[str, object] = field(compare=False)

    @classmethod
    def of(cls, source: str, destination: Destination, key: str, arguments: Mapping[str, object]) -> Binding:
        """Return a binding whose arguments count in comparisons, by their `identity`."""
        return cls(source, destination, key, binding_identity(arguments), arguments)


@dataclass(slots=True)
class Exchange:
    """An exchange with its bindings."""

    name: str
    type: ExchangeType
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: Mapping[str, object]
    table: BindingTable
    bindings: set[Binding] = field(default_factory=set)

    @property
    def alternate(self) -> str | None:
        """The exchange that takes the messages that no binding matches."""
        name = self.arguments.get("alternate-exchange")
        return name if isinstance(name, str) else None


class Bindings:
    """Exchanges by name, and the bindings from them. Not synchronized: the broker's lock is held around every call.

    Args:
        rules: of the version that the broker follows.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._exchanges: dict[str, Exchange] = {}
        self._to: dict[Destination, set[Binding]] = {}
        self._reached: dict[tuple[str, tuple[str, ...]], AbstractSet[str]] = {}  # by `queues`, until a change
        self.clear()

    def clear(self) -> None:
        """Delete everything but the exchanges that every broker has."""
        self._exchanges.clear()
        self._to.clear()
        self._reached.clear()
        for name, exchange_type in PREDECLARED.items():
            self._exchanges[name] = Exchange(
                name, exchange_type, True, False, name == _INTERNAL, {}, self._table(exchange_type)
            )

    def declare(
        self,
        name: str,
        exchange_type: str,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Mapping[str, object],
    ) -> None:
        """Create an exchange, or check that it is as declared.

        Raises:
            Refusal: 406, 503 or 540, an unknown type; 403, a reserved name; 406, it exists and differs.
        """
        if name == _DEFAULT:
            raise Refusal(ACCESS_REFUSED, "operation not permitted on the default exchange")
        kind = self._known_type(name, exchange_type)
        if not isinstance(arguments.get("alternate-exchange", ""), str):
            raise Refusal(PRECONDITION_FAILED, f"invalid arg 'alternate-exchange' for exchange '{name}': not a string")
        asked = Exchange(name, kind, durable, auto_delete, internal, arguments, self._table(kind))
        existing = self._exchanges.get(name)
        if existing is not None:
            _check_same(existing, asked)
        elif name.startswith("amq."):
            raise Refusal(ACCESS_REFUSED, f"exchange name '{name}' contains reserved prefix 'amq.*'")
        else:
            self._exchanges[name] = asked
            self._reached.clear()

    def exchange(self, name: str) -> Exchange:
        """Return an exchange.

        Raises:
            Refusal: 404, it does not exist.
        """
        found = self._exchanges.get(name)
        if found is None:
            raise Refusal(NOT_FOUND, f"no exchange '{name}' in vhost '/'")
        return found

    def delete(self, name: str, *, if_unused: bool) -> None:
        """Delete an exchange and every binding from and to it. One that does not exist is no error.

        Raises:
            Refusal: 403, it is one of the broker's own; 406, it is in use.
        """
        if name == _DEFAULT or name.startswith("amq."):
            raise Refusal(ACCESS_REFUSED, f"operation not permitted on exchange '{name}'")
        exchange = self._exchanges.get(name)
        if exchange is None:
            return
        if if_unused and exchange.bindings:
            raise Refusal(PRECONDITION_FAILED, f"exchange '{name}' in use")
        for binding in tuple(exchange.bindings):
            self._remove(binding)
        self._exchanges.pop(name, None)
        self._reached.clear()
        self.forget(Destination("exchange", name))

    def check_source(self, binding: Binding) -> None:
        """Refuse a binding without a source, before its destination is looked at.

        Raises:
            Refusal: 404, the exchange does not exist; 403, the default exchange.
        """
        _check_not_default(binding)
        self.exchange(binding.source)

    def check(self, binding: Binding) -> None:
        """Refuse a binding, before it is looked at whose its destination is.

        Raises:
            Refusal: 404, an exchange does not exist; 403, the default exchange; 406, an unknown ``x-match``, or more
                ``#`` than the version takes.
        """
        source = self._source(binding)
        if source.type == "topic":
            self._check_hashes(binding.key)
        match = binding.arguments.get("x-match", "all")
        if source.type == "headers" and match not in _MATCHES:
            raise Refusal(PRECONDITION_FAILED, f"invalid x-match field value {match!r}; expected {', '.join(_MATCHES)}")

    def bind(self, binding: Binding) -> None:
        """Add a binding that was checked; adding it again changes nothing."""
        source = self._source(binding)
        source.table.add(binding.destination, binding.key, binding.arguments)
        source.bindings.add(binding)
        self._reached.clear()
        self._to.setdefault(binding.destination, set()).add(binding)

    def has(self, binding: Binding) -> bool:
        """Return whether there is such a binding.

        Raises:
            Refusal: 403, the default exchange.
        """
        _check_not_default(binding)
        source = self._exchanges.get(binding.source)
        return source is not None and binding in source.bindings

    def unbind(self, binding: Binding) -> None:
        """Remove a binding. One that does not exist is no error."""
        if self.has(binding):
            self._remove(binding)

    def forget(self, destination: Destination) -> None:
        """Remove every binding to a destination that is deleted."""
        for binding in self._to.pop(destination, ()):
            self._remove(binding)

    def queues(self, exchange: str, keys: tuple[str, ...], headers: Mapping[str, object]) -> AbstractSet[str]:
        """Return the names of the queues that a message to an exchange, not the default one, reaches."""
        if headers:  # they may decide the route, and nearly every message has headers of its own
            return reachable_queues(exchange, keys, headers, self._exchanges)
        known = self._reached.get((exchange, keys))
        if known is not None:
            return known
        if len(self._reached) == _KNOWN_ROUTES:
            self._reached.clear()
        reached = self._reached[exchange, keys] = reachable_queues(exchange, keys, headers, self._exchanges)
        return reached

    def _known_type(self, name: str, exchange_type: str) -> ExchangeType:
        for known in PREDECLARED.values():
            if exchange_type == known:
                return known
        if exchange_type.startswith("x-"):
            problem = f"the embedded broker has no exchanges of type '{exchange_type}' ('{name}')"
            raise Refusal(NOT_IMPLEMENTED, problem)
        raise Refusal(self._rules.unknown_exchange_type, f"unknown exchange type '{exchange_type}'")

    def _table(self, exchange_type: ExchangeType) -> BindingTable:
        return binding_table(exchange_type, tells_number_types=self._rules.tells_number_types)

    def _check_hashes(self, key: str) -> None:
        most = self._rules.most_hashes
        if most is not None and key.split(".").count("#") > most:
            raise Refusal(PRECONDITION_FAILED, f"the binding key '{key}' has more than {most} wildcards '#'")

    def _source(self, binding: Binding) -> Exchange:
        _check_not_default(binding)
        kind, name = binding.destination
        if kind == "exchange":
            self.exchange(name)
        return self.exchange(binding.source)

    def _remove(self, binding: Binding) -> None:
        source = self._exchanges[binding.source]
        source.table.discard(binding.destination, binding.key, binding.arguments)
        source.bindings.discard(binding)
        self._reached.clear()
        self._to.get(binding.destination, set()).discard(binding)
        if source.auto_delete and not source.bindings:
            del self._exchanges[binding.source]
            self.forget(Destination("exchange", binding.source))


def _check_not_default(binding: Binding) -> None:
    if _DEFAULT in (binding.source, binding.destination.name):
        raise Refusal(ACCESS_REFUSED, "operation not permitted on the default exchange")


def _check_same(existing: Exchange, asked: Exchange) -> None:
    for name in ("type", "durable", "auto_delete", "internal", "alternate"):
        has, wants = getattr(existing, name), getattr(asked, name)
        if has != wants:
            shown = "alternate-exchange" if name == "alternate" else name
            raise Refusal(
                PRECONDITION_FAILED,
                f"inequivalent arg '{shown}' for exchange '{existing.name}' in vhost '/': "
                f"received '{wants}' but current is '{has}'",
            )

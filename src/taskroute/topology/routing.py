"""RabbitMQ's rules of routing: a table for each exchange type, and the walk from exchange to queues.

`Topology.route` and the embedded broker route by it. `graph` asks other questions by the same rules: through which
bindings (`explain`), and by which keys at all (`reachability`).
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple, Protocol

from taskroute.keys.matcher import Matcher

ExchangeType = Literal["topic", "direct", "fanout", "headers"]

PREDECLARED: Final[Mapping[str, ExchangeType]] = {
    "amq.direct": "direct",
    "amq.topic": "topic",
    "amq.fanout": "fanout",
    "amq.headers": "headers",
    "amq.match": "headers",
    "amq.rabbitmq.trace": "topic",
}
"""The exchanges that every broker has. Plug-ins bring more."""


class Destination(NamedTuple):
    """What a binding leads to."""

    kind: Literal["queue", "exchange"]
    name: str


class BindingTable(Protocol):
    """The bindings of one exchange. A binding is its destination, binding key and arguments together.

    Not synchronized.
    """

    def add(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """Add a binding. Adding it again changes nothing."""

    def discard(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """Remove a binding, if it is there."""

    def destinations(self, routing_keys: Iterable[str], headers: Mapping[str, object]) -> set[Destination]:
        """Return where a message with these routing keys (`CC` and `BCC` included) and headers goes."""


class TopicTable:
    """Topic: binding keys with wildcards."""

    def __init__(self) -> None:
        self._matcher: Matcher[tuple[Destination, str]] = Matcher()

    def add(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """File the destination under its binding key."""
        self._matcher.add(binding_key, (destination, binding_identity(arguments)))

    def discard(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """Remove it from there."""
        self._matcher.discard(binding_key, (destination, binding_identity(arguments)))

    def destinations(self, routing_keys: Iterable[str], headers: Mapping[str, object]) -> set[Destination]:  # noqa: ARG002
        """Return the destinations of every binding key that matches one of the routing keys."""
        return {destination for key in routing_keys for destination, _ in self._matcher.matches(key)}


class DirectTable:
    """Direct: binding keys compared as they are."""

    def __init__(self) -> None:
        self._bindings: dict[str, set[tuple[Destination, str]]] = {}

    def add(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """File the destination under its binding key."""
        self._bindings.setdefault(binding_key, set()).add((destination, binding_identity(arguments)))

    def discard(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """Remove it from there."""
        bindings = self._bindings.get(binding_key, set())
        bindings.discard((destination, binding_identity(arguments)))
        if not bindings:
            self._bindings.pop(binding_key, None)

    def destinations(self, routing_keys: Iterable[str], headers: Mapping[str, object]) -> set[Destination]:  # noqa: ARG002
        """Return the destinations filed under a binding key that equals one of the routing keys."""
        return {destination for key in routing_keys for destination, _ in self._bindings.get(key, ())}


class _ListTable:
    def __init__(self) -> None:
        self._bindings: dict[tuple[Destination, str, str], Mapping[str, object]] = {}

    def add(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """Add the binding."""
        self._bindings[destination, binding_key, binding_identity(arguments)] = arguments

    def discard(self, destination: Destination, binding_key: str, arguments: Mapping[str, object]) -> None:
        """Remove the binding."""
        self._bindings.pop((destination, binding_key, binding_identity(arguments)), None)


class FanoutTable(_ListTable):
    """Fanout: every destination, always."""

    def destinations(self, routing_keys: Iterable[str], headers: Mapping[str, object]) -> set[Destination]:  # noqa: ARG002
        """Return every destination."""
        return {destination for destination, _, _ in self._bindings}


class HeadersTable(_ListTable):
    """Headers: header values, by `headers_match`."""

    def __init__(self, *, tells_number_types: bool = False) -> None:
        super().__init__()
        self._tells_number_types = tells_number_types

    def destinations(self, routing_keys: Iterable[str], headers: Mapping[str, object]) -> set[Destination]:  # noqa: ARG002
        """Return the destinations of the bindings whose arguments match the headers."""
        tells = self._tells_number_types
        matching = (key for key, wanted in self._bindings.items() if headers_match(wanted, headers, tells))
        return {destination for destination, _, _ in matching}


def binding_identity(arguments: Mapping[str, object]) -> str:
    """Return a hashable value that only the same arguments have: bindings that differ in them are different bindings.

    Arguments are not compared with `==`, for which True equals 1: a broker keeps the two apart.
    """
    return repr(sorted(arguments.items()))


_TABLES: Mapping[str, type[TopicTable | DirectTable | FanoutTable]] = {
    "topic": TopicTable,
    "direct": DirectTable,
    "fanout": FanoutTable,
}


def binding_table(exchange_type: ExchangeType, *, tells_number_types: bool = False) -> BindingTable:
    """Return an empty table for an exchange of this type. For `tells_number_types` see `headers_match`."""
    if exchange_type == "headers":
        return HeadersTable(tells_number_types=tells_number_types)
    return _TABLES[exchange_type]()


def headers_match(
    arguments: Mapping[str, object],
    headers: Mapping[str, object],
    tells_number_types: bool = False,
) -> bool:
    """Return whether a message's headers match a binding of a headers exchange.

    RabbitMQ's rules: names that start with ``x-`` do not count, unless ``x-match`` is ``all-with-x`` or
    ``any-with-x`` (``x-match`` itself never does); an empty set matches everything with ``all`` and nothing with
    ``any``; a None requires presence only; a bool never equals a number. Of other values the AMQP type does not count:
    bytes equal a text, a moment equals its seconds, an empty list an empty table; inside lists and tables it counts.
    RabbitMQ 4 `tells_number_types`: ``1`` is not ``1.0``, and a moment among the headers is one of milliseconds, which
    does not equal its like in a binding.

    >>> headers_match({"x-match": "any", "format": "pdf", "type": "log"}, {"format": "pdf"})
    True
    """
    kind = arguments.get("x-match", "all")
    with_x = kind in ("all-with-x", "any-with-x")
    tests = (
        name in headers and _equal(value, headers[name], tells_number_types)
        for name, value in arguments.items()
        if name != "x-match" and (with_x or not name.startswith("x-"))
    )
    return any(tests) if kind in ("any", "any-with-x") else all(tests)


def _equal(wanted: object, actual: object, tells_number_types: bool) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, bool) or isinstance(actual, bool):
        return wanted is actual
    mine, other = _term(wanted), _term(actual)
    if tells_number_types and isinstance(actual, datetime):
        other = timegm(actual.utctimetuple()) * 1000
    return mine == other and not (tells_number_types and isinstance(mine, float) != isinstance(other, float))


def _term(value: object) -> object:
    """Return what RabbitMQ compares of a value: its Erlang term, in which a value stands without its AMQP type."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, datetime):
        return timegm(value.utctimetuple())
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        return (exponent, sign, *digits)
    if isinstance(value, Mapping):
        return [(name, *_typed(item)) for name, item in value.items()]
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    return value


def _typed(value: object) -> tuple[int, object]:
    """Return the type and the term of a value inside a list or a table."""
    return next((at for at, kind in enumerate(_TYPES) if isinstance(value, kind)), len(_TYPES)), _term(value)


_TYPES: Final[Sequence[type | tuple[type, ...]]] = (
    bool,
    int,
    float,
    str,
    bytes,
    Decimal,
    datetime,
    Mapping,
    (list, tuple),
)
"""The types of AMQP's tables in Python, a number for each; bool first, as it is an int as well."""


class RoutedExchange(Protocol):
    """What the walk reads of an exchange."""

    @property
    def table(self) -> BindingTable:
        """Its bindings."""

    @property
    def alternate(self) -> str | None:
        """The exchange that takes messages which match none of its bindings."""


class ExchangeNode(NamedTuple):
    """An exchange of a topology as the walk sees it."""

    table: BindingTable
    alternate: str | None


class _Binding(Protocol):
    """What `bind_all` reads of a `BindingSpec`."""

    @property
    def exchange(self) -> str: ...
    @property
    def binding_key(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, object]: ...


def bind_all(nodes: Mapping[str, RoutedExchange], destination: Destination, bindings: Iterable[_Binding]) -> None:
    """Add each binding to the table of its source exchange."""
    for binding in bindings:
        nodes[binding.exchange].table.add(destination, binding.binding_key, binding.arguments)


def reachable_queues(
    exchange: str,
    routing_keys: Iterable[str],
    headers: Mapping[str, object],
    exchanges: Mapping[str, RoutedExchange],
) -> set[str]:
    """Return the names of the queues that a message published to `exchange` reaches, as the broker walks.

    Each exchange is visited once, so cycles end. An exchange none of whose bindings match passes the message to its
    alternate exchange. An exchange that does not exist is skipped.
    """
    keys = tuple(routing_keys)
    queues: set[str] = set()
    seen = {exchange}
    pending = [exchange]
    while pending:
        current = exchanges.get(pending.pop())
        if current is None:
            continue
        found = current.table.destinations(keys, headers)
        if not found and current.alternate is not None:
            found = {Destination("exchange", current.alternate)}
        for kind, name in found:
            if kind == "queue":
                queues.add(name)
            elif name not in seen:
                seen.add(name)
                pending.append(name)
    return queues


def all_routing_keys(routing_key: str, headers: Mapping[str, object]) -> tuple[str, ...]:
    """Return the message's routing key and those of its ``CC`` and ``BCC`` headers.

    Raises:
        ValueError: ``CC`` or ``BCC`` is not a list of str, for which the broker closes the channel (406).
    """
    keys = [routing_key]
    for name in ("CC", "BCC"):
        if name not in headers:
            continue
        extra = headers[name]
        if not isinstance(extra, list | tuple) or not all(isinstance(key, str) for key in extra):
            raise ValueError(f"the header {name} is a list of routing keys (str)")
        keys += extra
    return tuple(keys)

"""ExchangeSpec and BindingSpec: exchanges and what is bound to them, as frozen data.

A spec refuses, when it is built, whatever a broker would refuse or accept and silently ignore.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from taskroute.errors import PatternError, TopologyError
from taskroute.exported import exported_by
from taskroute.keys.pattern import RoutingPattern
from taskroute.keys.short_string import key_problem
from taskroute.topology.routing import PREDECLARED, ExchangeType
from taskroute.topology.spec import Spec, Table, Value, a_list

Match = Literal["all", "any", "all-with-x", "any-with-x"]

_KNOWN_TYPES: Final[Mapping[str, ExchangeType]] = {
    **PREDECLARED,
    "amq.rabbitmq.log": "topic",
    "amq.rabbitmq.event": "topic",
}
"""Types of the exchanges that a broker declares itself, those of its plug-ins included."""


def _name_of(value: object) -> object:
    return value.name if isinstance(value, ExchangeSpec) else value


@exported_by("taskroute")
class BindingSpec(Spec, frozen=True):
    """A binding from an exchange. Made by `ExchangeSpec.bind`, which checks it against the exchange's type.

    Args:
        exchange: name of the source exchange.
        binding_key: for topic and direct exchanges.
        headers: for headers exchanges: values that the message's headers must equal.
        match: whether ``all`` or ``any`` of them must; names that start with ``x-`` count only with ``all-with-x``
            and ``any-with-x``.
    """

    _written: ClassVar[str] = "bindings=[exchange.bind('a.#')]"

    exchange: str
    binding_key: str = ""
    headers: Table = Field(default_factory=dict, validate_default=True)
    match: Match = "all"

    _source: "ExchangeSpec | None" = PrivateAttr(default=None)
    _event: Any = PrivateAttr(default=None)

    def __hash__(self) -> int:
        return hash((self.exchange, self.binding_key))

    def __eq__(self, other: object) -> bool:  # where it comes from does not count
        if not isinstance(other, BindingSpec):
            return NotImplemented
        mine, theirs = ((each.exchange, each.binding_key, each.headers, each.match) for each in (self, other))
        return mine == theirs

    def __reduce__(self) -> tuple[Any, ...]:
        made_again, arguments = super().__reduce__()
        return _bound_again, (made_again, arguments, self._source)

    @property
    def source(self) -> "ExchangeSpec | None":
        """The exchange, where it was bound by its spec: a `Topology` takes it from here."""
        return self._source

    @property
    def event(self) -> Any:
        """The `EventSpec` that this binding stands for, None for no event."""
        return self._event

    def by_name(self) -> "BindingSpec":
        """Return the same binding of an exchange that is known by its name alone."""
        return BindingSpec(
            exchange=self.exchange, binding_key=self.binding_key, headers=dict(self.headers), match=self.match
        )

    @property
    def arguments(self) -> Mapping[str, Value]:
        """The binding's arguments as the broker takes them."""
        return {**self.headers, "x-match": self.match} if self.headers else {}

    def _problems(self) -> Iterator[str]:
        if problem := key_problem(self.binding_key, "binding key"):
            yield f"binding_key: {problem}"
        hidden = sorted(name for name in self.headers if name.startswith("x-"))
        if "x-match" in self.headers:
            yield "headers: x-match is the argument match="
        elif hidden and not self.match.endswith("-with-x"):
            yield (
                f"headers: the broker ignores names that start with x- ({', '.join(hidden)}) "
                f"with match={self.match!r}; use match='{self.match}-with-x'"
            )
        if not self.headers and self.match.startswith("any"):
            yield "match: 'any' with no headers matches no message at all; use 'all' to match every message"


@exported_by("taskroute")
class ExchangeSpec(Spec, frozen=True):
    """An exchange.

    Args:
        name: exchanges named ``amq.*`` are the broker's own and always passive.
        type: how it chooses destinations: ``topic`` by the words of the routing key, ``direct`` by the whole key,
            ``fanout`` all of them, ``headers`` by the message's headers.
        durable: survives a restart of the broker.
        auto_delete: the broker deletes it with its last binding.
        internal: takes messages from other exchanges only.
        alternate_exchange: the exchange (spec or name) that takes messages which match none of its bindings.
        bindings: from other exchanges to this one.
        passive: someone else owns it. It must exist, and is never created or changed.
        arguments: further arguments that have no field here.

    Raises:
        TopologyError: what the broker would refuse or ignore, with the field and the way out.

    Example:
        >>> media = ExchangeSpec(name="media_exchange", type="topic")
        >>> media.bind("video.#").binding_key
        'video.#'
    """

    _written: ClassVar[str] = "exchanges=[ExchangeSpec(name='x')]"

    name: str
    type: ExchangeType = "topic"
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    alternate_exchange: Annotated[str | None, BeforeValidator(_name_of)] = None
    bindings: Annotated[tuple[BindingSpec, ...], a_list("bindings=[exchange.bind('a.#')]")] = ()
    passive: bool = False
    arguments: Table = Field(default_factory=dict, validate_default=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str,
            type: ExchangeType = ...,  # noqa: A002 - AMQP's name for it
            durable: bool = ...,
            auto_delete: bool = ...,
            internal: bool = ...,
            alternate_exchange: "ExchangeSpec | str | None" = ...,
            bindings: Iterable[BindingSpec] = ...,
            passive: bool = ...,
            arguments: Mapping[str, Value] = ...,
        ) -> None: ...

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(("exchange", self.name))

    def bind(
        self,
        binding_key: str | RoutingPattern = "",
        *,
        headers: Mapping[str, str | int | bool] | None = None,
        match: Match = "all",
    ) -> BindingSpec:
        """Return a binding from this exchange, for a queue's or another exchange's `bindings`.

        Raises:
            TopologyError: something that an exchange of this type ignores, for example a binding key of a fanout, or a
                wildcard glued to text, which the broker takes literally.
        """
        key = binding_key.binding_key if isinstance(binding_key, RoutingPattern) else binding_key
        binding = BindingSpec(exchange=self.name, binding_key=key, headers=headers or {}, match=match)
        check_binding(self, binding)
        binding._source = self
        return binding

    @property
    def broker_arguments(self) -> Mapping[str, Value]:
        """The arguments of the declaration."""
        if self.alternate_exchange is None:
            return self.arguments
        return {**self.arguments, "alternate-exchange": self.alternate_exchange}

    @model_validator(mode="before")
    @classmethod
    def _predeclared_are_passive(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and str(data.get("name", "")).startswith("amq."):
            own_type = _KNOWN_TYPES.get(str(data["name"]))
            return {**({"type": own_type} if own_type else {}), **data, "passive": True}
        return data

    def _problems(self) -> Iterator[str]:
        if problem := key_problem(self.name, "name"):
            yield f"name: {problem}"
        if self.name == "":
            yield "name: the default exchange needs no spec; publish with exchange=''"
        own_type = _KNOWN_TYPES.get(self.name)
        if own_type not in (None, self.type):
            yield f"type: the broker's own {self.name} is {own_type}, not {self.type}"
        if self.alternate_exchange == "":
            yield "alternate_exchange: the default exchange cannot be one; name an exchange"
        if "alternate-exchange" in self.arguments:
            yield "arguments: alternate-exchange is the field alternate_exchange"


def _bound_again(made_again: Callable[..., BindingSpec], arguments: Any, source: ExchangeSpec | None) -> BindingSpec:
    binding = made_again(*arguments)
    binding._source = source
    return binding


def bound_by(event: object, binding: BindingSpec) -> BindingSpec:
    """Have a binding that was just made say which event it stands for."""
    binding._event = event
    return binding


def sources_of(bindings: Iterable[BindingSpec]) -> Iterator[ExchangeSpec]:
    """Yield the exchanges that bindings were made by, and those that these are bound to in turn, each spec once."""
    waiting, known = list(bindings)[::-1], set[int]()
    while waiting:
        source = waiting.pop().source
        if source is not None and id(source) not in known:
            known.add(id(source))
            yield source
            waiting += source.bindings[::-1]


def check_binding(source: ExchangeSpec, binding: BindingSpec) -> None:
    """Raise TopologyError for a binding that an exchange of this type ignores or understands differently."""
    subject = f"binding {binding.binding_key!r} from the {source.type} exchange {source.name!r}"
    if binding.headers and source.type != "headers":
        raise TopologyError(f"{subject}: headers: only a headers exchange looks at them; leave them out")
    if binding.binding_key and source.type in ("fanout", "headers"):
        raise TopologyError(f"{subject}: binding_key: a {source.type} exchange ignores it; leave it out")
    if source.type == "topic":
        _check_topic_key(subject, binding.binding_key)


def _check_topic_key(subject: str, binding_key: str) -> None:
    try:
        pattern = RoutingPattern(binding_key)
    except PatternError as error:
        raise TopologyError(f"{subject}: binding_key: {error}") from None
    if pattern.capture_names:
        raise TopologyError(
            f"{subject}: binding_key: the broker knows no captures; "
            f"bind {pattern.binding_key!r}, or pass RoutingPattern({binding_key!r})"
        )

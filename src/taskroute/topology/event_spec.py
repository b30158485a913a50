"""EventSpec and Event: what is published under which keys, declared once for both sides."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Generic, TypeVar, Union, get_origin

from pydantic import BaseModel, BeforeValidator, Field, SkipValidation, TypeAdapter, ValidationError

from taskroute.errors import MessageInvalidError, TopologyError
from taskroute.exported import exported_by
from taskroute.keys.automaton import ANY_WORDS, ONE_WORD
from taskroute.keys.pattern import RoutingPattern
from taskroute.keys.short_string import key_problem
from taskroute.message import content
from taskroute.message.json_body import JsonType
from taskroute.quoting import cut, type_name
from taskroute.topology.exchange import BindingSpec, ExchangeSpec, bound_by
from taskroute.topology.spec import Spec, describe_fields

if TYPE_CHECKING:
    from typing import _SpecialForm

Body = TypeVar("Body")


_JOINED: Final = (Union, UnionType, Annotated)
"""What has a name that says nothing of its parts, if any."""


class _Bare(str):
    """Text whose `repr` is the text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _parsed(pattern: object) -> object:
    return RoutingPattern(pattern) if isinstance(pattern, str) else pattern


@exported_by("taskroute")
class EventSpec(Spec, Generic[Body], frozen=True):
    """What is published under which keys: one object for both sides.

    Publishers call it, queues are bound with it, handlers are registered for it, and with
    ``Topology(events=...)`` `Routes.check` proves that those fit together.

    Args:
        pattern: each wildcard has a name, so that a key can be made from the pattern.
        exchange: where it is published; a spec or a name.
        body: a pydantic model, or any other type that pydantic validates: a union, too, also one with a discriminator.
            Type checkers learn of it from ``EventSpec[A | B](..., body=A | B)``.

    Raises:
        PatternError: the pattern is not valid.
        TopologyError: a wildcard without a name, an internal exchange, a body that pydantic cannot validate.

    Example:
        >>> media = ExchangeSpec(name="media")
        >>> uploaded = EventSpec(pattern="video.{action}", exchange=media, body=dict)
        >>> uploaded.bind().binding_key
        'video.*'
        >>> uploaded({"id": 1}, action="upload").routing_key
        'video.upload'
    """

    _written: ClassVar[str] = "EventSpec(pattern='a.{x}', exchange=exchange, body=dict)"

    pattern: Annotated[RoutingPattern, BeforeValidator(_parsed)]
    exchange: Annotated[str | ExchangeSpec, Field(union_mode="left_to_right")]
    body: SkipValidation[type[Body]]

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            pattern: str | RoutingPattern,
            exchange: ExchangeSpec | str,
            body: type[Body] | UnionType | _SpecialForm,  # the value of a union says nothing of its type
        ) -> None: ...

    def __call__(self, body: Body, /, **captures: str | int | tuple[str, ...] | list[str]) -> "Event[Body]":
        """Return an event with this body and the routing key that the pattern has with these captures.

        A body of another type, for example a dict, is validated into the spec's type of body.

        Raises:
            PatternError: a missing or unknown capture, or one that is not a word; see `RoutingPattern.format`.
            MessageInvalidError: not a valid body; names the fields, not the values.
        """
        routing_key = self.pattern.format(**captures)
        try:
            return Event(self, routing_key, self.adapter.validate_python(body))
        except ValidationError as error:
            raise MessageInvalidError(f"{self}: not a valid {self.body_name}: {describe_fields(error)}") from None

    def bind(self) -> BindingSpec:
        """Return the binding that brings these keys, and no others, into a queue.

        Raises:
            TopologyError: an exchange that does not choose by pattern; use its own `ExchangeSpec.bind` instead.
        """
        return bound_by(self, self._binding())

    def _binding(self) -> BindingSpec:
        if str(self.exchange) == "":
            raise TopologyError(f"{self}: the default exchange has no bindings: every queue takes its own name")
        if isinstance(self.exchange, str):
            return BindingSpec(exchange=self.exchange, binding_key=self.pattern.binding_key)
        if self.exchange.type == "fanout":
            return self.exchange.bind()
        takes_the_key = self.exchange.type == "topic" or not self.pattern.capture_names
        if self.exchange.type == "headers" or not takes_the_key:
            why = f"a {self.exchange.type} exchange does not choose by pattern"
            raise TopologyError(f"{self}: {why}: bind the queue with {self.exchange.name!r}'s own bind(...)")
        return self.exchange.bind(self.pattern)

    @property
    def body_name(self) -> str:
        """The name of the body's type, for people."""
        name = None if get_origin(self.body) in _JOINED else getattr(self.body, "__name__", None)
        return name or type_name(self.body)

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        yield from {"pattern": self.pattern, "exchange": self.exchange, "body": _Bare(self.body_name)}.items()

    def __str__(self) -> str:
        return f"event {str(self.pattern)!r}"

    def __hash__(self) -> int:
        return hash((self.pattern, str(self.exchange)))

    @cached_property
    def json_type(self) -> JsonType:
        """What writes bodies as JSON."""
        return JsonType(self.adapter)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """The adapter that validates a body and writes it as JSON."""
        return TypeAdapter(self.body)

    def _problems(self) -> Iterator[str]:
        wildcards = sum(token in (ONE_WORD, ANY_WORDS) for token in self.pattern.tokens)
        if wildcards > len(self.pattern.capture_names):
            yield f"pattern: {str(self.pattern)!r} has a wildcard without a name: write {{name}} or {{name:#}}"
        if problem := key_problem(str(self.exchange), "name"):
            yield f"exchange: {problem}"
        if isinstance(self.exchange, ExchangeSpec) and self.exchange.internal:
            yield f"exchange: {self.exchange.name!r} is internal: nobody can publish to it"
        try:
            if isinstance(self.body, BaseModel):  # an older pydantic takes it for its class
                raise TypeError("it is an object of one")
            self.adapter.validate_json(b"")  # pydantic defers a name that it cannot resolve to the first use
        except ValidationError:
            return
        except Exception as error:  # noqa: BLE001 - types bring their own code, which may raise anything
            reason = cut(str(error))
            yield f"body: {self.body_name} is not a type that pydantic can validate: {reason}"


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Event(Generic[Body]):
    """A body with its routing key and exchange. Made by calling an `EventSpec`, which checks body and key."""

    spec: EventSpec[Body] = field(repr=False)
    routing_key: str
    body: Body

    @property
    def exchange(self) -> str:
        """Name of the exchange to publish to."""
        return str(self.spec.exchange)

    def encode(self) -> tuple[bytes, str]:
        """Return the body as bytes, and their content type. JSON is written by the spec's type of body.

        Raises:
            MessageInvalidError: it cannot be encoded, or a handler of the same type could not read it.
        """
        return content.encode(self.body, self.spec.json_type)


if TYPE_CHECKING:
    AnyEvent = EventSpec[Any]
else:  # pydantic would rebuild each event as an instance of EventSpec[Any]
    AnyEvent = EventSpec

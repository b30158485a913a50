"""Topologies and registries of any shape, with names that other formats give a meaning to, and bodies of many types."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Discriminator, Field, PlainValidator, WithJsonSchema, create_model
from tests.kit.strategies import templates, token_lists
from typing_extensions import TypedDict

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, Header, QueueSpec, RetryPolicy, Topology
from taskroute.errors import DuplicateHandlerError, PatternError, TopologyError
from taskroute.topology.exchange import BindingSpec

T = TypeVar("T")


class Opaque:
    """Of no type that pydantic knows."""


class Colour(StrEnum):
    """A text."""

    RED = "red"


class Size(Enum):
    """Values that are equal in JSON, where they are not in Python."""

    SMALL = 1
    LARGE = "1"


class Item(BaseModel):
    """Written otherwise than it is read."""

    name: str = "none"
    size: Size = Size.SMALL


class Tree(BaseModel):
    """Holds itself."""

    item: Item = Field(default=Item(), description="What is beside a reference.")
    branches: tuple[Tree, Tree] | None = None


class Cat(BaseModel):
    """One of two."""

    kind: Literal["cat"]


class Dog(BaseModel):
    """The other one."""

    kind: Literal["dog"]


class Page(BaseModel, Generic[T]):
    """Has brackets in its name."""

    entries: list[T]


class Odd(BaseModel, arbitrary_types_allowed=True):
    """Fields that a JSON schema cannot say, or says in Python's words."""

    opaque: Opaque | None = None
    number: Annotated[float, Field(le=math.inf)] = math.nan
    text: Annotated[str, Field(pattern=r"\A(?P<first>(?i)a)\z")] = "a"
    checked: Annotated[int, AfterValidator(abs)] = 1
    plain: Annotated[Any, PlainValidator(lambda value: value)] = None
    by_regex: dict[Annotated[str, Field(pattern="^a+$")], int] = {}


class Claims(BaseModel):
    """What users write into a schema need be none."""

    model_config = {
        "json_schema_extra": {
            "required": True,
            "type": "thing",
            "examples": {"a": 1},
            "enum": [],
            "minimum": "low",
            "schema": {"type": "string"},
            "default": math.inf,
            "discriminator": "kind",
        }
    }

    kind: int


class Wire(TypedDict, total=False):
    """A typed dict."""

    when: datetime
    amount: Decimal


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: int = 0


class Pair(NamedTuple):
    """A named tuple."""

    first: int
    second: str


BODIES: Final[tuple[Any, ...]] = (
    int,
    str,
    bytes,
    dict,
    Any,
    None,
    UUID,
    Colour,
    Size,
    Item,
    Tree,
    Odd,
    Claims,
    Wire,
    Point,
    Pair,
    Page[Item],
    Page[Page[int]],
    list[Item],
    set[int],
    tuple[int, ...],
    tuple[int, Item],
    dict[str, Tree],
    Item | None,
    Literal["a", 1, True, 1.5],
    Annotated[Cat | Dog, Discriminator("kind")],
    Annotated[list[int], Field(min_length=1, max_length=2)],
    Annotated[int, WithJsonSchema({"$ref": "#/nowhere"})],
    create_model("Item", __module__="elsewhere", other=(int, ...)),  # another type of the same name
    create_model("Größe", größe=(float, ...)),
)

_CHARACTERS: Final = "ab1.{}?#*/~_-%$é<\"' "


def names() -> st.SearchStrategy[str]:
    """Names of exchanges and queues."""
    return st.text(_CHARACTERS, min_size=1, max_size=6)


def _made(kind: Callable[..., T], **fields: Any) -> T:
    """Make a spec; a combination that is refused is another test's."""
    try:
        return kind(**fields)
    except (TopologyError, PatternError):
        reject()


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[ExchangeSpec, ...]:
    """Exchanges of every type, of which each may be bound to the one before, or be its alternate exchange."""
    made: list[ExchangeSpec] = []
    for name in draw(st.lists(names(), min_size=1, max_size=4, unique=True)):
        flag = draw(st.sampled_from(("", "", "internal", "passive", "auto_delete")))
        bound = [draw(bindings(made[-1]))] if made and flag != "passive" and draw(st.booleans()) else []
        exchange = _made(
            ExchangeSpec,
            name=name,
            type=draw(st.sampled_from(("topic", "topic", "direct", "fanout", "headers"))),
            bindings=bound,
            alternate_exchange=made[-1] if made and flag != "passive" and draw(st.booleans()) else None,
            **({flag: True} if flag else {}),
        )
        made.append(exchange)
    return tuple(made)


@st.composite
def bindings(draw: st.DrawFn, exchange: ExchangeSpec) -> BindingSpec:
    """Bindings that an exchange's type reads."""
    if exchange.type == "headers":
        return exchange.bind(headers=draw(st.dictionaries(st.sampled_from("xyz"), st.integers(0, 3), max_size=2)))
    if exchange.type == "fanout":
        return exchange.bind()
    return exchange.bind(".".join(draw(token_lists())))


@st.composite
def queues(draw: st.DrawFn, sources: tuple[ExchangeSpec, ...]) -> tuple[QueueSpec, ...]:
    """Queues with bindings from some exchanges."""
    made = []
    for name in draw(st.lists(names(), min_size=1, max_size=3, unique=True)):
        passive = draw(st.integers(0, 4)) == 0
        bound = (
            [] if passive else [draw(bindings(each)) for each in draw(st.lists(st.sampled_from(sources), max_size=3))]
        )
        retry = draw(st.sampled_from((None, False, RetryPolicy(delays=(1, 0.5)))))
        made.append(_made(QueueSpec, name=name, bindings=bound, retry=retry, passive=passive))
    return tuple(made)


@st.composite
def events(draw: st.DrawFn, sources: tuple[ExchangeSpec, ...], targets: tuple[QueueSpec, ...]) -> EventSpec[Any]:
    """Events to an exchange, or to a queue by its name."""
    body = draw(st.sampled_from(BODIES))
    words = enumerate(draw(templates()).split("."))
    pattern = ".".join({"*": f"{{e{place}}}", "#": f"{{e{place}:#}}"}.get(word, word) for place, word in words)
    usable = [each for each in sources if not each.internal]
    if not usable or draw(st.integers(0, 4)) == 0:
        key = draw(st.sampled_from((pattern, *(each.name for each in targets))))
        return _made(EventSpec, pattern=key, exchange="", body=body)
    return _made(EventSpec, pattern=pattern, exchange=draw(st.sampled_from(usable)), body=body)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Topologies with events."""
    sources = draw(exchanges())
    targets = draw(queues(sources))
    published = draw(st.lists(events(sources, targets), max_size=4))
    return _made(Topology, exchanges=sources, queues=targets, events=published)


def _handler(body: Any, header: Any, name: str) -> Callable[..., None]:
    def handle(body: Any, header: Any = None) -> None:
        """Say `something` of <itself>."""

    without: Callable[[], None] = lambda: None  # noqa: E731 - another one each time
    if body is Opaque:
        return without
    mark = Annotated[header, Header(name)]
    handle.__annotations__ = {"body": body, **({"header": mark} if header is not None else {})}
    return handle


@st.composite
def registries(draw: st.DrawFn, topology: Topology) -> HandlerRegistry:
    """Handlers for the queues of a topology, fallbacks among them, that ask for headers or for nothing."""
    registry = HandlerRegistry()
    places = st.sampled_from((None, *(queue.name for queue in topology.all_queues)))
    for _ in range(draw(st.integers(0, 5))):
        body, header = draw(st.sampled_from((*BODIES, Opaque))), draw(st.sampled_from((None, int, Item, datetime)))
        function = _handler(body, header, draw(names()))
        with suppress(DuplicateHandlerError):
            if draw(st.integers(0, 4)) == 0:
                registry.fallback(queue=draw(places))(function)
            else:
                registry.add(draw(templates()), function, queue=draw(places))
    return registry


@st.composite
def services(draw: st.DrawFn) -> tuple[Topology, HandlerRegistry]:
    """Topologies, each with handlers for it."""
    topology = draw(topologies())
    return topology, draw(registries(topology))

"""Whatever a publish takes, a handler of the same type reads, as the same value; what it could not read is refused."""

import dataclasses
import enum
import math
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from inspect import Parameter
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, note, reject, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    PydanticUserError,
    RootModel,
    SecretBytes,
    SecretStr,
    SerializeAsAny,
    TypeAdapter,
    computed_field,
    create_model,
)
from tests.kit.installed import PYDANTIC
from typing_extensions import TypedDict

from taskroute import Event, EventSpec, ExchangeSpec, HandlerRegistry, MessageInvalidError, QueueSpec, Routes, Topology
from taskroute.handlers.body import body_parameter
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.message.content import encode
from taskroute.message.delivery import Delivery
from taskroute.message.reading_back import survey

media = ExchangeSpec(name="media")
STRINGS: Any = "strings" if PYDANTIC >= (2, 8) else "constants"
"""How numbers that are not finite are written. Older versions know two ways only."""


def read(annotation: Any, body: bytes, content_type: str | None = None) -> Any:
    """Read a body as a handler with this annotation does."""
    parameter = Parameter("body", Parameter.KEYWORD_ONLY, annotation=annotation)
    properties = {} if content_type is None else {"content_type": content_type}
    return body_parameter(parameter).source(
        Delivery(queue="", exchange="", routing_key="", body=body, properties=properties), {}
    )


def unvalidated(kind: Any, **values: Any) -> Any:
    """Return a model with whatever is given, and without what is not."""
    return kind.model_construct(**values)


def event_of(kind: Any) -> EventSpec[Any]:
    return EventSpec(pattern="a.{b}", exchange=media, body=kind)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same kind: 1 is not True. JSON has one array, so a list may be read of a tuple."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, BaseModel) and type(one) is type(other):
        return same(vars(one), vars(other)) and same(one.model_extra, other.model_extra)
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)


# --- types and values ---


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Mixed(enum.Enum):
    TEXT = "1"
    NUMBER = 1


class Name(enum.StrEnum):
    ADA = "ada"


@dataclasses.dataclass
class Point:
    x: float
    y: int = 0


@dataclasses.dataclass
class Counted:
    name: str
    count: int = dataclasses.field(default=0, init=False)


class Options(TypedDict, total=False):
    at: datetime
    ratio: float


class Tree(BaseModel):
    name: str
    children: "list[Tree]" = []


class Grown(Tree):
    height: int = 3


class Base64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")

    data: bytes


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    at: datetime
    ids: dict[int, UUID]
    sizes: set[Size]


class Forbidding(BaseModel):
    model_config = ConfigDict(extra="forbid")

    width: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> int:
        return self.width**2


class Hidden(BaseModel):
    name: str
    secret: int = Field(default=0, exclude=True)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = "Rex"


class Base(BaseModel):
    a: int = 1


class Child(Base):
    b: int = 2


class Parent(BaseModel):
    x: Base


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


def opened(**extra: Any) -> Open:
    return Open(**extra)


@dataclasses.dataclass
class Point3(Point):
    z: int = 0


class Line(BaseModel):
    start: Point


numbers = st.floats(width=64)
texts = st.text(max_size=5)
aware = st.datetimes(timezones=st.just(UTC))
PLAIN: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, numbers),
    (bool, st.booleans()),
    (str, texts),
    (bytes, st.binary(max_size=4)),
    (datetime, st.datetimes() | aware),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Mixed, st.sampled_from(Mixed)),
    (Name, st.sampled_from(Name)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (SecretStr, texts.map(SecretStr)),
    (SecretBytes, st.binary(max_size=3).map(SecretBytes)),
    (Annotated[str, Field(max_length=9)], texts),
    (Annotated[float, Field(allow_inf_nan=False)], st.floats(allow_nan=False, allow_infinity=False)),
    (Annotated[int, AfterValidator(lambda number: number + 1)], st.integers()),
    (Annotated[str, BeforeValidator(lambda text: text.upper() if isinstance(text, str) else text)], texts),
    (Annotated[int, PlainSerializer(lambda number: number // 2)], st.integers()),
    (Annotated[int, PlainSerializer(lambda number: f"{number}")], st.integers()),
    (Annotated[datetime, PlainSerializer(lambda at: at.isoformat(timespec="seconds"))], aware),
    (Point, st.builds(Point, x=numbers, y=st.integers())),
    (Counted, st.builds(Counted, name=texts)),
    (Options, st.fixed_dictionaries({}, optional={"at": st.datetimes(), "ratio": numbers})),
    (Tree, st.builds(Tree, name=texts, children=st.lists(st.builds(Tree, name=texts), max_size=2))),
    (Base64, st.builds(Base64, data=st.binary(max_size=4))),
    (
        Strict,
        st.builds(
            Strict,
            at=aware,
            ids=st.dictionaries(st.integers(), st.uuids(), max_size=2),
            sizes=st.sets(st.sampled_from(Size)),
        ),
    ),
    (Forbidding, st.builds(Forbidding, width=st.integers())),
    (Hidden, st.builds(Hidden, name=texts, secret=st.integers(0, 1))),
    (Parent, st.builds(Parent, x=st.builds(Base) | st.builds(Child))),
    (Line, st.builds(Line, start=st.builds(Point, x=numbers) | st.builds(Point3, x=numbers))),
    (Open, st.builds(Open, more=texts | numbers | st.just(SecretStr("a")))),
    (Annotated[Cat | Dog, Field(discriminator="kind")], st.builds(Cat) | st.builds(Dog)),
]
HASHABLE = (int, float, bool, str, bytes, date, UUID, Decimal, Colour, Size, Mixed, datetime, timedelta)


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[Any, Any]:
    """A type and a value of it."""
    kind, values = draw(kinds(depth))
    return kind, draw(values)


@st.composite
def kinds(draw: st.DrawFn, depth: int) -> tuple[Any, st.SearchStrategy[Any]]:
    shape = draw(st.sampled_from(SHAPES if depth else SHAPES[:1]))
    result: tuple[Any, st.SearchStrategy[Any]] = draw(shape(depth))
    return result


def of(generic: Any, *inside: Any) -> Any:
    """A generic type with its arguments."""
    return generic[inside if len(inside) > 1 else inside[0]]


def plain(_: int) -> st.SearchStrategy[Any]:
    return st.sampled_from(PLAIN)


@st.composite
def optional(draw: st.DrawFn, depth: int) -> Any:
    kind, values = draw(kinds(depth - 1))
    return kind | None if not isinstance(kind, str) else kind, values | st.none()


@st.composite
def union(draw: st.DrawFn, depth: int) -> Any:
    (one, ones), (other, others) = draw(kinds(depth - 1)), draw(kinds(depth - 1))
    return one | other, ones | others


@st.composite
def array(draw: st.DrawFn, depth: int) -> Any:
    kind, values = draw(kinds(depth - 1))
    return draw(
        st.sampled_from(
            [
                (of(list, kind), st.lists(values, max_size=2)),
                (of(tuple, kind, ...), st.lists(values, max_size=2).map(tuple)),
                (of(Sequence, kind), st.lists(values, max_size=2).map(tuple)),
                (of(tuple, kind, int), st.tuples(values, st.integers())),
            ]
        )
    )


@st.composite
def merged(draw: st.DrawFn, _: int) -> Any:
    kind, values = draw(st.sampled_from([each for each in PLAIN if each[0] in HASHABLE]))
    return draw(
        st.sampled_from(
            [(of(set, kind), st.sets(values, max_size=2)), (of(frozenset, kind), st.frozensets(values, max_size=2))]
        )
    )


@st.composite
def mapping(draw: st.DrawFn, depth: int) -> Any:
    key, keys = draw(st.sampled_from([each for each in PLAIN if each[0] in HASHABLE]))
    kind, values = draw(kinds(depth - 1))
    return of(dict, key, kind), st.dictionaries(keys, values, max_size=2)


FIELDS: list[Any] = [
    {},
    {"alias": "one"},
    {"serialization_alias": "written"},
    # The first version that we take makes no model with alternatives without validating it.
    {"validation_alias": AliasChoices("one", "another") if PYDANTIC >= (2, 8) else "one"},
    {"exclude": True},
]
CONFIGS: list[Any] = [
    {},
    {"extra": "forbid"},
    {"extra": "allow"},
    {"populate_by_name": True},
    {"ser_json_inf_nan": "constants"},
    {"ser_json_inf_nan": STRINGS},
    {"ser_json_timedelta": "float"},
    {"frozen": True},
]


@st.composite
def model(draw: st.DrawFn, depth: int) -> Any:
    kind, values = draw(kinds(depth - 1))
    config = draw(st.sampled_from(CONFIGS))
    options = draw(st.sampled_from(FIELDS))
    try:
        made = create_model("Made", __config__=config, field=(kind, Field(**options)))
    except PydanticUserError:  # pydantic does not take the two together
        reject()
    return made, values.map(lambda value: made.model_construct(field=value))


@st.composite
def root(draw: st.DrawFn, depth: int) -> Any:
    kind, values = draw(kinds(depth - 1))
    made = of(RootModel, kind)
    return made, values.map(made.model_construct)


SHAPES: list[Callable[[int], st.SearchStrategy[Any]]] = [plain, optional, union, array, merged, mapping, model, root]


@given(typed())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_published_is_read_by_a_handler_of_the_same_type(case: tuple[Any, Any]) -> None:
    """Or it is refused, and the error says so. A nearly random type, and a value that it holds."""
    kind, value = case
    note(f"{kind} {value!r}")
    event = event_of(kind)
    try:
        body, content_type = event(value, b="c").encode()
    except MessageInvalidError:
        return
    sent = event(value, b="c").body

    assert same(read(kind, body, content_type), sent), body


# --- what is taken ---


class Private(BaseModel):
    """What is private is not sent, and is not compared."""

    name: Annotated[str, AfterValidator(lambda name: name.strip())]
    _cache: int = PrivateAttr(default=0)

    def keep(self, number: int) -> None:
        self._cache = number


class Opaque:
    """Has no equality."""

    def __init__(self, text: str) -> None:
        self.text = text


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    opaque: Annotated[
        Opaque,
        BeforeValidator(lambda given: given if isinstance(given, Opaque) else Opaque(given)),
        PlainSerializer(lambda opaque: opaque.text),
    ]


class Untyped(BaseModel):
    token: Annotated[SecretStr, PlainSerializer(lambda secret: secret.get_secret_value())]
    more: Any = None
    options: dict[str, Any] = {}


class Pair(NamedTuple):
    one: int
    two: str


class Queued(BaseModel):
    items: Sequence[int]


class Paired(BaseModel):
    items: tuple[int, ...]


class Renamed(Base):
    """Has no more than its base: nothing of it is lost."""


private = Private(name="a")
private.keep(7)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (AnyUrl, AnyUrl("http://example.org/a")),
        (IPv4Address, IPv4Address("127.0.0.1")),
        (Path, Path("a/b")),
        (Pair, Pair(1, "a")),
        (Private, private),
        (Holder, Holder(opaque=Opaque("a"))),
        (Untyped, Untyped(token=SecretStr("a"), more=datetime(2000, 1, 1, tzinfo=UTC), options={"a": (1, {2: None})})),
        (Hidden, Hidden(name="a")),
        (dict[str, Any], {"at": datetime(2000, 1, 1, tzinfo=UTC), "ids": (1, 2), "none": None, "text": "NaN null"}),
        (Any, {"a": None, "b": "Infinity"}),
        (datetime | None, None),
        (str | int, "5"),
        (bytes | None, b"text"),
        (bytes, bytearray(b"\xff")),
        (Annotated[bytes, Field(max_length=9)], b"\xff"),
        (Name, Name.ADA),
        (Literal["a"], "a"),
        (Annotated[str, Field(max_length=9)], "a"),
        (Any, "text"),
        (Sequence[int], (1, 2)),
        (Queued, Queued(items=deque([1, 2]))),
        (Queued, Queued(items=(1, 2))),
        (Paired, unvalidated(Paired, items=[1, 2])),
        (Parent, Parent(x=Base())),
        (Parent, Parent(x=Renamed())),
        (dict[Any, Any], {1: 1, 2: {"3": Hidden(name="a")}}),
        (Open, opened(more={"at": datetime(2000, 1, 1, tzinfo=UTC)})),
        (int, 10**4299),
        (list[str], ["7" * 9000]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_value_is_taken_and_can_be_read(kind: Any, value: Any) -> None:
    body, content_type = event_of(kind)(value, b="c").encode()

    read(kind, body, content_type)


class Order(BaseModel):
    id: UUID
    at: datetime
    lines: list[dict[str, int]] = []
    colour: Colour | None = None
    amount: Decimal = Decimal(0)


@pytest.mark.parametrize("kind", [Order, list[Order], dict[str, Order], Cat | None, int | str, Strict])
def test_ordinary_type_costs_a_publish_nothing_more(kind: Any) -> None:
    """Nothing is looked for in its bodies, and none is read back."""
    assert survey(TypeAdapter(kind).core_schema).needs <= {"decimal"}


# --- what is refused ---


class Login(BaseModel):
    token: SecretStr


class Asymmetric(BaseModel):
    name: str = Field(serialization_alias="written")


class Halved(BaseModel):
    """An ordinary body, with the number 1, is read back; one with 2 is not."""

    number: Annotated[int, PlainSerializer(lambda number: number % 2)]


class Unvalidated(BaseModel):
    number: int = None  # type: ignore[assignment]


class Measured(BaseModel):
    value: float | None
    more: dict[str, list[float]] = {}


class AsAny(BaseModel):
    x: SerializeAsAny[Base]


Item = TypeVar("Item")


class Box(BaseModel, Generic[Item]):
    item: Item


class Constants(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")

    value: float


class Texts(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan=STRINGS)

    value: float


class Priced(BaseModel):
    price: Decimal = Field(default=Decimal(0), allow_inf_nan=True)


class Numbered(BaseModel):
    number: int


class Anything(BaseModel):
    more: Any = None
    things: list[Any] = []


class KeyedByMixed(BaseModel):
    """Its key 1 is written as the key "1", which is another member."""

    values: dict[Mixed, Any]


changed = Order(id=UUID(int=1), at=datetime(2000, 1, 1, tzinfo=UTC))
changed.lines = "none"  # type: ignore[assignment]

NOT_FINITE = "is NaN or infinite, and JSON has no such number: send None, or a text"
OTHER = "as it is written, another value would be read: let its type read what it writes"


def written_since(version: tuple[int, int], error: str) -> str:
    """Return the error, or that of an older pydantic, which cannot write the value at all."""
    return error if version <= PYDANTIC else "Unable to serialize unknown type"


REFUSED: list[tuple[Any, str]] = [
    (Measured(value=math.nan), f"Measured, cannot be sent: value {NOT_FINITE}"),
    (Measured(value=1, more={"a": [1.0, -math.inf]}), f"more.a.1 {NOT_FINITE}"),
    (Point(x=math.inf), f"Point, cannot be sent: x {NOT_FINITE}"),
    (Login(token=SecretStr("s3cret")), f"field token: {OTHER}"),
    (Hidden(name="a", secret=1), f"field secret: {OTHER}"),
    (Asymmetric(name="a"), "field name: as it is written, it cannot be read back (missing): let its type read"),
    (Forbidding(width=2), "field area: as it is written, it cannot be read back (extra_forbidden)"),
    (Unvalidated(), "field number: as it is written, it cannot be read back (int_type)"),
    (changed, "field lines: as it is written, it cannot be read back (list_type)"),
    (Parent(x=Child()), f"Parent, cannot be sent: field x.b: {OTHER}"),
    (AsAny(x=Child()), f"field x.b: {OTHER}"),
    (Box[Base](item=Child()), f"field item.b: {OTHER}"),
    (Line(start=Point3(x=1)), f"field start.z: {OTHER}"),
    (Tree(name="a", children=[Grown(name="b")]), f"field children.0.height: {OTHER}"),
    (opened(token=SecretStr("s3cret")), written_since((2, 10), f"field token: {OTHER}")),
    (opened(tokens=[{"a": SecretStr("s3cret")}]), written_since((2, 10), f"field tokens.0.a: {OTHER}")),
    (opened(more=Hidden(name="a", secret=1)), f"Hidden, cannot be sent: field secret: {OTHER}"),
    (Constants(value=math.nan), f"Constants, cannot be sent: value {NOT_FINITE}"),
    (Texts(value=-math.inf), f"Texts, cannot be sent: value {NOT_FINITE}"),
    (Priced(price=Decimal("NaN")), f"Priced, cannot be sent: price {NOT_FINITE}"),
    (unvalidated(Order, amount=Decimal("-Infinity")), f"amount {NOT_FINITE}"),
    (Numbered(number=10**4300), "no handler could read it: number out of range"),
    (unvalidated(Numbered), "field number: as it is written, it cannot be read back (missing)"),
    (Anything(more=Parent(x=Child())), f"Parent, cannot be sent: field x.b: {OTHER}"),
    (Anything(things=[{"a": Hidden(name="a", secret=1)}]), f"Hidden, cannot be sent: field secret: {OTHER}"),
    (KeyedByMixed(values={Mixed.NUMBER: 1}), f"field values: {OTHER}"),
    (unvalidated(Queued, items=[1, "a"]), "field items.1: as it is written, it cannot be read back (int_parsing)"),
]


@pytest.mark.parametrize(("body", "error"), REFUSED, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("is_event", [False, True])
def test_body_that_cannot_be_read_back_is_refused_by_name(body: Any, error: str, is_event: bool) -> None:
    with pytest.raises(MessageInvalidError) as refused:
        event_of(type(body))(body, b="c").encode() if is_event else encode(body)

    assert error in str(refused.value)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (math.nan, "it"),
        ([1.0, [math.inf]], "1.0"),
        ({"a": {"b": -math.inf}}, "a.b"),
        ({math.nan: 1}, "a key"),
        ({"a": Measured(value=math.nan)}, "value"),
        ((math.nan,), "0"),
    ],
)
def test_number_that_json_does_not_have_is_refused_anywhere(body: Any, place: str) -> None:
    with pytest.raises(MessageInvalidError, match=f"cannot be sent: {place} is NaN or infinite"):
        encode(body)


@pytest.mark.parametrize("body", [Decimal("NaN"), [Decimal("-Infinity")], {"a": Decimal("sNaN")}])
def test_decimal_that_is_not_finite_is_refused_in_a_body_without_a_type(body: Any) -> None:
    with pytest.raises(MessageInvalidError, match="is NaN or infinite, and JSON has no such number"):
        encode(body)


@pytest.mark.parametrize("make", [lambda body: [body], lambda body: {"a": [(body,)]}, lambda body: deque([body])])
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (Parent(x=Child()), "Parent, cannot be sent: field x.b: as it is written, another value would be read"),
        (Hidden(name="a", secret=1), "Hidden, cannot be sent: field secret: as it is written, another value"),
        (unvalidated(Numbered), "Numbered, cannot be sent: field number: as it is written, it cannot be read"),
        ({"1": 1, 1: 2}, "two keys of a dict are written as the same text, as 1 and '1' are"),
        ({"true": 1, True: 2}, "two keys of a dict are written as the same text"),
        (10**4300, "number out of range .* send a whole number of more than 4300 digits as a text"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_body_without_a_type_is_held_to_the_rules_of_what_is_in_it(
    body: Any, problem: str, make: Callable[[Any], Any]
) -> None:
    for write in (encode, lambda value: event_of(Any)(value, b="c").encode()):
        value = make(body)
        with pytest.raises(
            MessageInvalidError, match=written_since((2, 14), problem) if type(value) is deque else problem
        ):
            write(value)


def test_truth_value_beside_a_float_is_sent_as_it_is_or_refused() -> None:
    """An older pydantic writes it as a number."""
    event = event_of(float | bool)

    if PYDANTIC >= (2, 9):
        assert event(False, b="c").encode()[0] == b"false"
    else:
        with pytest.raises(MessageInvalidError, match="as it is written, another value would be read"):
            event(False, b="c").encode()
    assert event(0.5, b="c").encode()[0] == b"0.5"


@pytest.mark.parametrize(("kind", "body"), [(list[Base], [Child()]), (dict[str, Point], {"a": Point3(x=1)})])
def test_subclass_among_the_items_of_an_event_is_refused(kind: Any, body: Any) -> None:
    with pytest.raises(MessageInvalidError, match="as it is written, another value would be read"):
        event_of(kind)(body, b="c").encode()


def test_subclass_that_is_made_after_the_first_publish_is_looked_at() -> None:
    class Late(BaseModel):
        a: int = 1

    class Holding(BaseModel):
        late: Late

    encode(Holding(late=Late()))

    class Later(Late):
        b: int = 2

    with pytest.raises(MessageInvalidError, match=r"field late\.b: as it is written, another value would be read"):
        encode(Holding(late=Later()))


def test_unvalidated_body_of_another_type_is_read_back() -> None:
    assert Event(event_of(Base), "a.b", {"a": 1}).encode()[0] == b'{"a":1}'


def nested(depth: int) -> list[Any]:
    body: list[Any] = []
    for _ in range(depth):
        body = [body]
    return body


def tree(depth: int) -> Tree:
    body = Tree(name="[")
    for _ in range(depth):
        body = Tree(name="a", children=[body])
    return body


@pytest.mark.parametrize(("make", "most"), [(nested, 200), (tree, 99)])
def test_body_that_is_nested_too_deeply_to_be_read_is_refused(make: Callable[[int], Any], most: int) -> None:
    kind = type(make(0))
    for body, content_type in (encode(make(most)), event_of(kind)(make(most), b="c").encode()):
        assert read(kind, body, content_type) == make(most)

    for write in (encode, lambda body: event_of(kind)(body, b="c").encode()):
        with pytest.raises(
            MessageInvalidError, match=r"no handler could read it: recursion limit .* nest it less deep"
        ):
            write(make(most + 1))


def test_long_flat_body_is_not_taken_for_a_deep_one() -> None:
    encode([{"text": "[[["}] * 300)


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (
            {"a": [{"token": SecretStr("s3cret")}]},
            written_since((2, 10), "field a.0.token: SecretStr is written as asterisks"),
        ),
        ([SecretBytes(b"s3cret")], written_since((2, 10), "field 0: SecretBytes is written as asterisks")),
        ({"login": Login(token=SecretStr("s3cret"))}, "field token: as it is written, another value would be read"),
        (
            Untyped(token=SecretStr("a"), more=SecretStr("s3cret")),
            written_since((2, 10), "field more: as it is written, another value"),
        ),
    ],
)
def test_secret_in_a_place_without_a_type_is_refused(body: Any, place: str) -> None:
    with pytest.raises(MessageInvalidError, match=place) as refused:
        encode(body)

    assert "s3cret" not in str(refused.value)
    encode({"login": Untyped(token=SecretStr("a")), "text": "***"})


@pytest.mark.parametrize(
    ("kind", "severity", "error"),
    [(Login, "error", "field token"), (Asymmetric, "error", "field name"), (Halved, "warning", "field number")],
)
def test_event_that_cannot_be_read_back_is_a_finding(kind: Any, severity: str, error: str) -> None:
    event = event_of(kind)
    registry = HandlerRegistry()
    registry.add(event, lambda body: None, queue="q")
    queue = QueueSpec(name="q", bindings=[event.bind()])

    findings = Routes(Topology(exchanges=[media], queues=[queue], events=[event]), registry).check()

    found = [finding for finding in findings if finding.code == "event_body"]
    assert [(each.severity, each.subject, each.witness) for each in found] == [(severity, "event 'a.{b}'", "a.x")]
    assert error in found[0].message


# --- bodies as other clients write them ---


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("body", [b"\xff", bytearray(b"\xff"), memoryview(b"-\xff")[1:]])
def test_bytes_like_body_is_bytes(body: Any, kind: Any) -> None:
    encoded, content_type = encode(body)

    assert (encoded, content_type) == (b"\xff", "application/octet-stream")
    assert read(kind, encoded, content_type) == b"\xff"
    assert type(read(kind, encoded, content_type)) is kind


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-be"])
def test_json_with_a_byte_order_mark_is_read(encoding: str) -> None:
    mark = "" if encoding in ("utf-8-sig", "utf-16", "utf-32") else "\ufeff"

    assert read(dict[str, str], (mark + '{"name": "Zoë NaN"}').encode(encoding)) == {"name": "Zoë NaN"}


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("text/x-json", "utf-8"),
        ("application/x-json", "utf-8"),
        ("Application/JSON", "utf-8"),
        ("application/vnd.acme.order+json", "utf-8"),
        ("application/problem+json; profile=x; charset=UTF-8", "utf-8"),
        ('application/json;charset="utf-8"', "utf-8"),
        ("application/json; charset=utf-16", "utf-16"),
        ("application/json; charset=iso-8859-1", "iso-8859-1"),
    ],
)
def test_json_is_read_by_any_of_its_names_and_charsets(content_type: str, encoding: str) -> None:
    assert read(dict[str, str], '{"name": "Zoë"}'.encode(encoding), content_type) == {"name": "Zoë"}


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        ("text/html", "unsupported_content"),
        ("application/json; charset=idna", "unsupported_content"),
        ("application/json; charset=utf-16", "invalid_body"),
        ("application/x-jsonlines", "unsupported_content"),
    ],
)
def test_body_that_is_no_json_is_refused(content_type: str, reason: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        read(dict[str, str], b"{}\xff", content_type)

    assert refused.value.reason == reason

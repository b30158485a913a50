"""Verdicts on bodies: pydantic reads an accepted body and refuses a refused one, and few are undecided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import IntEnum, IntFlag
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    PlainSerializer,
    PrivateAttr,
    RootModel,
    SecretStr,
    TypeAdapter,
    computed_field,
    create_model,
    field_validator,
    model_validator,
)
from tests.kit.body_strategies import Colour, Pair, pairs, records
from tests.kit.installed import PYDANTIC
from typing_extensions import TypedDict

from taskroute import Event, EventSpec, Message, MessageInvalidError, RoutingPattern
from taskroute.graph.bodies import compatibility as proof_module
from taskroute.graph.bodies.compatibility import doubts
from taskroute.graph.bodies.examples import examples, limits
from taskroute.graph.bodies.schema import schema_of
from taskroute.graph.bodies.verdict import Verdict, judge
from taskroute.handlers.arguments import plan_arguments
from taskroute.handlers.body import BodyParameter
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.message.delivery import Delivery

AS_FLOAT = "accepted" if PYDANTIC >= (2, 12) else "undecided"
"""Whether a handler for a float takes every whole number: older ones read none of 19 digits."""


def event_of(body: Any) -> EventSpec[Any]:
    return EventSpec(pattern="a", exchange="", body=body)


def parameter_of(annotation: Any) -> BodyParameter:
    def handler(body): ...  # type: ignore[no-untyped-def]

    handler.__annotations__["body"] = annotation
    parameter = plan_arguments(handler, RoutingPattern("a")).body
    assert parameter is not None
    return parameter


def judged(body: Any, annotation: Any) -> Verdict:
    return judge(event_of(body), parameter_of(annotation))


def answer(body: Any, annotation: Any) -> str:
    """Return the answer, and assert that a refusal, which rests on example bodies, contradicts no proof."""
    verdict = judged(body, annotation)
    if verdict.answer == "refused":
        assert not is_proved(body, annotation)
    return verdict.answer


def is_proved(written: Any, read: Any) -> bool:
    return not list(doubts(schema_of(TypeAdapter(written)), schema_of(TypeAdapter(read))))


def model(config: ConfigDict | None = None, /, **fields: Any) -> type[BaseModel]:
    ready = {name: field if isinstance(field, tuple) else (field, ...) for name, field in fields.items()}
    return create_model("Made", __config__=config, **ready)  # type: ignore[no-any-return,call-overload]


class Video(BaseModel):
    id: str
    size: int


class LongVideo(Video):
    minutes: int = 90


forbids = ConfigDict(extra="forbid")
allows = ConfigDict(extra="allow")


@pytest.mark.parametrize("annotation", [Video, bytes, str, Any, object, dict, dict[str, Any], model(id=str)])
def test_model_is_accepted_by_itself_and_by_wider_annotations(annotation: Any) -> None:
    assert judged(Video, annotation) == Verdict("accepted")
    assert judged(LongVideo, annotation) == Verdict("accepted")


def test_handler_without_body_parameter_accepts_every_body() -> None:
    def handler(message: Message) -> None: ...

    parameter = plan_arguments(handler, RoutingPattern("a")).body

    assert parameter is None
    assert judge(event_of(Video), parameter) == Verdict("accepted")


def test_handler_without_annotation_accepts_a_json_body() -> None:
    def handler(body): ...  # type: ignore[no-untyped-def]

    parameter = plan_arguments(handler, RoutingPattern("a")).body
    assert judge(event_of(Video), parameter).answer == "accepted"


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        (model(id=str, size=int, file=str), "file: missing"),
        (model(id=int), "id: int_parsing"),
        (model(id=str, size=str), "size: string_type"),
        (model(forbids, id=str), "size: extra_forbidden"),
        (model(id=Annotated[str, Field(min_length=1)]), "id: string_too_short"),
        (model(id=Annotated[str, Field(max_length=70)]), "id: string_too_long"),
        (model(size=Annotated[int, Field(ge=-(10**6))]), "size: greater_than_equal"),
        (model(size=Literal[1, 0]), "size: literal_error"),
        (model(size=bool), "size: bool_parsing"),
        (model(id=datetime), "id: datetime_from_date_parsing"),
        (list[int], "body: list_type"),
        (dict[str, str], "size: string_type"),
        (int, "body: int_type"),
    ],
)
def test_refused_field_is_named_with_the_reason_of_its_dead_letter(annotation: Any, reason: str) -> None:
    assert judged(Video, annotation) == Verdict("refused", reason)


@pytest.mark.parametrize(
    ("written", "read", "expected"),
    [
        (int, float, AS_FLOAT),
        (float, int, "refused"),
        (bool, int, "accepted"),
        (bool, str, "refused"),
        (bool, Annotated[int, Field(strict=True)], "refused"),
        (int, Annotated[float, Field(strict=True)], AS_FLOAT),
        (date, datetime, "accepted"),
        (datetime, date, "refused"),
        (UUID, str, "accepted"),
        (str, UUID, "refused"),
        (Decimal, str, "accepted"),
        (Decimal, int, "refused"),
        (timedelta, timedelta, "accepted"),
        (int | None, int | None, "accepted"),
        (int, int | None, "accepted"),
        (int | None, int, "refused"),
        (int | str, str | int, "accepted"),
        (int | str, int, "refused"),
        (Literal["a"], Literal["a", "b"], "accepted"),
        (Literal["a", "b"], Literal["a"], "refused"),
        (Literal["a", 2], str | int, "accepted"),
        (Colour, Literal["red", 2], "accepted"),
        (Colour, Colour, "accepted"),
        (Literal["red", 2], Colour, "accepted"),
        (Literal["red", 3], Colour, "refused"),
        (list[int], list[float], AS_FLOAT),
        (list[int], set[int], "accepted"),
        (set[int], tuple[int, ...], "accepted"),
        (list[int], list[str], "refused"),
        (list[int], tuple[int, int], "refused"),
        (tuple[int, str], tuple[float, str], AS_FLOAT),
        (tuple[int, str], list[int | str], "accepted"),
        (tuple[int, str], tuple[str, str], "refused"),
        (Annotated[list[int], Field(min_length=1)], Annotated[list[int], Field(min_length=2)], "refused"),
        (Annotated[list[int], Field(min_length=2)], Annotated[list[int], Field(min_length=1)], "accepted"),
        (Annotated[list[int], Field(min_length=2)], Annotated[set[int], Field(min_length=2)], "undecided"),
        (Annotated[set[int], Field(min_length=2)], Annotated[set[int], Field(min_length=1)], "accepted"),
        (dict[str, int], dict[str, float], AS_FLOAT),
        (dict[int, int], dict[str, int], "accepted"),
        (dict[str, int], dict[int, int], "refused"),
        (dict[str, int], dict[str, str], "refused"),
        (dict[str, int], model(x=int), "refused"),
        (dict[str, int], model(x=(int, 0)), "accepted"),
        (Video, dict[str, int | str], "accepted"),
        (Video, model(id=(str, ""), other=(int, 0)), "accepted"),
        (list[Video], list[model(id=str)], "accepted"),  # type: ignore[misc]
        (list[Video], list[model(nope=str)], "refused"),  # type: ignore[misc]
        (Video | None, model(id=str) | None, "accepted"),
        (Video | list[int], model(id=str) | list[float], AS_FLOAT),
        (RootModel[list[int]], list[float], AS_FLOAT),
        (list[int], RootModel[list[float]], AS_FLOAT),
        (Annotated[int, Field(ge=5)], Annotated[int, Field(gt=3)], "accepted"),
        (Annotated[int, Field(gt=3)], Annotated[int, Field(ge=5)], "refused"),
        (Annotated[int, Field(ge=5, le=7)], Annotated[float, Field(lt=8)], "accepted"),
        (Annotated[str, Field(pattern="^a")], Annotated[str, Field(pattern="^a")], "accepted"),
    ],
)
def test_verdict_follows_from_the_types_of_a_field(written: Any, read: Any, expected: str) -> None:
    assert answer(model(field=written), model(field=read)) == expected


def test_whole_number_of_up_to_18_digits_is_read_as_a_float_by_every_pydantic() -> None:
    short = Annotated[int, Field(gt=-(10**18), lt=10**18)]
    long = Annotated[int, Field(ge=0, le=10**18)]

    assert answer(model(field=short), model(field=float)) == "accepted"
    assert answer(model(field=long), model(field=float)) == AS_FLOAT


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Two(IntEnum):
    ONE = 1
    TWO = 2


def test_flags_are_not_taken_for_the_members_of_an_enum() -> None:
    """A body may hold several flags at once, which are written as their sum."""
    assert answer(model(field=Rights), model(field=Rights)) == "accepted"
    assert answer(model(field=Rights), model(field=Two)) == "undecided"


def test_text_that_is_refused_as_bytes_is_a_verdict_and_no_error() -> None:
    """Text is published as it is: what is refused of it is no JSON."""
    assert judged(str, Base64Bytes) == Verdict("refused", "body: base64_decode")


class Left(BaseModel):
    kind: Literal["left"]
    x: int


class Right(BaseModel):
    kind: Literal["right"]
    y: int


Tagged = Annotated[Left | Right, Field(discriminator="kind")]


class DefaultTag(BaseModel):
    kind: Literal["of itself"] = "of itself"
    x: int


TaggedByDefault = Annotated[DefaultTag | Right, Field(discriminator="kind")]


def test_union_of_models_is_judged_member_by_member() -> None:
    """A discriminated union needs its tag in the body, even where the tag has a default."""
    assert answer(model(field=Tagged), model(field=Tagged)) == "accepted"
    assert answer(model(field=Left), model(field=Tagged)) == "accepted"
    assert answer(model(field=Tagged), model(field=Right | Left)) == "accepted"
    assert judged(model(field=Tagged), model(field=Left)).reason == "field.kind: literal_error; field.x: missing"
    assert answer(model(field=model(x=int)), model(field=Tagged)) == "refused"
    assert answer(model(field=model(x=int)), model(field=DefaultTag | Right)) == "accepted"
    assert answer(model(field=model(x=int)), model(field=TaggedByDefault)) == "refused"


class Node(BaseModel):
    value: int
    next: Node | None = None


class Link(BaseModel):
    value: float
    next: Link | None = None


class Text(BaseModel):
    value: str
    next: Text | None = None


def test_recursive_types_are_judged() -> None:
    assert answer(Node, Link) == AS_FLOAT
    assert judged(Node, Text) == Verdict("refused", "value: string_type")


class Serialized(BaseModel):
    id: str = Field(serialization_alias="ID")


def test_field_is_judged_by_its_serialization_and_validation_alias() -> None:
    """A body has the names that the event writes, and a handler takes the names that its type reads."""
    assert answer(model(id=(str, Field(alias="videoId"))), model(videoId=str)) == "accepted"
    assert judged(model(id=(str, Field(alias="videoId"))), model(id=str)).reason == "id: missing"
    assert judged(Serialized, Serialized) == Verdict("refused", "id: missing")  # it cannot read its own body
    assert answer(Serialized, model(id=(str, Field(validation_alias=AliasChoices("ID", "id"))))) == "accepted"
    assert answer(Serialized, model(ConfigDict(populate_by_name=True), ID=(str, Field(alias="x")))) == "accepted"
    assert answer(Serialized, model(id=(str, Field(validation_alias=AliasPath("ID", "x"))))) == "refused"
    assert answer(model(id=(str, Field(exclude=True))), model(id=str)) == "refused"


class Computed(BaseModel):
    a: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def b(self) -> int:
        return self.a


def test_computed_field_is_part_of_the_body() -> None:
    assert answer(Computed, model(b=int)) == "accepted"
    assert answer(Computed, model(b=str)) == "refused"
    assert judged(Computed, model(forbids, a=int)).reason == "b: extra_forbidden"


class Partial(TypedDict):
    id: str
    size: NotRequired[int]


@dataclass
class Plain:
    id: str
    size: int = 1


def test_dataclasses_and_typed_dicts_are_judged_like_models() -> None:
    assert answer(Partial, model(id=str, size=(int, 0))) == "accepted"
    assert judged(Partial, Video).reason == "size: missing"
    assert answer(Video, Partial) == "accepted"
    assert answer(Plain, Video) == "accepted"
    assert answer(Video, Plain) == "accepted"


def test_default_that_violates_its_field_is_refused() -> None:
    assert judged(model(a=(int, None)), model(a=int)) == Verdict("refused", "a: int_type")


def test_extra_fields_allowed_by_an_event_are_considered() -> None:
    open_ = model(allows, id=str)

    assert answer(open_, model(id=str)) == "accepted"
    assert answer(open_, model(forbids, id=str)) == "refused"
    assert judged(open_, model(id=str, size=(int, 0))).answer == "undecided"


# --- content types ---


def test_verdict_follows_from_the_content_type_of_the_body() -> None:
    """A str is published as text, which a type reads that may be one; bytes may hold anything."""
    assert answer(str, str) == "accepted"
    assert answer(str, bytes) == "accepted"
    assert judged(str, Video) == Verdict("refused", "content_type: 'text/plain'")
    assert answer(str, Any) == "accepted"
    assert answer(Literal["a"], Literal["a"]) == "accepted"
    assert answer(Literal[1, 2], int) == "accepted"
    assert answer(bytes, bytes) == "accepted"
    for annotation in (str, Video, Any):
        assert judged(bytes, annotation).reason.startswith("body: bytes may hold anything")
    assert answer(int, str) == "accepted"  # the JSON of it


# --- undecided ---


class Checked(BaseModel):
    id: str

    @field_validator("id")
    @classmethod
    def check(cls, value: str) -> str:
        if not value.startswith("v-"):
            raise ValueError("no id")
        return value


class MoreChecked(Checked):
    more: int = 0


class Moved(BaseModel):
    file: str

    @model_validator(mode="before")
    @classmethod
    def move(cls, data: Any) -> Any:
        return {"file": "", **data}


class Initialised(BaseModel):
    id: str

    def model_post_init(self, context: Any, /) -> None:
        assert self.id


class Private(BaseModel):
    id: str
    _seen: int = PrivateAttr(0)


def test_custom_validator_of_a_handler_type_is_undecided() -> None:
    """It is accepted if the event's type has the same validator, and refused if the body fails before it runs."""
    own = "the handler's type has a validator of its own for it"

    assert judged(Video, Checked) == Verdict("undecided", f"id: {own}")
    assert judged(Video, model(v=(Checked, None))).answer == "accepted"
    assert judged(Video, Initialised) == Verdict("undecided", f"body: {own}")
    assert judged(Video, Private) == Verdict("accepted")
    assert judged(Video, Moved).answer == "undecided"
    stripped = Annotated[int, BeforeValidator(lambda value: value.removeprefix("v-"))]
    assert judged(Video, model(id=stripped)) == Verdict("undecided", f"id: {own}")
    assert judged(Checked, Checked) == Verdict("accepted")
    assert judged(MoreChecked, Checked) == Verdict("accepted")
    assert judged(model(v=list[Checked]), model(v=list[Checked])) == Verdict("accepted")
    assert judged(model(id=int), Checked) == Verdict("refused", "id: string_type")  # before its validator runs


def test_custom_validator_that_raises_is_undecided() -> None:
    broken = Annotated[str, BeforeValidator(lambda value: {}[value])]
    assert judged(Video, model(id=broken)).answer == "undecided"


def test_unspecified_content_of_an_event_is_undecided() -> None:
    """Any and a bare dict say nothing about their values; the typed fields beside them are still judged."""
    unspecified = "the event's type does not say what it holds"

    assert judged(dict, Video) == Verdict("undecided", f"*: {unspecified}")
    assert judged(dict[str, Any], Video) == Verdict("undecided", f"*: {unspecified}")
    assert judged(Any, Video) == Verdict("undecided", f"body: {unspecified}")
    assert judged(model(id=Any, size=int), Video) == Verdict("undecided", f"id: {unspecified}")
    assert judged(model(id=Any, size=int), model(id=int, size=str)).reason.endswith("size: string_type")
    assert judged(model(tags=list[Any]), model(tags=list[int])) == Verdict("undecided", f"tags.*: {unspecified}")

    shout = Annotated[str, PlainSerializer(str.upper)]
    assert "serializer of its own" in judged(model(id=shout), model(id=str)).reason


def test_pydantic_types_are_accepted_by_equal_and_wider_types() -> None:
    kinds = {"a": HttpUrl, "b": Path, "c": SecretStr, "d": Sequence[int], "e": IPv4Address}

    assert answer(model(**kinds), model(**kinds)) == "accepted"
    assert answer(model(**kinds), model(a=str, b=str, c=str, d=list[int], e=str)) == "accepted"
    assert answer(model(id=str), model(id=HttpUrl)) == ("undecided" if PYDANTIC >= (2, 10) else "refused")
    assert answer(model(id=HttpUrl), model(id=Path)) == "undecided"
    assert answer(model(id=Sequence[int]), model(id=list[str])) == "refused"


def test_event_validator_does_not_hide_a_refused_field() -> None:
    never = Annotated[str, AfterValidator(refuse)]

    assert answer(model(id=int, name=(never, ""), other=(never, "")), model(id=str)) == "refused"
    assert answer(model(id=int, name=never), model(id=str)) == "undecided"  # there is no example body


def refuse(value: str) -> str:
    raise ValueError(value)


def test_limits_of_a_model_config_are_considered() -> None:
    short = ConfigDict(str_max_length=3)

    assert answer(model(tags=list[str]), model(short, tags=list[str])) == "refused"
    assert answer(model(short, tags=list[str]), model(short, tags=list[str])) == "accepted"
    assert answer(model(tags=str), model(ConfigDict(str_strip_whitespace=True), tags=str)) == "accepted"


def test_different_pattern_of_a_string_is_undecided() -> None:
    narrow, wide = Annotated[str, Field(pattern="^ab$")], Annotated[str, Field(pattern="^a")]
    assert judged(model(id=narrow), model(id=wide)) == Verdict("undecided", "id: it is limited: pattern='^a'")


def test_unknown_schema_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_module, "CONSTANTS", ("str",))
    assert judged(Video, model(id=int)).reason == "body: its schema is not understood (KeyError: 'members')"


def test_proof_beyond_its_budget_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_module, "BUDGET", 1)
    assert judged(Video, model(id=str)) == Verdict("undecided", "body: too hard to decide")


# --- the property ---


def reads(parameter: BodyParameter, event: Event[Any]) -> bool:
    try:
        encoded, kind = event.encode()
    except MessageInvalidError:  # its own type would read another value
        encoded, kind = event.spec.adapter.dump_json(event.body, by_alias=True), "application/json"
    delivery = Delivery(queue="", exchange="", routing_key="", body=encoded, properties={"content_type": kind})
    try:
        parameter.source(delivery, {})
    except InvalidArgumentError:
        return False
    return True


@settings(max_examples=300)
@given(st.data(), records(pairs) | pairs)
def test_proved_type_reads_every_written_body(data: st.DataObject, pair: Pair) -> None:
    written, read = pair
    if not is_proved(written.type, read.type):
        return

    adapter, reader = TypeAdapter(written.type), TypeAdapter(read.type)
    for body in data.draw(st.lists(written.values, max_size=5)):
        reader.validate_json(adapter.dump_json(body, by_alias=True))


@settings(max_examples=200)
@given(st.data(), records(pairs) | pairs)
def test_verdict_agrees_with_pydantic(data: st.DataObject, pair: Pair) -> None:
    """An accepted handler reads every body of the event, and a refusing one fails to read some body of it."""
    written, read = pair
    event, parameter = event_of(written.type), parameter_of(read.type)
    verdict = judge(event, parameter)
    note(verdict.answer)

    if verdict.answer == "accepted":
        for body in data.draw(st.lists(written.values, max_size=5)):
            assert reads(parameter, Event(event, "a", body)), body
    if verdict.answer == "refused":
        around = limits(schema_of(TypeAdapter(read.type)).node)
        assert not all(reads(parameter, Event(event, "a", body)) for body in example_bodies(event, around))


def example_bodies(event: EventSpec[Any], around: frozenset[int]) -> Iterator[Any]:
    for example in examples(schema_of(event.adapter), around):
        with suppress(ValueError):
            yield event.adapter.validate_json(example)

"""What stands in a contract of a body: what decides about it, alike with every version of pydantic, and no secret."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    PlainSerializer,
    RootModel,
    TypeAdapter,
)

from taskroute.graph.bodies.schema import schema_of
from taskroute.graph.contract.shapes import shape_of, text_of
from taskroute.graph.contract.types import type_of, validator_of

MODES: Final[tuple[Literal["read", "written"], ...]] = ("read", "written")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    """A docstring."""

    size: int = Field(3, title="Title", description="What it is", examples=[4])
    token: str = Field("hunter2", alias="key", max_length=5)


class Tree(BaseModel):
    children: list[Tree] = []
    leaf: Leaf | None = None


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    number: int = Field(validation_alias=AliasChoices("number", "no"))


class Validated(BaseModel):
    checked: Annotated[int, AfterValidator(lambda value: value)]
    replaced: Annotated[int, BeforeValidator(lambda value: value)]
    written: Annotated[int, PlainSerializer(lambda value: f"{value}")]


class Numbers(RootModel[list[int]]):
    pass


@dataclass
class Pair:
    one: int
    two: str = "x"


def shown(kind: Any, mode: Literal["read", "written"] = "read") -> Any:
    return shape_of(schema_of(TypeAdapter(kind)), mode)


LEAF = {"properties": {"key": {"maxLength": 5, "type": "string"}, "size": {"type": "integer"}}, "type": "object"}


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (int, {"type": "integer"}),
        (Any, {}),
        (Decimal, {"format": "decimal", "type": "string"}),
        (datetime, {"format": "date-time", "type": "string"}),
        (UUID, {"format": "uuid", "type": "string"}),
        (Path, {"type": "string", "x-validator": "after"}),
        (AnyUrl, {"format": "uri", "type": "string"}),
        (
            HttpUrl,
            {"format": "uri", "maxLength": 2083, "type": "string", "x-allowed-schemes": ["http", "https"]},
        ),
        (Colour, {"enum": ["blue", "red"]}),
        (Literal["b", "a"], {"enum": ["a", "b"]}),
        (Literal["a", "b"] | None, {"anyOf": [{"type": "null"}, {"enum": ["a", "b"]}]}),
        (Literal["a", None], {"anyOf": [{"type": "null"}, {"enum": ["a"]}]}),  # noqa: PYI061 - the point
        (str | int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}, {"type": "string"}]}),
        (int | Any, {}),
        (Numbers, {"items": {"type": "integer"}, "type": "array"}),
        (
            tuple[int, str],
            {"maxItems": 2, "minItems": 2, "prefixItems": [{"type": "integer"}, {"type": "string"}], "type": "array"},
        ),
        (dict[str, int], {"additionalProperties": {"type": "integer"}, "type": "object"}),
        (Annotated[int, Field(ge=0, lt=10)], {"exclusiveMaximum": 10, "minimum": 0, "type": "integer"}),
        (Annotated[list[int], Field(min_length=1)], {"items": {"type": "integer"}, "minItems": 1, "type": "array"}),
        (
            Pair,
            {
                "properties": {"one": {"type": "integer"}, "two": {"type": "string"}},
                "required": ["one"],
                "type": "object",
            },
        ),
        (Leaf, LEAF),
        (
            Strict,
            {
                "additionalProperties": False,
                "properties": {"number": {"type": "integer", "x-also": ["no"], "x-strict": True}},
                "required": ["number"],
                "type": "object",
            },
        ),
        (
            Tree,
            {
                "$defs": {
                    "1": {
                        "properties": {
                            "children": {"items": {"$ref": "#/$defs/1"}, "type": "array"},
                            "leaf": {"anyOf": [LEAF, {"type": "null"}]},
                        },
                        "type": "object",
                    }
                },
                "$ref": "#/$defs/1",
            },
        ),
    ],
    ids=str,
)
def test_type_that_is_read_has_one_shape_in_every_version(kind: Any, shape: Any) -> None:
    assert shown(kind) == shape


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (IPv4Address, {"type": "string"}),
        (set[int], {"items": {"type": "integer"}, "type": "array", "uniqueItems": True}),
        (Leaf, {**LEAF, "required": ["key", "size"]}),
    ],
    ids=str,
)
def test_type_that_is_written_has_one_shape_in_every_version(kind: Any, shape: Any) -> None:
    assert shown(kind, "written") == shape


def test_code_of_the_users_is_said_to_decide() -> None:
    read, written = shown(Validated)["properties"], shown(Validated, "written")["properties"]

    assert [read[name].get("x-validator") for name in ("checked", "replaced", "written")] == ["after", "instead", None]
    assert written["written"] == {"x-serializer": True}


def test_defaults_and_texts_for_people_stay_out() -> None:
    text = text_of(shown(Leaf)) + text_of(shown(Leaf, "written"))

    assert not [word for word in ("hunter2", "docstring", "What it is", "Title", "examples", "Leaf") if word in text]


@pytest.mark.parametrize(
    "kind", [Tree, Strict, Pair, Literal["a", 1] | None, dict[str, Leaf], tuple[int, str]], ids=str
)
def test_type_made_of_a_shape_has_that_shape(kind: Any) -> None:
    for mode in MODES:
        shape = shown(kind, mode)

        assert shape_of(type_of(json.loads(text_of(shape))), "read") == shape


def test_type_made_of_a_shape_reads_further_names() -> None:
    reads = validator_of(type_of(shown(Strict)))

    assert reads.validate_json(b'{"no": 1}') == reads.validate_json(b'{"number": 1}')

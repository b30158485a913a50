"""Types and bodies for the property tests: what is written, and what is read, often not quite the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from hypothesis import strategies as st
from pydantic import ConfigDict, Field, create_model


class Colour(Enum):
    RED = "red"
    BLUE = 2


class Made(NamedTuple):
    """A type and bodies of it."""

    type: Any
    values: st.SearchStrategy[Any]


finite = st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes(timezones=st.just(UTC))
PLAIN = [
    Made(int, st.integers(-(2**70), 2**70)),
    Made(float, finite),
    Made(bool, st.booleans()),
    Made(str, st.text(st.characters(codec="utf-8"), max_size=8)),
    Made(type(None), st.none()),
    Made(Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    Made(date, st.dates()),
    Made(datetime, moments),
    Made(timedelta, st.timedeltas(timedelta(days=-999), timedelta(days=999))),
    Made(UUID, st.uuids()),
    Made(Literal["a", "b"], st.sampled_from(["a", "b"])),
    Made(Literal["a", 1], st.sampled_from(["a", 1])),
    Made(Colour, st.sampled_from(Colour)),
    Made(Annotated[int, Field(ge=0)], st.integers(0, 2**70)),
    Made(Annotated[int, Field(gt=0, le=10)], st.integers(1, 10)),
    Made(Annotated[float, Field(lt=10)], st.floats(-1e300, 10, exclude_max=True)),
    Made(Annotated[str, Field(min_length=1)], st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)),
    Made(Annotated[str, Field(max_length=3)], st.text(st.characters(codec="utf-8"), max_size=3)),
    Made(Annotated[int, Field(strict=True)], st.integers()),
    Made(Annotated[str, Field(min_length=2, max_length=3)], st.text("ab", min_size=2, max_size=3)),
]
Pair = tuple[Made, Made]
"""The type that is written, and the type that is read."""

plain = st.sampled_from(PLAIN)
CONFIGS = st.sampled_from(
    [ConfigDict(), ConfigDict(), ConfigDict(extra="forbid"), ConfigDict(extra="allow"), ConfigDict(strict=True)]
)


def containers(pair: Pair) -> st.SearchStrategy[Pair]:
    """The pair inside of containers, of the same kind mostly."""
    ways: list[Callable[[Made], Made]] = [
        lambda made: Made(list[made.type], st.lists(made.values, max_size=3)),  # type: ignore[name-defined]
        lambda made: Made(tuple[made.type, ...], st.lists(made.values, max_size=3).map(tuple)),  # type: ignore[name-defined]
        lambda made: Made(
            Annotated[list[made.type], Field(min_length=1)],  # type: ignore[name-defined]
            st.lists(made.values, min_size=1, max_size=3),
        ),
        lambda made: Made(tuple[made.type, int], st.tuples(made.values, st.integers())),  # type: ignore[name-defined]
        lambda made: Made(dict[str, made.type], st.dictionaries(st.text("abc"), made.values, max_size=3)),  # type: ignore[name-defined]
        lambda made: Made(made.type | None, made.values | st.none()),
        lambda made: made,
    ]
    written, read = pair
    same = st.sampled_from(ways).map(lambda way: (way(written), way(read)))
    return same | st.tuples(st.sampled_from(ways), st.sampled_from(ways)).map(
        lambda two: (two[0](written), two[1](read))
    )


def unions(first: Pair, second: Pair) -> st.SearchStrategy[Pair]:
    (one, one_read), (two, two_read) = first, second
    written = Made(one.type | two.type, one.values | two.values)
    return st.sampled_from([(written, Made(two_read.type | one_read.type, st.nothing())), (written, one_read)])


@st.composite
def records(draw: st.DrawFn, inner: st.SearchStrategy[Pair]) -> Pair:
    written: dict[str, Any] = {}
    read: dict[str, Any] = {}
    values: dict[str, st.SearchStrategy[Any]] = {}
    for name in draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True)):
        (kind, some), (other, _) = draw(inner)
        where = draw(st.sampled_from(["both", "both", "both", "both", "written", "read"]))
        alias = draw(st.sampled_from([None, None, f"{name}_"]))
        if where != "read":
            is_optional = draw(st.booleans())
            written[name] = (kind, Field(draw(some), alias=alias) if is_optional else Field(alias=alias))
            values[alias or name] = some
        if where != "written":
            read[alias or name] = (other, Field(None) if draw(st.booleans()) else Field())
    kind = create_model("Written", __config__=draw(CONFIGS), **written)
    bodies = st.fixed_dictionaries({}, optional=values) if not written else st.fixed_dictionaries(values)
    return (
        Made(kind, bodies.map(kind.model_validate)),
        Made(create_model("Read", __config__=draw(CONFIGS), **read), st.nothing()),
    )


pairs = st.recursive(
    plain.map(lambda made: (made, made)) | st.tuples(plain, plain),
    lambda inner: (
        records(inner)
        | records(inner)
        | inner.flatmap(containers)
        | st.tuples(inner, inner).flatmap(lambda two: unions(*two))
    ),
    max_leaves=6,
)

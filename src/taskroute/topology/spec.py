"""Spec, the base of all specs: frozen, no unknown fields, and clear refusals."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from taskroute.errors import TopologyError
from taskroute.keys.short_string import check_key
from taskroute.quoting import shorten
from taskroute.suggestion import did_you_mean

if TYPE_CHECKING:
    from pydantic import ModelWrapValidatorHandler
    from pydantic_core import ErrorDetails

Value = StrictStr | StrictInt | StrictBool


def _frozen_table(table: Mapping[str, Value]) -> Mapping[str, Value]:
    for name, value in table.items():
        check_key(name, "name of an argument or header", ValueError)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name}={value} does not fit into 64 bits")
        if isinstance(value, str):
            value.encode()  # a lone surrogate cannot be sent; the error is a ValueError
    return MappingProxyType(dict(table))


def _thawed(table: Mapping[str, Value]) -> dict[str, Value]:
    return dict(table)


Table = Annotated[Mapping[str, Value], AfterValidator(_frozen_table), PlainSerializer(_thawed)]


class Spec(BaseModel):
    """Frozen, no unknown fields, and every refusal a TopologyError.

    A subclass says `frozen=True` again: type checkers without a plugin for pydantic read it there only.
    """

    # Deferred: the first spec pays for the validators, not every process that imports the library.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )
    _written: ClassVar[str]
    """How to write it: the way out in the error for a value of another type."""

    if not TYPE_CHECKING:  # a type checker reads the fields instead

        def __new__(cls, *positional: object, **fields: object) -> Self:  # noqa: D102
            if positional:
                way_out = _written_out(cls, positional, fields)
                raise TypeError(f"{cls.__name__} takes its fields by name: write {way_out}")
            return super().__new__(cls)

        __new__.__signature__ = inspect.signature(BaseModel.__init__)  # what `help` shows: nothing by position

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process make the same spec, as one that is started gets its arguments."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return _made_again, (
            type(self),
            {name: _thawed(each) if isinstance(each, Mapping) else each for name, each in given.items()},
        )

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_clearly(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            if not isinstance(data, Mapping):  # pydantic does not say here which field it is
                raise TopologyError(f"{type(data).__name__} instead of {cls.__name__}: write {cls._written}") from None
            raise TopologyError(f"{_subject(cls, data)}: {describe_fields(error, cls.model_fields)}") from None
        except TopologyError as error:  # of a spec inside this one
            raise TopologyError(f"{_subject(cls, data)}: {error}") from None

    @model_validator(mode="after")
    def _check(self) -> Self:
        for problem in self._problems():
            name = getattr(self, "name", None)
            subject = type(self).__name__ if name is None else f"{type(self).__name__} {shorten(name)}"
            raise TopologyError(f"{subject}: {problem}")
        return self

    def _problems(self) -> Iterator[str]:
        """Yield what the broker would refuse, or accept and ignore: "field: reason; way out"."""
        return iter(())


def _made_again(kind: type[Spec], fields: Mapping[str, Any]) -> Spec:
    return kind(**fields)


def _written_out(kind: type[Spec], positional: Collection[object], fields: Collection[str]) -> str:
    named = [f"{name}={reprlib.repr(value)}" for name, value in zip(kind.model_fields, positional, strict=False)]
    more = ["..."] if fields or len(named) < len(positional) else []
    return f"{kind.__name__}({', '.join(named + more)})"


def a_list(example: str) -> BeforeValidator:
    """Refuse a value that is not a list; `example` shows one. Pydantic would take a single spec apart into fields."""

    def check(value: object) -> object:
        if isinstance(value, Spec | str | bytes | Mapping) or not isinstance(value, Iterable):
            raise ValueError(f"write a list, {example}, not one {type(value).__name__}")
        return value

    return BeforeValidator(check)


def _subject(kind: type[Spec], data: object) -> str:
    name = data.get("name") if isinstance(data, Mapping) else None
    return f"{kind.__name__} {shorten(name)}" if isinstance(name, str) else kind.__name__


def describe_fields(error: ValidationError, known: Iterable[str] = ()) -> str:
    """Return field and text of each problem, never a value, and with an unknown field the `known` ones."""
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in problem["loc"])
        text = _text(problem, known)
        problems.append(f"{field}: {text}" if field else text)
    return "; ".join(problems)


def _text(problem: ErrorDetails, known: Iterable[str]) -> str:
    if known and problem["type"] == "extra_forbidden":
        names = list(known)
        there_are = f"its field is {names[0]}" if len(names) == 1 else f"there are {', '.join(names)}"
        return f"there is no such field; {did_you_mean(str(problem['loc'][-1]), known, there_are)}"
    if known and problem["type"].startswith("time_delta"):
        return "write seconds, 60, or a timedelta"
    return problem["msg"].removeprefix("Value error, ")

"""Spec: what all specs have in common: frozen, no unknown fields, and clear refusals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)

from taskroute.errors import TopologyError
from taskroute.patterns import check_key, shorten

Value = StrictStr | StrictInt | StrictBool


def _frozen_table(table: Mapping[str, Value]) -> Mapping[str, Value]:
    for name, value in table.items():
        check_key(name, "name of an argument or header", ValueError)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError(f"{name}={value} does not fit into 64 bits")
        if isinstance(value, str):
            value.encode()  # a lone surrogate cannot be sent; the error is a ValueError
    return MappingProxyType(dict(table))


Table = Annotated[Mapping[str, Value], AfterValidator(_frozen_table), PlainSerializer(dict)]


class Spec(BaseModel):
    """Frozen, no unknown fields, and every refusal a TopologyError.

    A subclass says `frozen=True` again: type checkers without a plugin for pydantic read it there only.
    """

    # Deferred: the first spec pays for the validators, not every process that imports the library.
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )
    _written: ClassVar[str]
    """How it is written, for whoever gives something else."""

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_clearly(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            if not isinstance(data, Mapping):  # the field's name does not get as far as here
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
        """What the broker would refuse, or accept and ignore: the field, the reason, the way out."""
        return iter(())


def _subject(kind: type[Spec], data: object) -> str:
    name = data.get("name") if isinstance(data, Mapping) else None
    return f"{kind.__name__} {shorten(name)}" if isinstance(name, str) else kind.__name__


def describe_fields(error: ValidationError, known: Iterable[str] = ()) -> str:
    """Field and text of each problem, without the values that were given; the `known` fields beside an unknown one."""
    problems = []
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden" and known:
            text = f"there is no such field; there are {', '.join(known)}"
        problems.append(f"{field}: {text}" if field else text)
    return "; ".join(problems)

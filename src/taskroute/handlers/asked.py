"""Asked: what a parameter asks a worker for, as no message has it: a resource, or a part such as its publisher.

A handler is registered before anything is opened. So its plan says only what it asks for, and a worker that takes the
handler answers, once; what the answer gives is read for each message.
"""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

from dataclasses import dataclass
from inspect import Parameter
from typing import Any, Final, NoReturn, TypeVar, get_args, get_origin

from taskroute.errors import ConfigurationError
from taskroute.handlers.marks import Resource, mark_of
from taskroute.keys.pattern import Captures
from taskroute.message.delivery import Delivery

Kind = TypeVar("Kind", bound=type)

_PART: Final = "__taskroute_part__"


def part_of_worker(kind: Kind) -> Kind:
    """Have the decorated class, though not its subclasses, be what a worker gives to whoever is annotated with it."""
    setattr(kind, _PART, True)
    return kind


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a parameter asks for. A source that gives nothing: a worker puts another one in its place.

    Attributes:
        parameter: its name.
        type: what it asks for, without the mark.
        is_resource: whether it has the mark; otherwise it asks for a part.
        default: of the parameter, `Parameter.empty` where it has none.
    """

    parameter: str
    type: Any
    is_resource: bool
    default: Any

    def __call__(self, _: Delivery, __: Captures) -> NoReturn:
        """Say that nothing gives it."""
        raise ConfigurationError(f"{self}, and nothing gives it")

    def __str__(self) -> str:
        by = " by Resource()" if self.is_resource else ""
        return f"parameter {self.parameter!r} asks for {name_of_type(self.type)}{by}"


def asked_by(parameter: Parameter) -> Asked | None:
    """Return what a parameter asks a worker for, None if it asks for nothing."""
    if mark_of(parameter, Resource) is not None:
        return Asked(parameter.name, get_args(parameter.annotation)[0], is_resource=True, default=parameter.default)
    if isinstance(parameter.annotation, type) and _PART in vars(parameter.annotation):
        return Asked(parameter.name, parameter.annotation, is_resource=False, default=parameter.default)
    return None


def name_of_type(kind: Any) -> str:
    """Return a type for people, without the modules of a class."""
    return kind.__qualname__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)

"""Marks: what stands in the annotation of a parameter and says what it takes.

A mark means nothing to Python: the plan of a handler reads it once, at registration.
"""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin

from taskroute.exported import exported_by

Provider = Callable[..., Any]
"""Makes what a parameter takes: a function, a generator function that yields once, a class."""

M = TypeVar("M")


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Depends:
    """The mark of a parameter that a provider makes: ``session: Annotated[Session, Depends(open_session)]``.

    A provider is called once for each message, however many parameters ask for it. It is a function, or a generator
    that yields once, behind a decorator or not: what follows its ``yield`` runs after the handler, before the message
    is acknowledged. An error of the handler is raised at the ``yield``, so release things with ``with`` or ``finally``;
    the message has failed even if the generator swallows the error. A provider may have the parameters that a handler
    may have, except for the body.

    Providers of an ``async def`` handler, plain or async, run on the event loop. Those of a plain handler must be
    plain, and run in its thread.

    Example:
        >>> def open_session():
        ...     with Session() as session:
        ...         yield session
    """

    provider: Provider


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Header:
    """The mark of a parameter that takes a header: ``tenant: Annotated[str, Header("x-tenant")]``."""

    name: str


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Resource:
    """The mark of a parameter that takes what is open as long as the worker runs: ``Annotated[Pool, Resource()]``.

    It is what the lifespan of a `Service` yields, or what a `Worker` was given as `resources`, if it is of that type.
    Of a dataclass it is the field of that type; of several, the one with the name of the parameter. Handlers may ask
    for it, and the providers of `Depends`.

    Example:
        >>> class Pool: ...
        >>> def open_session(pool: Annotated[Pool, Resource()]):
        ...     with pool.session() as session:
        ...         yield session
    """


MARKS: Final[Mapping[str, type]] = {mark.__name__: mark for mark in (Depends, Header, Resource)}
"""Every mark by its name."""

SHARED_NAMES: Final = ("Depends", "Header")
"""Those of marks under which other libraries have marks of their own."""


def marks_of(parameter: Parameter) -> tuple[Any, ...]:
    """Return what stands beside the type in the annotation of a parameter."""
    annotation = parameter.annotation
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def mark_of(parameter: Parameter, kind: type[M]) -> M | None:
    """Return the first mark of a kind that a parameter has, None when it has none."""
    return next((mark for mark in marks_of(parameter) if isinstance(mark, kind)), None)

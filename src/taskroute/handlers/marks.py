"""Marks: what the annotation of a parameter says about where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args, get_origin

Provider = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Depends:
    """Marks a parameter that a provider makes: ``session: Annotated[Session, Depends(open_session)]``.

    A provider is called once for each message, however many parameters ask for it. It is a function, or a generator
    that yields once: what follows its ``yield`` runs after the handler, before the message is acknowledged. An error
    of the handler is raised at the ``yield``, so release things with ``with`` or ``finally``; the message has failed
    whatever the generator makes of it. A provider may ask for what a handler may ask for, but the body.

    Providers of an ``async def`` handler may be async, and run on the event loop, plain ones too. Those of a plain
    handler are plain and run in its thread.

    Example:
        >>> def open_session():
        ...     with Session() as session:
        ...         yield session
    """

    provider: Provider


@dataclass(frozen=True, slots=True)
class Header:
    """Marks a parameter that takes a header of the message: ``tenant: Annotated[str, Header("x-tenant")]``."""

    name: str


MARKS: Final[Mapping[str, type]] = {"Depends": Depends, "Header": Header}


def marks_of(annotation: Any) -> tuple[Any, ...]:
    """Return what stands beside the type in an annotation."""
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()

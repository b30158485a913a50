"""Call: one attempt at handling a message, as a test compares it."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from unittest import mock

from taskroute.exported import exported_by
from taskroute.handlers.handler import Handler
from taskroute.message.message import Message


@exported_by("taskroute.testing")
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Call:
    """One attempt: what a handler was called with, and what it raised.

    Equal to the ``unittest.mock.call(...)`` that passes the same arguments, by position or by name. What `call` does
    not mention and is a `Message` or made by a provider is not compared.

    Example:
        >>> from unittest.mock import call
        >>> assert harness.handled(transcode) == [call(Video(id="1"), action="upload")]
    """

    arguments: Mapping[str, object]
    """By the name of the parameter; empty for an error from outside of the function, of a middleware or provider."""
    message: Message
    """The envelope, with the routing key, headers and attempt."""
    at: float
    """When it began, in seconds since the harness was entered, on the harness's clock."""
    error: BaseException | None = None
    handler: Handler = field(repr=False)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Call):
            return self.arguments == other.arguments
        if not isinstance(other, type(mock.call)):
            return NotImplemented
        signature = inspect.signature(self.handler.function)
        try:
            expected = signature.bind_partial(*other.args, **other.kwargs)
        except TypeError:
            return False  # no such parameter
        expected.apply_defaults()
        return all(
            expected.arguments[name] == self.arguments.get(name, parameter.default)
            if name in expected.arguments
            else self._need_not_be_named(name)
            for name, parameter in signature.parameters.items()
        )

    __hash__ = None  # type: ignore[assignment] # what it is equal to has no hash that could be the same

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"call({arguments})" + (f" that raised {self.error!r}" if self.error is not None else "")

    def _need_not_be_named(self, parameter: str) -> bool:
        made = dict(self.handler.plan.needs)
        return parameter in made or isinstance(self.arguments.get(parameter), Message)

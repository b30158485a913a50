"""Call: one attempt to handle a message, which a test compares with the call that it expects."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from collections.abc import Mapping
from dataclasses import dataclass, field
from unittest import mock

from taskroute.exported import exported_by
from taskroute.handlers.annotations import signature_as_written
from taskroute.handlers.asked import Asked
from taskroute.handlers.handler import Handler
from taskroute.message.message import Message


@exported_by("taskroute.testing")
@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Call:
    """One attempt to handle a message: the arguments of the handler, and the error that it raised.

    Equal to the ``unittest.mock.call(...)`` that passes the same arguments, by position or by name. Arguments that are
    a `Message` or come from a provider or the worker are compared only if the expected call has them.

    Example:
        >>> from unittest.mock import call
        >>> assert harness.handled(transcode) == [call(Video(id="1"), action="upload")]
    """

    arguments: Mapping[str, object]
    """By the name of the parameter; empty if a middleware or provider raised the error."""
    message: Message
    """The message, with its routing key, headers and attempt."""
    at: float
    """When the attempt began, in seconds of the harness's clock since it was entered."""
    error: BaseException | None = None
    handler: Handler = field(repr=False)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Call):
            return self.arguments == other.arguments
        if not isinstance(other, type(mock.call)):
            return NotImplemented
        signature = signature_as_written(self.handler.function)
        try:
            expected = signature.bind_partial(*other.args, **other.kwargs)
        except TypeError:
            return False  # no such parameter
        expected.apply_defaults()
        return all(
            expected.arguments[name] == self.arguments.get(name, parameter.default)
            if name in expected.arguments
            else self._may_be_left_out(name)
            for name, parameter in signature.parameters.items()
        )

    __hash__ = None  # type: ignore[assignment] # `unittest.mock.call` has no hash that could be equal

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"call({arguments})" + (f" that raised {self.error!r}" if self.error is not None else "")

    def _may_be_left_out(self, parameter: str) -> bool:
        plan = self.handler.plan
        made = {*dict(plan.needs), *(name for name, source in plan.sources if isinstance(source, Asked))}
        return parameter in made or isinstance(self.arguments.get(parameter), Message)

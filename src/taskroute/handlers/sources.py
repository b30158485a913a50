"""Sources: what a parameter takes from a message.

`READERS` is the table: each reader in turn is asked whether a parameter is for it. Readers run once, at registration;
the sources that they return run for every message, in the thread of its handler. The body is for the parameter that
no reader takes, see `body`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.asked import Asked, asked_by
from taskroute.handlers.marks import Header, mark_of
from taskroute.keys.pattern import Captures, RoutingPattern
from taskroute.message.delivery import Delivery
from taskroute.message.message import Message
from taskroute.message.outcome import Reason
from taskroute.message.undecoded import UndecodedValue
from taskroute.quoting import cut, shorten

Source = Callable[[Delivery, Captures], object]
"""Returns what a parameter takes from a message, or raises InvalidArgumentError."""

Reader = Callable[[Parameter, RoutingPattern], Source | None]
"""Returns the source of a parameter of a handler for a pattern, None for a parameter that is not for this reader."""

Answer = Callable[[Asked], Source]
"""Returns the source of what is asked of a worker."""

_ERRORS_SHOWN: Final = 3


class InvalidArgumentError(Exception):
    """A message does not give a parameter what it asks for. Internal: becomes the reason of its dead letter."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason: Reason = reason
        self.error = error


def answered(sources: Iterable[tuple[str, Source]], answer: Answer) -> tuple[tuple[str, Source], ...]:
    """Return sources by parameter, with others in place of what is asked of a worker."""
    return tuple((name, answer(source) if isinstance(source, Asked) else source) for name, source in sources)


def source_of(parameter: Parameter, pattern: RoutingPattern) -> Source | None:
    """Return the source of a parameter, None when no reader takes it."""
    sources = (reader(parameter, pattern) for reader in READERS)
    return next((source for source in sources if source is not None), None)


def _read_asked(parameter: Parameter, _: RoutingPattern) -> Source | None:
    return asked_by(parameter)


def _read_capture(parameter: Parameter, pattern: RoutingPattern) -> Source | None:
    name = parameter.name
    if name not in pattern.capture_names:
        return None
    if parameter.annotation is str:
        return lambda _, captures: _joined(captures[name])
    if parameter.annotation is parameter.empty:
        return lambda _, captures: captures[name]
    adapter = adapter_of(parameter)

    def validated(_: Delivery, captures: Captures) -> object:
        try:
            return adapter.validate_python(captures[name])
        except ValidationError as error:
            raise InvalidArgumentError("invalid_key", describe_invalid(error, name)) from None

    return validated


def _joined(capture: str | tuple[str, ...]) -> str:
    return capture if isinstance(capture, str) else ".".join(capture)


def _read_envelope(parameter: Parameter, _: RoutingPattern) -> Source | None:
    return (lambda delivery, _: delivery.message()) if parameter.annotation is Message else None


def _read_header(parameter: Parameter, _: RoutingPattern) -> Source | None:
    mark = mark_of(parameter, Header)
    if mark is None:
        return None
    header, default, adapter = mark.name, parameter.default, adapter_of(parameter)

    def validated(delivery: Delivery, _: Captures) -> object:
        headers = delivery.headers
        if header not in headers:
            if default is Parameter.empty:
                raise InvalidArgumentError("invalid_header", f"{header}: missing")
            return default
        value = headers[header]
        if isinstance(value, UndecodedValue):
            kind = value.kind.decode(errors="backslashreplace")
            raise InvalidArgumentError("invalid_header", f"{header}: a value of AMQP's type {kind!r} cannot be decoded")
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise InvalidArgumentError("invalid_header", describe_invalid(error, header)) from None

    return validated


READERS: Final[tuple[Reader, ...]] = (_read_asked, _read_capture, _read_envelope, _read_header)


def adapter_of(parameter: Parameter) -> TypeAdapter[Any]:
    """Return what validates a value for a parameter.

    Raises:
        HandlerSignatureError: its annotation is no type that pydantic can validate.
    """
    annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
    try:
        adapter = TypeAdapter[Any](annotation)
        adapter.validate_json(b"")  # pydantic resolves some names at the first use only
    except ValidationError:
        return adapter
    except Exception as error:  # noqa: BLE001 - types bring their own code, which may raise anything
        reason = cut(str(error))
        raise HandlerSignatureError(
            f"parameter {parameter.name!r} has an annotation that cannot be validated: {reason}"
        ) from None
    return adapter


def describe_invalid(error: ValidationError, subject: str) -> str:
    """Return field and type of the first few problems, never a value: ``"id: missing; file: string_type"``."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [
        f"{'.'.join(shorten(str(part)).strip(chr(39)) for part in problem['loc']) or subject}: {problem['type']}"
        for problem in problems[:_ERRORS_SHOWN]
    ]
    more = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")

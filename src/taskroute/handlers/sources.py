"""Sources: what a parameter takes from a message."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.marks import Header, marks_of
from taskroute.keys.pattern import Captures, RoutingPattern
from taskroute.message.message import Delivery, Message
from taskroute.message.outcome import Reason
from taskroute.quoting import shorten

Source = Callable[[Delivery, Captures], object]
"""What a parameter takes from a message."""

_JSON_TYPES: Final = frozenset({None, "", "application/json", "application/octet-stream"})

_PLAIN_ENCODINGS: Final = frozenset({None, "", "utf-8", "utf8", "us-ascii", "ascii", "binary"})

_ERRORS_SHOWN: Final = 3


class InvalidArgumentError(Exception):
    """A message does not give a parameter what it asks for. Internal: becomes the reason of its dead letter."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason: Reason = reason
        self.error = error


def source_of(parameter: inspect.Parameter, pattern: RoutingPattern, name: str) -> Source | None:
    """The source of a parameter that is not the body, or None."""
    annotation = parameter.annotation
    if parameter.name in pattern.capture_names:
        return _capture_source(parameter, name)
    if annotation is Message:
        return lambda delivery, _: delivery.message()
    headers = [mark for mark in marks_of(annotation) if isinstance(mark, Header)]
    return _header_source(parameter, headers[0].name, name) if headers else None


def _adapter(annotation: Any, parameter: str, name: str) -> TypeAdapter[Any]:
    try:
        adapter = TypeAdapter[Any](Any if annotation is inspect.Parameter.empty else annotation)
        adapter.validate_json(b"")  # pydantic puts off a name that it cannot resolve until the first use
    except ValidationError:
        return adapter
    except Exception as error:  # noqa: BLE001 - types bring their own code, which may raise anything
        reason = str(error).partition("\n")[0]
        raise HandlerSignatureError(
            f"handler {name}: parameter {parameter!r} has an annotation that cannot be validated: {reason}"
        ) from None
    return adapter


def _capture_source(parameter: inspect.Parameter, name: str) -> Source:
    key, annotation = parameter.name, parameter.annotation
    if annotation is str:
        return lambda _, captures: _joined(captures[key])
    if annotation is parameter.empty:
        return lambda _, captures: captures[key]
    adapter = _adapter(annotation, key, name)

    def validated(_: Delivery, captures: Captures) -> object:
        try:
            return adapter.validate_python(captures[key])
        except ValidationError as error:
            raise InvalidArgumentError("invalid_key", describe_invalid(error, key)) from None

    return validated


def _joined(capture: str | tuple[str, ...]) -> str:
    return capture if isinstance(capture, str) else ".".join(capture)


def _header_source(parameter: inspect.Parameter, header: str, name: str) -> Source:
    adapter = _adapter(parameter.annotation, parameter.name, name)
    default = parameter.default

    def validated(delivery: Delivery, _: Captures) -> object:
        headers = delivery.headers
        if header not in headers:
            if default is parameter.empty:
                raise InvalidArgumentError("invalid_header", f"{header}: missing")
            return default
        try:
            return adapter.validate_python(headers[header])
        except ValidationError as error:
            raise InvalidArgumentError("invalid_header", describe_invalid(error, header)) from None

    return validated


def body_source(parameter: inspect.Parameter, name: str) -> Source:
    """The source of the parameter that takes the body."""
    if parameter.annotation is bytes:
        return lambda delivery, _: delivery.body
    if parameter.annotation is str:
        return _text_body
    validate_json = _adapter(parameter.annotation, parameter.name, name).validate_json

    def validated(delivery: Delivery, _: Captures) -> object:
        check_content(delivery)
        try:
            if b"NaN" in delivery.body or b"Infinity" in delivery.body:
                from_json(delivery.body, allow_inf_nan=False)
            return validate_json(delivery.body)
        except ValidationError as error:
            raise InvalidArgumentError("invalid_body", describe_invalid(error, "body")) from None
        except ValueError:
            raise InvalidArgumentError("invalid_body", "body: NaN and Infinity are not JSON") from None

    return validated


def _text_body(delivery: Delivery, _: Captures) -> object:
    _check_encoding(delivery)
    try:
        return delivery.body.decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError("invalid_body", "body: not UTF-8") from None


def check_content(delivery: Delivery) -> None:
    """Raise InvalidArgumentError unless the body claims to be plain JSON; nothing is ever unpacked or inflated."""
    content_type = delivery.properties.get("content_type")
    if content_type not in _JSON_TYPES:
        kind = str(content_type).partition(";")[0].strip().lower()
        if kind not in _JSON_TYPES and not kind.endswith(("/json", "+json")):
            raise InvalidArgumentError("unsupported_content", f"content_type: {shorten(kind)}")
    _check_encoding(delivery)


def _check_encoding(delivery: Delivery) -> None:
    encoding = delivery.properties.get("content_encoding")
    if encoding not in _PLAIN_ENCODINGS and str(encoding).lower() not in _PLAIN_ENCODINGS:
        raise InvalidArgumentError("unsupported_content", f"content_encoding: {shorten(str(encoding))}")
    compression = delivery.headers.get("compression")
    if compression is not None:
        raise InvalidArgumentError("unsupported_content", f"compression: {shorten(str(compression))}")


def describe_invalid(error: ValidationError, subject: str) -> str:
    """Field and type of the first few problems, never a value: ``"id: missing; file: string_type"``."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [
        f"{'.'.join(shorten(str(part)).strip(chr(39)) for part in problem['loc']) or subject}: {problem['type']}"
        for problem in problems[:_ERRORS_SHOWN]
    ]
    more = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")

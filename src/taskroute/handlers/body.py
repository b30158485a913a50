"""Body: the parameter that takes a message's body, and how the bytes become its value.

Nothing is ever unpacked or inflated: what is not plain JSON, text or bytes becomes a dead letter.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from contextlib import suppress
from inspect import Parameter
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from taskroute.handlers.sources import InvalidArgumentError, Source, adapter_of, describe_invalid
from taskroute.keys.pattern import Captures
from taskroute.message.content import TEXT
from taskroute.message.delivery import Delivery
from taskroute.message.reading_back import root_kind
from taskroute.quoting import shorten

_JSON_TYPES: Final = frozenset({None, "", "application/json", "application/octet-stream"})
_JSON_NAMES: Final = frozenset({"text/x-json", "application/x-json"})
_PLAIN_ENCODINGS: Final = frozenset({None, "", "utf-8", "utf8", "us-ascii", "ascii", "binary"})
_CHARSETS: Final = frozenset(
    {"utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be", "iso-8859-1", "latin1", "windows-1252"}
)
"""What a content type may say besides UTF-8."""

_MARKS: Final[Mapping[bytes, str]] = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_MARKED: Final = frozenset(mark[:1] for mark in _MARKS)


class BodyParameter(NamedTuple):
    """The parameter that takes the body, and how its value is read from a delivery."""

    name: str
    annotation: Any
    source: Source


def body_parameter(parameter: Parameter) -> BodyParameter:
    """Return how a parameter reads the body: as it is, as text, or as JSON.

    Raises:
        HandlerSignatureError: its annotation cannot be validated.
    """
    return BodyParameter(parameter.name, parameter.annotation, _source(parameter))


def _source(parameter: Parameter) -> Source:
    if parameter.annotation is str:
        return _text
    as_it_is = _AS_IT_IS.get(parameter.annotation) if isinstance(parameter.annotation, type) else None
    if as_it_is is not None:
        return lambda delivery, _: as_it_is(delivery.body)
    adapter = adapter_of(parameter)
    if root_kind(adapter.core_schema) == "bytes":
        return _validated(lambda delivery: adapter.validate_python(delivery.body))
    return _validated(_json(adapter.validate_json))


_AS_IT_IS: Final[Mapping[type, Callable[[bytes], Any]]] = {
    bytes: lambda body: body,
    bytearray: bytearray,
    memoryview: memoryview,
}


def _text(delivery: Delivery, _: Captures) -> object:
    _check_encoding(delivery)
    try:
        return delivery.body.decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError("invalid_body", "body: not UTF-8") from None


def _validated(read: Callable[[Delivery], object]) -> Source:
    def validated(delivery: Delivery, _: Captures) -> object:
        try:
            return read(delivery)
        except ValidationError as error:
            raise InvalidArgumentError("invalid_body", describe_invalid(error, "body")) from None

    return validated


def _json(validate: Callable[[bytes], object]) -> Callable[[Delivery], object]:
    def read(delivery: Delivery) -> object:
        content_type, body = delivery.properties.get("content_type"), delivery.body
        _check_encoding(delivery)
        if content_type not in _JSON_TYPES:
            kind, charset = _kind_and_charset(str(content_type))
            if kind == TEXT:
                return _text_as_json(delivery, validate)
            _check_kind(kind)
            body = _as_utf8(body, charset)
        if body[:1] in _MARKED:
            body = _without_mark(body)
        if b"NaN" in body or b"Infinity" in body:
            _check_finite(body)
        return validate(body)

    return read


def _check_finite(body: bytes) -> None:
    try:
        from_json(body, allow_inf_nan=False)
    except ValueError:
        raise InvalidArgumentError("invalid_body", "body: NaN and Infinity are not JSON") from None


def _text_as_json(delivery: Delivery, validate: Callable[[bytes], object]) -> object:
    """Read text for a type that may be one, for example an enum of texts."""
    text = _text(delivery, {})
    with suppress(ValidationError):
        return validate(to_json(text))
    raise InvalidArgumentError("unsupported_content", f"content_type: {shorten(TEXT)}")


def _kind_and_charset(content_type: str) -> tuple[str, str]:
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    given = dict(parameter.partition("=")[::2] for parameter in parameters)
    return kind, given.get("charset", "").strip("\"' ")


def _check_kind(kind: str) -> None:
    """Refuse a body that claims to be anything but JSON."""
    if kind not in _JSON_TYPES and kind not in _JSON_NAMES and not kind.endswith(("/json", "+json")):
        raise InvalidArgumentError("unsupported_content", f"content_type: {shorten(kind)}")


def _as_utf8(body: bytes, charset: str) -> bytes:
    if charset in _PLAIN_ENCODINGS:
        return body
    if charset not in _CHARSETS:
        raise InvalidArgumentError("unsupported_content", f"charset: {shorten(charset)}")
    try:
        return body.decode(charset).encode()
    except UnicodeError:
        raise InvalidArgumentError("invalid_body", f"body: not {charset}") from None


def _without_mark(body: bytes) -> bytes:
    """Return a body in UTF-8 and without the byte order mark that it begins with."""
    for mark, encoding in _MARKS.items():
        if body.startswith(mark):
            try:
                return body[len(mark) :].decode(encoding).encode()
            except UnicodeError:
                return body  # what is wrong with it is found by who reads it
    return body


def _check_encoding(delivery: Delivery) -> None:
    """Refuse a body that claims to be compressed, or in a character set other than UTF-8."""
    encoding = delivery.properties.get("content_encoding")
    if encoding not in _PLAIN_ENCODINGS and str(encoding).lower() not in _PLAIN_ENCODINGS:
        raise InvalidArgumentError("unsupported_content", f"content_encoding: {shorten(str(encoding))}")
    compression = delivery.headers.get("compression")
    if compression is not None:
        raise InvalidArgumentError("unsupported_content", f"compression: {shorten(str(compression))}")

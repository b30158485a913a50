"""Body: the parameter that takes a message's body, and how the bytes become its value.

Nothing is ever unpacked or inflated: what is not plain JSON, text or bytes becomes a dead letter.
"""

from __future__ import annotations

from inspect import Parameter
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import from_json

from taskroute.handlers.sources import InvalidArgumentError, Source, adapter_of, describe_invalid
from taskroute.keys.pattern import Captures
from taskroute.message.delivery import Delivery
from taskroute.quoting import shorten

_JSON_TYPES: Final = frozenset({None, "", "application/json", "application/octet-stream"})
_PLAIN_ENCODINGS: Final = frozenset({None, "", "utf-8", "utf8", "us-ascii", "ascii", "binary"})


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
    if parameter.annotation is bytes:
        return lambda delivery, _: delivery.body
    return _text if parameter.annotation is str else _json(parameter)


def _text(delivery: Delivery, _: Captures) -> object:
    _check_encoding(delivery)
    try:
        return delivery.body.decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError("invalid_body", "body: not UTF-8") from None


def _json(parameter: Parameter) -> Source:
    validate_json = adapter_of(parameter).validate_json

    def validated(delivery: Delivery, _: Captures) -> object:
        _check_content_type(delivery)
        _check_encoding(delivery)
        try:
            if b"NaN" in delivery.body or b"Infinity" in delivery.body:
                from_json(delivery.body, allow_inf_nan=False)
            return validate_json(delivery.body)
        except ValidationError as error:
            raise InvalidArgumentError("invalid_body", describe_invalid(error, "body")) from None
        except ValueError:
            raise InvalidArgumentError("invalid_body", "body: NaN and Infinity are not JSON") from None

    return validated


def _check_content_type(delivery: Delivery) -> None:
    """Refuse a body that claims to be anything but JSON."""
    content_type = delivery.properties.get("content_type")
    if content_type in _JSON_TYPES:
        return
    kind = str(content_type).partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES and not kind.endswith(("/json", "+json")):
        raise InvalidArgumentError("unsupported_content", f"content_type: {shorten(kind)}")


def _check_encoding(delivery: Delivery) -> None:
    """Refuse a body that claims to be compressed, or in a character set other than UTF-8."""
    encoding = delivery.properties.get("content_encoding")
    if encoding not in _PLAIN_ENCODINGS and str(encoding).lower() not in _PLAIN_ENCODINGS:
        raise InvalidArgumentError("unsupported_content", f"content_encoding: {shorten(str(encoding))}")
    compression = delivery.headers.get("compression")
    if compression is not None:
        raise InvalidArgumentError("unsupported_content", f"compression: {shorten(str(compression))}")

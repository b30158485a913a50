"""Archive: letters as lines of JSON, and back, without a loss. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from taskroute.errors import ConfigurationError
from taskroute.message.undecoded import UndecodedText, UndecodedValue
from taskroute.operate.dead_letters.letter import Letter, read_letter

VERSION: Final = 1

_FOR_PEOPLE: Final = (
    "queue",
    "exchange",
    "routing_key",
    "reason",
    "error",
    "handler",
    "attempt",
    "replays",
    "written_by",
)
"""What is told besides; it is not read back, but found anew in what the letter carries."""


class BrokenLineError(ConfigurationError):
    """A line is no letter. The text says which one, and why."""


def line_of(letter: Letter) -> str:
    """Return a letter as a line, without its end."""
    told = {name: getattr(letter, name) for name in _FOR_PEOPLE}
    failed_at = None if letter.failed_at is None else letter.failed_at.isoformat(timespec="milliseconds")
    return json.dumps(
        {
            "version": VERSION,
            "id": letter.id,
            "lies_in": letter.lies_in,
            **told,
            "failed_at": failed_at,
            "came": list(letter.came),
            "properties": jsonable(letter.properties),
            **body_fields(letter.body),
        }
    )


def body_fields(body: bytes) -> dict[str, str]:
    """Return a body for JSON: as text if it is one.

    >>> body_fields(b"{}"), body_fields(bytes([255]))
    ({'body': '{}', 'body_encoding': 'utf-8'}, {'body': '/w==', 'body_encoding': 'base64'})
    """
    try:
        return {"body": body.decode(), "body_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "body_encoding": "base64"}


def letters_in(lines: Iterable[str | bytes]) -> Iterator[Letter]:
    """Yield the letters that lines are. Empty lines are none.

    Raises:
        BrokenLineError: names the line.
    """
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _letter(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
                what = f"there is no {error}" if isinstance(error, KeyError) else str(error)
                raise BrokenLineError(f"line {number} is no letter: {what}") from None


def _letter(record: Any) -> Letter:
    if not isinstance(record, dict):
        raise TypeError("it is no object")
    if record["version"] != VERSION:
        raise ValueError(f"version {record['version']!r} is not {VERSION}")
    exchange, routing_key = record["came"]
    body, lies_in = record["body"], record["lies_in"]
    if not all(isinstance(each, str) for each in (body, lies_in, exchange, routing_key)):
        raise TypeError("'body', 'lies_in' and 'came' are texts")
    is_text = {"utf-8": True, "base64": False}[record["body_encoding"]]
    properties = _decoded(record["properties"])
    if not isinstance(properties, dict) or not isinstance(properties.get("application_headers", {}), dict):
        raise TypeError("'properties' and its 'application_headers' are objects")
    return read_letter(
        lies_in,
        (exchange, routing_key),
        properties,
        body.encode() if is_text else base64.b64decode(body, validate=True),
    )


def jsonable(value: object) -> Any:
    """Return a value of AMQP for JSON: what that does not know is an object with one key that begins with ``$``."""
    if isinstance(value, Mapping):
        table = {name: jsonable(each) for name, each in value.items()}
        return {"$table": [*table.items()]} if any(name.startswith("$") for name in table) else table
    if isinstance(value, list | tuple):
        return [jsonable(each) for each in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$bytes": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, UndecodedText):
        return {"$text": base64.b64encode(value.encoded).decode()}
    if isinstance(value, UndecodedValue):
        return {"$undecoded": [value.kind.decode("latin-1"), base64.b64encode(value.encoded).decode()]}
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("$table", items)]:
            return {name: _decoded(each) for name, each in items}
        case [("$bytes", text)]:
            return base64.b64decode(text, validate=True)
        case [("$time", text)]:
            return datetime.fromisoformat(text)
        case [("$decimal", text)]:
            return Decimal(text)
        case [("$text", text)]:
            return UndecodedText.of(base64.b64decode(text, validate=True))
        case [("$undecoded", [kind, text])]:
            return UndecodedValue(kind.encode("latin-1"), base64.b64decode(text, validate=True))
    return {name: _decoded(each) for name, each in value.items()}

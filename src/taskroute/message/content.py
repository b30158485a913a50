"""Content: a body as bytes, and the content type that says how to read it."""

from __future__ import annotations

from typing import Final

from pydantic_core import PydanticSerializationError

from taskroute.errors import MessageInvalidError
from taskroute.message.json_body import JsonType, write

BYTES: Final = "application/octet-stream"
TEXT: Final = "text/plain"
JSON: Final = "application/json"

_BYTES_LIKE: Final = (bytes, bytearray, memoryview)  # a union would be made anew for each body


def encode(body: object, declared: JsonType | None = None) -> tuple[bytes, str]:
    """Return the bytes and the content type of a body: bytes as they are, str as UTF-8, anything else as JSON.

    Args:
        body: to encode.
        declared: its type, where that is known; bytes are JSON where a type may be bytes or something else.

    Raises:
        MessageInvalidError: it cannot be encoded, or a handler of the same type could not read it.
    """
    try:
        if isinstance(body, _BYTES_LIKE) and (declared is None or declared.is_raw):
            return body if type(body) is bytes else bytes(body), BYTES
        if isinstance(body, str):
            if declared is not None:
                declared.check_text(body)
            return body.encode(), TEXT
        return write(body) if declared is None else declared.write(body), JSON
    except (PydanticSerializationError, UnicodeEncodeError, ValueError) as error:
        raise MessageInvalidError(f"the body, {type(body).__name__}, cannot be encoded: {error}") from None

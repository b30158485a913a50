"""Content: a body as bytes, and the content type that says how to read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from taskroute.errors import MessageInvalidError

BYTES: Final = "application/octet-stream"
TEXT: Final = "text/plain"
JSON: Final = "application/json"


def _as_json(body: object) -> bytes:
    if isinstance(body, BaseModel):
        return body.__pydantic_serializer__.to_json(body, by_alias=True)
    return to_json(body, inf_nan_mode="constants")


def encode(body: object, as_json: Callable[[object], bytes] = _as_json) -> tuple[bytes, str]:
    """Return the bytes and the content type of a body: bytes as they are, str as UTF-8, anything else as JSON.

    Fields are written under their aliases, as handlers read them.

    Raises:
        MessageInvalidError: it cannot be encoded.
    """
    try:
        if isinstance(body, bytes):
            return body, BYTES
        if isinstance(body, str):
            return body.encode(), TEXT
        return as_json(body), JSON
    except (PydanticSerializationError, UnicodeEncodeError, ValueError) as error:
        raise MessageInvalidError(f"the body, {type(body).__name__}, cannot be encoded: {error}") from None

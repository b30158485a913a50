"""Refusal: the broker's refusal of a request, with AMQP's reply codes."""

from __future__ import annotations

from typing import Final

CONNECTION_FORCED: Final = 320
ACCESS_REFUSED: Final = 403
NOT_FOUND: Final = 404
RESOURCE_LOCKED: Final = 405
PRECONDITION_FAILED: Final = 406
COMMAND_INVALID: Final = 503
NOT_ALLOWED: Final = 530
NOT_IMPLEMENTED: Final = 540
INTERNAL_ERROR: Final = 541

_NAMES: Final = {
    CONNECTION_FORCED: "CONNECTION_FORCED",
    ACCESS_REFUSED: "ACCESS_REFUSED",
    NOT_FOUND: "NOT_FOUND",
    RESOURCE_LOCKED: "RESOURCE_LOCKED",
    PRECONDITION_FAILED: "PRECONDITION_FAILED",
    COMMAND_INVALID: "COMMAND_INVALID",
    NOT_ALLOWED: "NOT_ALLOWED",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    INTERNAL_ERROR: "INTERNAL_ERROR",
}
_SOFT: Final = {ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED}


class Refusal(Exception):  # noqa: N818 - AMQP has no errors, only replies
    """A request is refused. A soft code closes the channel that the request came by, a hard one the connection."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{_NAMES[code]} - {text}")
        self.code = code

    @property
    def closes_connection(self) -> bool:
        """Whether the code is one of AMQP's hard errors."""
        return self.code not in _SOFT

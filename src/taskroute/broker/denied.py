"""DeniedError: the broker has refused a user something for want of a right."""

from __future__ import annotations

from typing import Final

from taskroute.errors import BrokerError

ACCESS_REFUSED: Final = 403
"""AMQP's code for it."""


class DeniedError(BrokerError):
    """A right is missing. The text names it, and nothing was changed."""


def is_denied(error: BaseException | None) -> bool:
    """Return whether a broker has answered with that code. A queue that is in exclusive use has it too."""
    return getattr(error, "code", None) == ACCESS_REFUSED

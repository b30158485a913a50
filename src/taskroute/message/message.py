"""Message: what a handler sees of a delivery, as a frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from taskroute.exported import exported_by

NO_HEADERS: Final[Mapping[str, object]] = MappingProxyType({})


@exported_by("taskroute")
@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message as its handler sees it. Frozen; safe to keep and to pass to other threads.

    On every attempt, `exchange` and `routing_key` are those that it was published with. `attempt` counts from 1.
    `timestamp` is in UTC.

    Example:
        >>> Message(body=b"{}", routing_key="video.upload").attempt
        1
    """

    body: bytes
    routing_key: str
    exchange: str = ""
    queue: str = ""
    headers: Mapping[str, object] = field(default_factory=lambda: NO_HEADERS)
    message_id: str | None = None
    correlation_id: str | None = None
    type: str | None = None
    content_type: str | None = None
    timestamp: datetime | None = None
    reply_to: str | None = None
    priority: int | None = None
    redelivered: bool = False
    attempt: int = 1

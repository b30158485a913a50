"""Options: the keyword arguments of a publish, and those of a publisher for those who pass them on."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Required, TypedDict

from taskroute.broker.declare import DeclareMode
from taskroute.exported import exported_by
from taskroute.topology.exchange import ExchangeSpec


@exported_by("taskroute")
class EventOptions(TypedDict, total=False):
    """Keyword arguments of `Publisher.publish`, `submit` and `publish_many` for an event."""

    headers: Mapping[str, object] | None
    """str, int, bool, bytes, datetime, None, and lists and dicts of them."""
    message_id: str | None
    """Left out, a new one."""
    correlation_id: str | None
    type: str | None
    reply_to: str | None
    content_type: str | None
    """Left out, by the kind of the body."""
    timestamp: datetime | None
    expiration: float | timedelta | None
    """Seconds until the message expires in its queue."""
    priority: int | None
    """0 to 255."""
    persistent: bool
    """Survives a restart of the broker, in durable queues. Left out, True."""
    mandatory: bool
    """False lets the broker drop a message that no queue takes. Left out, True."""
    timeout: float | None
    """Seconds until the message is given up. Left out, the publisher's."""


@exported_by("taskroute")
class PublishOptions(EventOptions, total=False):
    """Keyword arguments of `Publisher.publish`, `submit` and `publish_many` for a body and its routing key."""

    exchange: Required[ExchangeSpec | str]
    """Of the topology, or "" for the default exchange."""


@exported_by("taskroute")
class PublisherOptions(TypedDict, total=False):
    """Keyword arguments of `Publisher` that a `Service` passes on; see there."""

    max_in_flight: int
    timeout: float
    declare: DeclareMode
    name: str | None
    tls: ssl.SSLContext | None
    heartbeat: float
    max_body_size: int

"""The embedded broker behind a URL, for tests that look into it or break its connections."""

from __future__ import annotations

from taskroute.broker.embedded import transport
from taskroute.broker.embedded.engine import Broker
from taskroute.broker.url import parse_urls


def broker_of(url: str) -> Broker:
    """Return the broker that a ``memory://`` URL names."""
    return transport.broker(parse_urls(url)[0].host)

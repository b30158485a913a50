"""The URL of a service: as it was given, or from the environment."""

from __future__ import annotations

import os
from typing import Final

from taskroute.broker.url import UrlSource, parse_urls
from taskroute.errors import BrokerUrlError

VARIABLE: Final = "TASKROUTE_URL"
"""The environment variable with the URL of a service that names none: one, or the nodes of a cluster, by spaces."""


def url_of(given: UrlSource | None) -> UrlSource:
    """Return what a service was given as its URL, or what the environment says now.

    Raises:
        BrokerUrlError: neither says one, or that of the environment cannot be used.
    """
    if given is not None:
        return given
    urls = os.environ.get(VARIABLE, "").split()
    if not urls:
        raise BrokerUrlError(
            f"no broker URL: set {VARIABLE}, such as 'amqp://user:password@host/', or Service(url=...)"
        )
    try:
        parse_urls(urls)
    except BrokerUrlError as error:
        raise BrokerUrlError(f"{VARIABLE}: {error}") from None
    return urls

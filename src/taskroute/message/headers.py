"""Names of the headers that are reserved for this library: ``x-taskroute-*``."""

from __future__ import annotations

from typing import Final

HEADER_PREFIX: Final = "x-taskroute-"
ATTEMPT: Final = HEADER_PREFIX + "attempt"
EXCHANGE: Final = HEADER_PREFIX + "exchange"
ROUTING_KEY: Final = HEADER_PREFIX + "routing-key"
QUEUE: Final = HEADER_PREFIX + "queue"
REASON: Final = HEADER_PREFIX + "reason"
ERROR: Final = HEADER_PREFIX + "error"
ERROR_TEXT: Final = HEADER_PREFIX + "error-text"
ERROR_TRACEBACK: Final = HEADER_PREFIX + "error-traceback"
HANDLER: Final = HEADER_PREFIX + "handler"
FAILED_AT: Final = HEADER_PREFIX + "failed-at"
REPLAYS: Final = HEADER_PREFIX + "replays"
"""How often an operator has sent a dead letter back to the queue that it failed in."""
HEADERS_DROPPED: Final = HEADER_PREFIX + "headers-dropped"
"""How many headers were left out of a republished message, because they did not fit into a frame."""

ORIGINAL_PREFIX: Final = HEADER_PREFIX + "original-"
"""Prefix for ``CC``, ``BCC``, ``expiration`` and ``user_id``, which a republished message must not carry as such.

The broker would deliver it elsewhere, expire it early or close the channel.
"""

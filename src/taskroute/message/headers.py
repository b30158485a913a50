"""Names of the headers that are reserved for this library."""

from __future__ import annotations

from typing import Final

HEADER_PREFIX: Final = "x-taskroute-"
ATTEMPT: Final = HEADER_PREFIX + "attempt"
EXCHANGE: Final = HEADER_PREFIX + "exchange"
ROUTING_KEY: Final = HEADER_PREFIX + "routing-key"
QUEUE: Final = HEADER_PREFIX + "queue"
REASON: Final = HEADER_PREFIX + "reason"
ERROR: Final = HEADER_PREFIX + "error"
FAILED_AT: Final = HEADER_PREFIX + "failed-at"
HEADERS_DROPPED: Final = HEADER_PREFIX + "headers-dropped"
ORIGINAL_PREFIX: Final = HEADER_PREFIX + "original-"

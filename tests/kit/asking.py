"""What a running command answers over HTTP."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from typing import Any

from tests.kit.waiting import DEADLINE


def get(address: str, path: str) -> tuple[int, str]:
    """Return the status and the body of an answer."""
    with closing(http.client.HTTPConnection(address, timeout=DEADLINE)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def health(address: str, path: str = "/ready") -> dict[str, Any]:
    """Return what it says of its health."""
    answer: dict[str, Any] = json.loads(get(address, path)[1])
    return answer

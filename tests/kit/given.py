"""A RabbitMQ that is there already, such as a container: its URL comes from the environment.

TASKROUTE_TEST_URL is its AMQP URL, with a user who may create virtual hosts. TASKROUTE_TEST_API is the URL of its
management API; left out, that is port 15672 of the same host.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import urllib.request
import uuid
from collections.abc import Iterator
from urllib.parse import quote, unquote, urlsplit, urlunsplit

TIMEOUT = 60.0


class GivenBroker:
    """A broker that the tests do not start, stop or configure; they only make virtual hosts on it."""

    def __init__(self, url: str, api: str | None = None) -> None:
        self._url = urlsplit(url)
        self._api = (api or f"http://{self._url.hostname}:15672").rstrip("/")
        self._user, self._password = (unquote(part or "guest") for part in (self._url.username, self._url.password))

    @property
    def api(self) -> str:
        """The URL of its management API."""
        return self._api

    @contextlib.contextmanager
    def vhost(self) -> Iterator[str]:
        """Make a virtual host for one test, give its URL, and delete it afterwards."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self._request("PUT", f"vhosts/{name}")
        try:
            rights = {"configure": ".*", "write": ".*", "read": ".*"}
            self._request("PUT", f"permissions/{name}/{quote(self._user, safe='')}", rights)
            yield urlunsplit(self._url._replace(path=f"/{name}"))
        finally:
            self._request("DELETE", f"vhosts/{name}")

    def _request(self, method: str, path: str, body: object = None) -> None:
        tell(self._api, f"{self._user}:{self._password}", method, path, body)


def tell(api: str, user: str, method: str, path: str, body: object = None) -> None:
    """Have a management API change something. `user`: with the password, parted by a colon."""
    credentials = base64.b64encode(user.encode()).decode()
    request = urllib.request.Request(
        f"{api}/api/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT):
        pass


def broker() -> GivenBroker | None:
    """Return the broker that the environment names, None where it names none."""
    url = os.environ.get("TASKROUTE_TEST_URL")
    return GivenBroker(url, os.environ.get("TASKROUTE_TEST_API")) if url else None

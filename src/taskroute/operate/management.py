"""ManagementApi: what RabbitMQ's management plugin says about queues, over HTTP. Used by one thread.

The tag `management` suffices. What it says is some seconds old.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlsplit
from urllib.request import Request, urlopen

from taskroute.broker.url import LOOPBACK
from taskroute.errors import BrokerUnavailableError, BrokerUrlError

_TIMEOUT: Final = 10.0
"""Seconds for one answer."""


class ManagementApi:
    """Asks the management API of one broker.

    The password is in no `repr` and no error.

    Args:
        url: ``http://host:15672`` or ``https://user:password@host``, with or without ``/api``.
        user: who asks, unless the URL says so.
        password: of that user.

    Raises:
        BrokerUrlError: the URL cannot be used.
    """

    def __init__(self, url: str, *, user: str, password: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise BrokerUrlError("the URL of the management API cannot be read") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BrokerUrlError("the URL of the management API starts with http://host or https://host")
        if parts.query or parts.fragment or any(each in f"{parts.hostname}{parts.path}" for each in "@,;"):
            # What stands there may be a piece of the password.
            raise BrokerUrlError(
                "the URL of the management API is that of one host, without a query: "
                "percent-encode '/', '#', '?', '[' and '@' in user and password"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        path = parts.path.rstrip("/").removesuffix("/api")
        self._base: Final = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
        self._authorization: Final = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"

    @property
    def warning(self) -> str | None:
        """What an operator should know about the safety of asking, None if there is nothing."""
        parts = urlsplit(self._base)
        is_safe = parts.scheme == "https" or parts.hostname in LOOPBACK
        return None if is_safe else "the password travels in the clear; use https://"

    def __repr__(self) -> str:
        return f"ManagementApi({self._base!r})"

    def queue(self, virtual_host: str, name: str) -> Mapping[str, Any] | None:
        """Return what is known of a queue, None if there is none.

        Raises:
            BrokerUnavailableError: there is no answer, or one that denies it or cannot be read.
        """
        path = f"/api/queues/{quote(virtual_host, safe='')}/{quote(name, safe='')}"
        request = Request(f"{self._base}{path}")  # noqa: S310 - the scheme was looked at
        request.add_unredirected_header("Authorization", self._authorization)
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
                found = json.load(answer)
        except HTTPError as error:
            error.close()
            if error.code == HTTPStatus.NOT_FOUND:
                return None
            raise self._failed(f"it answers {error.code} {error.reason}") from None
        except URLError as error:
            raise self._failed(str(error.reason)) from None
        except (OSError, HTTPException, ValueError) as error:
            raise self._failed(f"{type(error).__name__}: {error}") from None
        return found if isinstance(found, Mapping) else None

    def _failed(self, why: str) -> BrokerUnavailableError:
        return BrokerUnavailableError(f"the management API at {self._base} cannot be asked: {why}")

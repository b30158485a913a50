"""ManagementApi: what RabbitMQ's management plugin says, over HTTP. Used by one thread.

The tag `management` suffices. What it counts is some seconds old.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from itertools import count
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, unquote, urlencode, urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from taskroute.broker.denied import DeniedError
from taskroute.broker.url import LOOPBACK
from taskroute.errors import BrokerUnavailableError, BrokerUrlError
from taskroute.quoting import shorten

_TIMEOUT: Final = 10.0
"""Seconds for one answer, unless the caller says so."""
_PAGE_SIZE: Final = 500
"""The most that a broker gives at once."""
_MOST_REASON: Final = 4096
_NO_RIGHT: Final = "Access refused"
"""The reason that it gives if the user is let in, and the broker refuses what the API asks of it on his behalf."""
_ITS_PORTS: Final = "its own port is 15671 with https, 15672 with http"
_ANOTHER: Final = f"another program answers there, or a proxy; {_ITS_PORTS}"


class ManagementApi:
    """Asks the management API of one broker.

    The password is in no `repr` and no error, and is sent in the clear to this machine only.

    Args:
        url: ``http://127.0.0.1:15672`` or ``https://user:password@host``, with or without ``/api``.
        user: who asks, unless the URL says so.
        password: of that user.
        timeout: seconds for each answer.

    Raises:
        BrokerUrlError: the URL cannot be used.
    """

    def __init__(self, url: str, *, user: str, password: str, timeout: float = _TIMEOUT) -> None:
        self._timeout: Final = timeout
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
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            raise BrokerUrlError(
                f"the password would travel in the clear to the management API at {parts.hostname}: use https://, "
                "or http://127.0.0.1 with a tunnel, such as ssh -L 15672:127.0.0.1:15672"
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        path = parts.path.rstrip("/").removesuffix("/api")
        self._base: Final = f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{path}"
        if parts.username is not None:
            user, password = unquote(parts.username), unquote(parts.password or "")
        self._authorization: Final = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
        # A proxy would be told the password where the way to it is in the clear.
        self._opener: Final[OpenerDirector] = (
            build_opener() if parts.scheme == "https" else build_opener(ProxyHandler({}))
        )

    def __repr__(self) -> str:
        return f"ManagementApi({self._base!r})"

    def get(self, *path: str, **query: str | int) -> Any | None:
        """Return what stands at a path below ``/api``, None if there is nothing.

        Args:
            *path: its parts; each is percent-encoded, a virtual host ``/`` too.
            **query: of the URL.

        Raises:
            BrokerUnavailableError: there is no answer, or one that denies it or cannot be read.
        """
        return self._send("GET", path, f"?{urlencode(query)}" if query else "")

    def delete(self, *path: str) -> None:
        """Delete what stands at a path, if it does. Otherwise as `get`.

        Raises:
            DeniedError: it takes a right that this user does not have.
        """
        self._send("DELETE", path)

    def _send(self, method: str, path: Iterable[str], ending: str = "") -> Any | None:
        asked = "/".join(quote(part, safe="") for part in path)
        request = Request(f"{self._base}/api/{asked}{ending}", method=method)  # noqa: S310 - the scheme was looked at
        request.add_unredirected_header("Authorization", self._authorization)
        request.add_header("Accept", "application/json")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return _read(answer)
        except HTTPError as error:
            with error:
                if error.code == HTTPStatus.NOT_FOUND and _is_json(error):
                    return None
                reason = _reason(error)
                if method == "DELETE" and reason.startswith(_NO_RIGHT):
                    raise DeniedError(f"the broker answers the management API: {reason}") from None
                raise self._failed(_denial(error, reason)) from None
        except URLError as error:
            raise self._failed(f"{error.reason}; {_ITS_PORTS}") from None
        except (RecursionError, ValueError):
            raise self._failed(f"its answer is no JSON; {_ANOTHER}") from None
        except HTTPException as error:
            raise self._failed(f"it does not answer as HTTP does ({type(error).__name__}); {_ANOTHER}") from None
        except OSError as error:
            raise self._failed(f"{type(error).__name__}: {error}; {_ITS_PORTS}") from None

    def each(self, *path: str, **query: str | int) -> Iterator[Any]:
        """Yield what is in a list at a path, page by page where the broker has pages of it. Otherwise as `get`."""
        for number in count(1):
            found = self.get(*path, page=number, page_size=_PAGE_SIZE, **query)
            items, pages = (found.get("items"), found.get("page_count")) if isinstance(found, Mapping) else (found, 1)
            if not isinstance(items, list) or not isinstance(pages, int):
                raise self.unexpected(*path)
            yield from items
            if number >= pages:
                return

    def queue(self, virtual_host: str, name: str) -> Mapping[str, Any] | None:
        """Return what is known of a queue, None if there is none. Raises what `get` does."""
        found = self.get("queues", virtual_host, name)
        if found is not None and (not isinstance(found, Mapping) or found.get("name") != name):
            raise self.unexpected("queues", virtual_host, name)
        return found

    def unexpected(self, *path: str) -> BrokerUnavailableError:
        """Return the error for an answer that is none of RabbitMQ's."""
        return self._failed(f"what it says of {shorten('/'.join(path))} is nothing that RabbitMQ says; {_ANOTHER}")

    def _failed(self, why: str) -> BrokerUnavailableError:
        return BrokerUnavailableError(f"the management API at {self._base} cannot be asked: {why}")


def _read(answer: HTTPResponse) -> Any:
    told = answer.read()
    return json.loads(told) if told or answer.status != HTTPStatus.NO_CONTENT else None


def _is_json(error: HTTPError) -> bool:
    """Return whether it is RabbitMQ that has nothing there, and not a web server that has no such page."""
    return "json" in (error.headers.get("Content-Type") or "")


def _denial(error: HTTPError, reason: str) -> str:
    told = f"it answers {error.code} {error.reason}{f' ({shorten(reason)})' if reason else ''}"
    if error.code == HTTPStatus.UNAUTHORIZED:
        return f"{told}: check user and password, the tag management, and the right to the virtual host"
    if error.code == HTTPStatus.FORBIDDEN:
        return f"{told}: this user may not ask for that; grant the tag management, or ask as another user"
    if error.code == HTTPStatus.NOT_FOUND:
        return f"{told}; {_ANOTHER}"
    return told


def _reason(error: HTTPError) -> str:
    """Return what RabbitMQ says of it, empty for nothing."""
    try:
        told = json.loads(error.read(_MOST_REASON))["reason"]
    except (OSError, HTTPException, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return told if isinstance(told, str) else ""

"""A user of one virtual host whose rights a test changes, over the management API: rabbitmqctl takes its time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote

from tests.kit.given import tell

from taskroute.broker.url import parse_urls

Names = tuple[str, ...]
"""Patterns, each of the name of one entity or of several that are alike."""


class Rights(NamedTuple):
    """What a user may do: the tag for the management API, and the names that he may configure, write to and read."""

    tag: str = ""
    configure: Names = ()
    write: Names = ()
    read: Names = ()

    @property
    def patterns(self) -> tuple[str, str, str]:
        """What RabbitMQ is told of the names: configure, write and read."""
        return pattern_of(self.configure), pattern_of(self.write), pattern_of(self.read)

    def each_less(self, *, by_kind: bool = False) -> Iterator[tuple[str, Names, Rights]]:
        """Yield, for each right, which it is, for what, and the others. `by_kind`: each for all its names at once."""
        if self.tag:
            yield "tag", (self.tag,), self._replace(tag="")
        for kind in ("configure", "write", "read"):
            names: Names = getattr(self, kind)
            for taken in filter(None, (names,) if by_kind else ((name,) for name in names)):
                left = tuple(name for name in names if name not in taken)
                yield kind, taken, Rights(**self._asdict() | {kind: left})


def pattern_of(names: Names) -> str:
    """Return the pattern that takes these names alone.

    >>> pattern_of(()), pattern_of(("shop",)), pattern_of(("shop", "orders"))
    ('^$', '^shop$', '^(shop|orders)$')
    """
    return f"^({'|'.join(names)})$" if len(names) > 1 else f"^{''.join(names)}$"


class LimitedUser:
    """A user. `url` is that of the virtual host, as this user.

    Args:
        api: of the management API.
        url: of the virtual host, as a user who may make others.
        password: of the new one.
    """

    def __init__(self, api: str, url: str, password: str) -> None:
        (self._maker,) = parse_urls(url)
        self._api = api
        self._password = password
        self._name = f"limited-{self._maker.virtual_host}"
        host = f"{self._maker.host}:{self._maker.port}"
        self.url = f"amqp://{self._name}:{password}@{host}/{quote(self._maker.virtual_host, safe='')}"

    def may(self, rights: Rights) -> None:
        """Give these rights, and no others."""
        configure, write, read = rights.patterns
        self._request("PUT", f"users/{self._name}", {"password": self._password, "tags": rights.tag})
        where = f"permissions/{quote(self._maker.virtual_host, safe='')}/{self._name}"
        self._request("PUT", where, {"configure": configure, "write": write, "read": read})

    def remove(self) -> None:
        """Have there be no such user any more."""
        self._request("DELETE", f"users/{self._name}")

    def _request(self, method: str, path: str, body: object = None) -> None:
        tell(self._api, f"{self._maker.user}:{self._maker.password}", method, path, body)


@contextmanager
def limited_user(api: str, url: str, password: str) -> Iterator[LimitedUser]:
    """Have a user without any right for as long as the block takes. Arguments as `LimitedUser`."""
    user = LimitedUser(api, url, password)
    user.may(Rights())
    try:
        yield user
    finally:
        user.remove()

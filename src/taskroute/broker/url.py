"""Broker URLs: what they name, and how they are shown without their password."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from taskroute.errors import BrokerUrlError

Scheme = Literal["memory", "amqp", "amqps"]

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_DEFAULT_MEMORY: Final = "default"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_WAY_OUT: Final = "percent-encode '/', '#', '?', '[' and '@' in user and password"


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """One node: an embedded broker by its name, or a RabbitMQ by host and virtual host.

    The password is in no `repr` and no `str`.
    """

    scheme: Scheme
    host: str
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    virtual_host: str = "/"
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def __str__(self) -> str:
        if self.scheme == "memory":
            return f"memory://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.user}@{host}:{self.port}/{self.virtual_host.lstrip('/')}"

    @property
    def warning(self) -> str | None:
        """What an operator should know about the safety of the connection, None if there is nothing."""
        if self.scheme == "amqp" and self.host not in _LOOPBACK:
            return "the password and every message travel in the clear; use amqps://"
        if self.tls is not None and (self.tls.verify_mode != ssl.CERT_REQUIRED or not self.tls.check_hostname):
            return "tls= does not verify the broker's certificate and host name"
        return None


def parse_urls(urls: str | Sequence[str], tls: ssl.SSLContext | None = None) -> tuple[BrokerUrl, ...]:
    """Parse one URL or several nodes of one cluster.

    Args:
        urls: ``memory://NAME``, ``amqp://user:password@host:5672/vhost`` or ``amqps://...``.
        tls: for `amqps`; left out, the system's authorities are trusted and the host name is checked.

    Raises:
        BrokerUrlError: another scheme, no user, an option, `memory` among others; the password is never repeated.
    """
    nodes = [urls] if isinstance(urls, str) else list(urls or ())
    if not nodes:
        raise BrokerUrlError("no broker URL: give one, such as 'memory://' or 'amqp://user:password@host/'")
    parsed = tuple(_parse(node, tls) for node in nodes)
    if len(parsed) > 1 and any(node.scheme == "memory" for node in parsed):
        raise BrokerUrlError("memory:// is a broker by itself: give one URL, or only amqp:// ones of one cluster")
    return parsed


def _parse(url: str, tls: ssl.SSLContext | None) -> BrokerUrl:
    scheme, found, _ = url.partition("://") if isinstance(url, str) else ("", "", "")
    if not found or scheme not in ("memory", "amqp", "amqps"):
        redis = "; Redis is not supported yet" if scheme.startswith("redis") else ""
        raise BrokerUrlError(f"a broker URL starts with memory://, amqp:// or amqps://, not {scheme[:20]!r}{redis}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BrokerUrlError(f"the {scheme} URL cannot be read: {_WAY_OUT}") from None
    try:
        port = parts.port
    except ValueError:
        # Not repeated: it may be a piece of the password.
        what = "its port is no number up to 65535; if that is no port, " if "@" in parts.netloc else ""
        raise BrokerUrlError(f"the {scheme} URL cannot be read: {what}{_WAY_OUT}") from None
    if parts.query or parts.fragment:
        otherwise = "" if scheme == "memory" else f"; {_WAY_OUT}"
        what = f"the {scheme} URL has a query or a fragment"
        raise BrokerUrlError(f"{what}: options are arguments, not part of the URL{otherwise}")
    if scheme == "memory":
        return _memory(parts)
    if tls is not None and scheme == "amqp":
        raise BrokerUrlError("tls= is given, but the URL is amqp://: use amqps://")
    return _amqp("amqps" if scheme == "amqps" else "amqp", parts, port, tls)


def _memory(parts: SplitResult) -> BrokerUrl:
    if parts.path.strip("/") or parts.username or parts.password:
        raise BrokerUrlError("memory://NAME takes a name and nothing else")
    return BrokerUrl("memory", parts.netloc or _DEFAULT_MEMORY)


def _amqp(
    scheme: Literal["amqp", "amqps"], parts: SplitResult, port: int | None, tls: ssl.SSLContext | None
) -> BrokerUrl:
    if not parts.hostname:
        raise BrokerUrlError(f"the {scheme} URL names no host")
    if not parts.username or parts.password is None:
        raise BrokerUrlError(
            f"the {scheme} URL for {parts.hostname} names no user and password: "
            f"{scheme}://user:password@{parts.hostname}/"
        )
    return BrokerUrl(
        scheme=scheme,
        host=parts.hostname,
        port=port or _PORTS[scheme],
        user=unquote(parts.username),
        password=unquote(parts.password),
        virtual_host=unquote(parts.path[1:]) or "/",
        tls=(tls or ssl.create_default_context()) if scheme == "amqps" else None,
    )

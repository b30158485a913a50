"""Broker URLs: what they name, how they are shown without their password, and where the next attempt goes."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args
from urllib.parse import SplitResult, quote, unquote, urlsplit

from taskroute.errors import BrokerUnavailableError, BrokerUrlError

Scheme = Literal["memory", "amqp", "amqps"]
Version = Literal["3.10", "3.13", "4.0", "4.3"]
"""A version of RabbitMQ whose rules an embedded broker follows."""

Urls = str | Sequence[str]
UrlSource = Urls | Callable[[], Urls]
"""What a worker or a publisher is given: URLs, or a function that returns them, for credentials that rotate."""

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_REMEMBERED: Final = 64
"""Passwords of a function that are remembered: those of messages that are handled may be older than the last ones."""
_DEFAULT_MEMORY: Final = "default"
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]{0,19})://", re.ASCII | re.IGNORECASE)
_WAY_OUT: Final = "percent-encode '/', '#', '?', '[' and '@' in user and password"


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """One node: an embedded broker by its name, or a RabbitMQ by host and virtual host.

    The password is in no `repr` and no `str`. With the password put back, `str` is a URL of the same node.
    """

    scheme: Scheme
    host: str
    port: int = 0
    user: str = ""
    password: str = field(default="", repr=False)
    virtual_host: str = "/"
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    rabbitmq: Version | None = None
    """The version that an embedded broker follows; None: whichever the name has."""

    def __str__(self) -> str:
        if self.scheme == "memory":
            return f"memory://{self.host}" + (f"?rabbitmq={self.rabbitmq}" if self.rabbitmq else "")
        user, path = _quoted(self.user), "" if self.virtual_host == "/" else _quoted(self.virtual_host)
        return f"{self.scheme}://{user}@{self.address}/{path}"

    @property
    def address(self) -> str:
        """Host and port, as a URL has them."""
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def warning(self) -> str | None:
        """What an operator should know about the safety of the connection, None if there is nothing."""
        if self.scheme == "amqp" and self.host not in LOOPBACK:
            return "the password and every message travel in the clear; use amqps://"
        if self.tls is not None and (self.tls.verify_mode != ssl.CERT_REQUIRED or not self.tls.check_hostname):
            return "tls= does not verify the broker's certificate and host name"
        return None


class Nodes:
    """Where a session connects: to each node in turn, asked for anew before each attempt if they come from a function.

    Two sessions may share it; each keeps its own place. Nothing in it changes but the passwords that it has met.

    Args:
        source: see `parse_urls`; a function is called by `ask` and nowhere else.
        tls: see `parse_urls`.

    Raises:
        BrokerUrlError: as `parse_urls`, unless `source` is a function.
    """

    def __init__(self, source: UrlSource, tls: ssl.SSLContext | None = None) -> None:
        self._source = source if callable(source) else None
        self._tls = tls
        self.fixed: Final[tuple[BrokerUrl, ...]] = () if callable(source) else parse_urls(source, tls)
        """The nodes, none if a function knows them."""
        self._lock = threading.Lock()  # of what follows
        self._passwords = _passwords(self.fixed)

    def passwords(self) -> Collection[str]:
        """Return the passwords of the nodes, plain and as URLs have them; the last ones, if a function knows them.

        Any thread may call.
        """
        with self._lock:
            return self._passwords

    def ask(self) -> tuple[BrokerUrl, ...]:
        """Return the nodes. Calls the function, if there is one: on the session's thread.

        Raises:
            BrokerUnavailableError: it raised, of which only the type is told; or it returned what is no URL.
        """
        if self._source is None:
            return self.fixed
        # Raised outside of `except`, so that what it raised, which may hold a secret, is not in the error's context.
        try:
            urls = self._source()
        except Exception as error:  # noqa: BLE001 - whatever it is, this attempt has failed
            problem = f"raised {type(error).__name__}"
        else:
            try:
                nodes = parse_urls(urls, self._tls)
            except BrokerUrlError as error:
                problem = f"returned what cannot be used: {error}"
            except Exception:  # noqa: BLE001
                problem = f"returned {type(urls).__name__}, neither a URL nor a sequence of them"
            else:
                with self._lock:
                    self._passwords = (*self._passwords, *_passwords(nodes))[-_REMEMBERED:]
                return nodes
        raise BrokerUnavailableError(f"the function that was given as url {problem}")


def parse_urls(urls: Urls, tls: ssl.SSLContext | None = None) -> tuple[BrokerUrl, ...]:
    """Parse one URL or several nodes of one cluster.

    Args:
        urls: ``memory://NAME``, ``memory://NAME?rabbitmq=4.3``, ``amqps://...`` or
            ``amqp://user:password@host:5672/vhost``.
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
    found = _SCHEME.match(url) if isinstance(url, str) else None
    scheme = "" if found is None else found[1]
    if scheme not in ("memory", "amqp", "amqps"):
        raise BrokerUrlError(f"a broker URL starts with memory://, amqp:// or amqps://{_instead(url, scheme)}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BrokerUrlError(f"the {scheme} URL cannot be read: {_WAY_OUT}") from None
    _refuse_several(scheme, url, parts)
    try:
        port = parts.port
    except ValueError:
        # Not repeated: it may be a piece of the password.
        what = "its port is no number up to 65535; if that is no port, " if "@" in parts.netloc else ""
        raise BrokerUrlError(f"the {scheme} URL cannot be read: {what}{_WAY_OUT}") from None
    if scheme == "memory":
        return _memory(parts)
    if parts.query or parts.fragment:
        what = f"the {scheme} URL has a query or a fragment"
        raise BrokerUrlError(f"{what}: options are arguments, not part of the URL; {_WAY_OUT}")
    if "@" in parts.path:  # what stands before it may be a piece of the password
        raise BrokerUrlError(f"the {scheme} URL has an '@' behind its host: {_WAY_OUT}")
    if tls is not None and scheme == "amqp":
        raise BrokerUrlError("tls= is given, but the URL is amqp://: use amqps://")
    return _amqp("amqps" if scheme == "amqps" else "amqp", parts, port, tls)


def _instead(url: object, scheme: str) -> str:
    """Return what a URL starts with instead. Only a scheme is repeated: anything else may be a password."""
    if scheme:
        return f", not {scheme!r}"
    return "; this one begins with a quotation mark: leave the quotes out" if str(url)[:1] in ("'", '"') else ""


def _refuse_several(scheme: str, url: str, parts: SplitResult) -> None:
    host = parts.netloc.rpartition("@")[2]
    if url.count("://") > 1 or "," in host or ";" in host:
        raise BrokerUrlError(
            f"the {scheme} URL looks like several: several nodes are a list, or in TASKROUTE_URL separated by spaces; "
            f"if it is one, {_WAY_OUT}"
        )


def _passwords(nodes: Sequence[BrokerUrl]) -> tuple[str, ...]:
    plain = [node.password for node in nodes if node.password]
    return tuple(dict.fromkeys([*plain, *(quote(each) for each in plain), *map(_quoted, plain)]))


def _quoted(text: str) -> str:
    return quote(text, safe="")


def _memory(parts: SplitResult) -> BrokerUrl:
    if parts.path.strip("/") or parts.username or parts.password:
        raise BrokerUrlError("memory://NAME takes a name, and ?rabbitmq=VERSION, and nothing else")
    return BrokerUrl("memory", parts.netloc or _DEFAULT_MEMORY, rabbitmq=_version(parts))


def _version(parts: SplitResult) -> Version | None:
    if not parts.query and not parts.fragment:
        return None
    for version in get_args(Version):
        if parts.query == f"rabbitmq={version}" and not parts.fragment:
            known: Version = version
            return known
    versions = ", ".join(get_args(Version))
    raise BrokerUrlError(
        f"memory://NAME takes one option, rabbitmq, the version that the embedded broker follows: one of {versions}"
    )


def _amqp(
    scheme: Literal["amqp", "amqps"], parts: SplitResult, port: int | None, tls: ssl.SSLContext | None
) -> BrokerUrl:
    if not parts.hostname:
        raise BrokerUrlError(f"the {scheme} URL names no host")
    if not parts.username or parts.password is None:
        raise BrokerUrlError(
            f"the {scheme} URL for {parts.hostname} names no user and password: write user:password@ before the host"
        )
    return BrokerUrl(
        scheme=scheme,
        host=parts.hostname.replace("%25", "%"),  # before the zone of an IPv6 address
        port=port or _PORTS[scheme],
        user=unquote(parts.username),
        password=unquote(parts.password),
        virtual_host=unquote(parts.path[1:]) or "/",
        tls=(tls or ssl.create_default_context()) if scheme == "amqps" else None,
    )

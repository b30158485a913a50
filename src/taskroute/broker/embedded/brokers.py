"""The embedded brokers of this process, by name: what the network is to other brokers. Safe from any thread."""

from __future__ import annotations

import threading
from typing import Final

from taskroute.broker.embedded.clock import Clock
from taskroute.broker.embedded.engine import Broker
from taskroute.broker.embedded.rules import NEWEST, RULES, Rules
from taskroute.broker.url import Version
from taskroute.errors import BrokerUrlError

DEFAULT_NAME: Final = "default"

_lock: Final = threading.Lock()
_brokers: Final[dict[str, Broker]] = {}


def broker(name: str = DEFAULT_NAME, version: Version | None = None) -> Broker:
    """Return the process's embedded broker of that name; the first use creates it.

    Args:
        name: of the broker.
        version: of RabbitMQ, whose rules it follows; None: those that it follows already, or else the newest.

    Raises:
        BrokerUrlError: it follows another version, or there is no such version.
    """
    wanted = _rules(version)
    with _lock:
        found = _brokers.get(name)
        if found is None:
            found = _brokers[name] = Broker(name, rules=wanted)
    if version is not None and found.rules is not wanted:
        raise BrokerUrlError(
            f"the embedded broker {name!r} follows RabbitMQ {found.rules.release}, not {version}: "
            f"leave ?rabbitmq= out, use another name, or drop it first"
        )
    return found


def create(name: str, clock: Clock, version: Version | None = None) -> Broker:
    """Create an embedded broker with a clock of its own.

    Raises:
        ValueError: there is one of that name.
        BrokerUrlError: there is no such version.
    """
    rules = _rules(version)
    with _lock:
        if name in _brokers:
            raise ValueError(f"the embedded broker {name!r} exists already; drop it first")
        created = _brokers[name] = Broker(name, clock, rules)
        return created


def drop(name: str = DEFAULT_NAME) -> None:
    """Forget an embedded broker with all it holds. Its connections see that the broker has closed them."""
    with _lock:
        dropped = _brokers.pop(name, None)
    if dropped is not None:
        dropped.close()


def _rules(version: Version | None) -> Rules:
    if version is None:
        return NEWEST
    if version not in RULES:
        raise BrokerUrlError(f"there is no embedded broker of version {version!r}, only of {', '.join(RULES)}")
    return RULES[version]

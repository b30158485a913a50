"""The embedded brokers of this process, by name: what the network is to other brokers. Safe from any thread."""

from __future__ import annotations

import threading
from typing import Final

from taskroute.broker.embedded.clock import Clock
from taskroute.broker.embedded.engine import Broker

DEFAULT_NAME: Final = "default"

_lock: Final = threading.Lock()
_brokers: Final[dict[str, Broker]] = {}


def broker(name: str = DEFAULT_NAME) -> Broker:
    """Return the process's embedded broker of that name; the first use creates it."""
    with _lock:
        found = _brokers.get(name)
        if found is None:
            found = _brokers[name] = Broker(name)
        return found


def create(name: str, clock: Clock) -> Broker:
    """Create an embedded broker with a clock of its own.

    Raises:
        ValueError: there is one of that name.
    """
    with _lock:
        if name in _brokers:
            raise ValueError(f"the embedded broker {name!r} exists already; drop it first")
        created = _brokers[name] = Broker(name, clock)
        return created


def drop(name: str = DEFAULT_NAME) -> None:
    """Forget an embedded broker with all it holds. Its connections see that the broker has closed them."""
    with _lock:
        dropped = _brokers.pop(name, None)
    if dropped is not None:
        dropped.close()

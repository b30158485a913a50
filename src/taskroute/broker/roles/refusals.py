"""Refusals: which addresses the broker refuses again and again, so that the channel may be to blame. Pure.

RabbitMQ's client of a quorum queue can remember "reject" for a channel after the reason is gone: its leader was
killed, or a length limit was set and lifted. That channel is then refused until it ends, while a new one is not.
"""

from __future__ import annotations

from typing import Final

Address = tuple[str, str]
"""Exchange and routing key."""

REFUSED_FOR: Final = 3.0
"""Seconds of refusals, without a confirm between them, until a channel is not trusted."""

_ADDRESSES: Final = 1000
"""Addresses that are remembered; publishers choose them."""


class Refusals:
    """Since when each address is refused. False when none is."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since: dict[Address, float] = {}

    def __bool__(self) -> bool:
        return bool(self._since)

    def on_refused(self, address: Address, now: float) -> bool:
        """Take note of a refusal. Return whether the address has been refused for too long."""
        if len(self._since) >= _ADDRESSES and address not in self._since:
            self._since.pop(next(iter(self._since)))
        return now - self._since.setdefault(address, now) >= REFUSED_FOR

    def on_confirmed(self, address: Address) -> None:
        """Take note that the broker takes messages to an address."""
        self._since.pop(address, None)

    def clear(self) -> None:
        """Begin anew, with a channel that has refused nothing."""
        self._since.clear()

"""Link: a session's connection at one moment, and the moves from one moment to the next."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from taskroute.broker.amqp import Connection
from taskroute.state_table import StateTable

LinkState = Literal["down", "opening", "open", "ended"]
LinkEvent = Literal["connect", "set_up", "lose", "end"]

LINK_MOVES: Final[StateTable[LinkState, LinkEvent]] = StateTable(
    "link",
    {
        ("down", "connect"): "opening",
        ("opening", "set_up"): "open",
        ("opening", "lose"): "down",
        ("open", "lose"): "down",
        ("down", "end"): "ended",
    },
)


@dataclass(frozen=True, slots=True)
class Link:
    """What a session has of its connection. Replaced as a whole, so that another thread sees one moment of it.

    `generation` counts the connections that were set up. `connection` is None unless `state` is ``opening`` or
    ``open``, and while it is being made. `is_blocked`: the broker has said that it reads no publishes (an alarm).
    """

    state: LinkState = "down"
    generation: int = 0
    connection: Connection | None = None
    is_blocked: bool = False

    def connecting(self) -> Link:
        """Return the link while the next connection is made and set up."""
        return Link(LINK_MOVES.after(self.state, "connect"), self.generation)

    def made(self, connection: Connection) -> Link:
        """Return the link with the connection that is being set up."""
        return replace(self, connection=connection)

    def set_up(self) -> Link:
        """Return the link that can be used."""
        return replace(self, state=LINK_MOVES.after(self.state, "set_up"), generation=self.generation + 1)

    def blocked(self, is_blocked: bool) -> Link:
        """Return the link with what the broker has said about publishes."""
        return replace(self, is_blocked=is_blocked)

    def lost(self) -> Link:
        """Return the link without its connection."""
        return Link(LINK_MOVES.after(self.state, "lose"), self.generation)

    def ended(self) -> Link:
        """Return the link of a session that connects no more."""
        return Link(LINK_MOVES.after(self.state, "end"), self.generation)

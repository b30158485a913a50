"""Role: what a session's connection is for."""

from __future__ import annotations

from taskroute.broker.amqp import Connection


class Role:
    """Base of what a session runs on its connection. The session's thread makes every call.

    A role overrides what it needs; each of these does nothing.
    """

    leaving_time = 0.0
    """Seconds in which `leave` should come to its end."""

    def on_open(self, connection: Connection, generation: int) -> None:
        """Set up a fresh connection: declare, consume. An error discards the connection."""

    def on_blocked(self, is_blocked: bool) -> None:
        """Take note that the broker reads no publishes, or reads them again. A fresh connection is not blocked."""

    def on_read(self) -> None:
        """Hand on what was read since the last call."""

    def leave(self) -> bool:
        """Take on nothing new, and return whether the connection can be closed without harm. Asked again and again."""
        return True

    def stay(self) -> None:
        """Go on as before `leave`: the connection is not closed."""

    def on_leave(self) -> None:
        """Finish with a connection that is closed next."""

    def on_lost(self, error: BaseException | None) -> None:
        """Forget all that belonged to a connection that is gone. `error`: why, None if it was closed."""

    def on_end(self) -> None:
        """Resolve what is still open: the session connects no more."""

    def flush(self) -> None:
        """Write what other threads have left since."""

    def has_worked(self) -> bool:
        """Return whether anything was settled on this connection, so that it is of use."""
        return False

    def has_work(self) -> bool:
        """Return whether there is something to flush now."""
        return False

    def probe(self) -> None:
        """Look, once in a heartbeat interval, whether the connection is still of use. An error discards it."""

    def next_deadline(self) -> float | None:
        """Return when `expire` must be called, by the session's clock, None for never."""
        return None

    def expire(self, now: float) -> None:
        """Give up what is due. Called connected or not."""

"""A role of a session that needs nothing: what a test of sessions begins with."""

from __future__ import annotations

from typing import Any


class IdleRole:
    """Does nothing with its connection."""

    def opened(self, connection: Any, generation: int) -> None: ...

    def flush(self) -> None: ...

    def has_work(self) -> bool:
        return False

    def received(self) -> None: ...

    def probe(self) -> None: ...

    def leave(self) -> None: ...

    def lost(self, error: BaseException | None) -> None: ...

    def next_deadline(self) -> float | None:
        return None

    def expire(self, now: float) -> None: ...

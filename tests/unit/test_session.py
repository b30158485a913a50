"""The session's own promises, on the embedded broker."""

from __future__ import annotations

import uuid
from typing import Any

from taskroute.broker.session import Session
from taskroute.broker.url import parse_urls

DEADLINE = 30.0


class LeavesWorkAtTheLastMoment:
    """A role that is left work, and whose session is stopped, right after it has written what there was."""

    session: Session
    left = 0
    written = 0

    def opened(self, connection: Any, generation: int) -> None: ...

    def flush(self) -> None:
        self.written, written_before = self.left, self.written
        if not written_before and not self.left:
            self.left = 1
            self.session.stop()

    def has_work(self) -> bool:
        return self.left > self.written

    def received(self) -> None: ...

    def probe(self) -> None: ...

    def leave(self) -> None: ...

    def lost(self, error: BaseException | None) -> None: ...

    def next_deadline(self) -> float | None:
        return None

    def expire(self, now: float) -> None: ...


def test_what_is_left_before_stop_is_written_before_the_connection_closes() -> None:
    role = LeavesWorkAtTheLastMoment()
    role.session = Session(parse_urls(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)
    role.session.start()
    assert role.session.join(DEADLINE)
    assert role.written == 1

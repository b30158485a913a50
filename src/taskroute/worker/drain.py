"""Drain: a worker's parts come to their end, in an order that lets what runs finish and be acknowledged."""

from __future__ import annotations

import time
from typing import Final

from taskroute.broker.session import Session
from taskroute.worker.event_loop import EventLoop
from taskroute.worker.processor import Processor

_GRACE: Final = 1.0
"""Seconds that connections get to close, past the deadline."""


def drain(
    processor: Processor, loop: EventLoop, *, consuming: Session, republishing: Session, timeout: float
) -> list[str]:
    """Stop consuming, let handlers finish, and end every thread. On the thread that stops the worker.

    Args:
        processor: of the worker.
        loop: of its async handlers.
        consuming: the session that deliveries come by.
        republishing: the session that failed messages leave by.
        timeout: seconds for handlers; what does not end then is abandoned.

    Returns:
        What did not end in time, for people.
    """
    deadline = time.monotonic() + timeout
    processor.leave()
    has_finished = processor.work.wait_idle(timeout)
    hung = [] if has_finished else _unfinished(processor)
    loop.stop()
    republishing.stop()
    consuming.stop()
    if not _end(consuming, deadline):
        hung.append("the consuming connection does not close")
    if not _end(republishing, deadline):
        hung.append("the hand-over connection does not close")
    processor.threads.end(deadline, has_finished=has_finished)
    loop.join(deadline - time.monotonic())
    return hung


def _unfinished(processor: Processor) -> list[str]:
    """Return a sentence for each handler that runs, or for the messages that no handler has any more."""
    return processor.describe_current() or [f"{processor.work.open_count} messages on their way to another queue"]


def _end(session: Session, deadline: float) -> bool:
    """Wait for a session, cut it off past the deadline, and return whether it closed in good order."""
    if session.join(deadline - time.monotonic() + _GRACE / 2):
        return True
    session.sever()
    session.join(_GRACE / 2)
    return False

"""Points at which a process can be made to die, by name: a table of seams, and nothing in the library itself."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, NamedTuple

from tests.kit.inside import ACKNOWLEDGE, DELIVER, REPUBLISHED, Method

from taskroute.broker.frames import PlainTransport
from taskroute.handling.dispatch import Dispatcher


class Seam(NamedTuple):
    """A method, whether death comes before or after it, and which of its calls count."""

    method: Method
    when: Literal["before", "after"]
    counts: Callable[..., bool] = lambda *_, **__: True


WRITE = Method(PlainTransport, "write")
ACK, PUBLISH = b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x28"

POINTS = {
    "received": Seam(DELIVER, "before"),
    "handler_done": Seam(Method(Dispatcher, "dispatch"), "after"),
    "before_ack": Seam(ACKNOWLEDGE, "before"),
    "after_ack": Seam(WRITE, "after", lambda _, data: _begins_with(data, ACK)),
    "retry_confirmed": Seam(REPUBLISHED, "before", lambda _, failure: failure.action.kind == "retry"),
    "dead_letter_confirmed": Seam(REPUBLISHED, "before", lambda _, failure: failure.action.kind == "dead_letter"),
    "publish_sent": Seam(WRITE, "after", lambda _, data: _begins_with(data, PUBLISH)),
}


def _begins_with(data: Any, method: bytes) -> bool:
    """Whether something held back is sent, and begins with a frame of this method."""
    return isinstance(data, bytearray) and data[7:11] == method


def arm(point: str, nth: int) -> None:
    """Have this process killed when it passes the point for the `nth` time."""
    arm_seam(POINTS[point], nth)


def arm_seam(seam: Seam, nth: int) -> None:
    """Have this process killed when it passes a seam, which need not be in the table, for the `nth` time."""
    original = getattr(*seam.method)
    passed = itertools.count(1)

    def pass_by(*arguments: Any, **options: Any) -> None:
        if seam.counts(*arguments, **options) and next(passed) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    @wraps(original)
    def armed(*arguments: Any, **options: Any) -> Any:
        if seam.when == "before":
            pass_by(*arguments, **options)
        result = original(*arguments, **options)
        if seam.when == "after":
            pass_by(*arguments, **options)
        return result

    setattr(*seam.method, armed)

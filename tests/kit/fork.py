"""A function that runs in a forked child."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from tests.kit.waiting import DEADLINE


def run_in_fork(function: Callable[[], object]) -> str:
    """Run a function in a forked child, which ends with it; return its result as text."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # nothing else of the test may run here
        signal.alarm(int(DEADLINE))  # what hangs is killed
        result: object = None
        try:
            result = function()
        finally:
            os.write(writer, repr(result).encode())
            os._exit(0)
    os.close(writer)
    assert os.waitpid(child, 0)[1] == 0
    with os.fdopen(reader) as pipe:
        return pipe.read()

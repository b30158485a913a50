"""Processes of their own for workers and publishers that are killed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess

from tests.kit.waiting import PROCESS_DEADLINE

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.service"])


@contextmanager
def running(target: Callable[..., object], *args: object, **kwargs: object) -> Iterator[BaseProcess]:
    """A process that is gone at the end of the block: one left behind would keep the whole run from ending."""
    process = _context.Process(target=target, args=args, kwargs=kwargs)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def run(target: Callable[..., object], *args: object, **kwargs: object) -> int:
    """Run until it has ended by itself; the exit code, as `multiprocessing` has it."""
    with running(target, *args, **kwargs) as process:
        process.join(PROCESS_DEADLINE)
        assert process.exitcode is not None, f"it does not end within {PROCESS_DEADLINE} s"
        return process.exitcode

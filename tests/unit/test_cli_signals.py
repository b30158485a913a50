"""What a command does to the signals of its process."""

from __future__ import annotations

import signal

import pytest

from taskroute.cli.signals import ended_by_interrupts


def test_command_that_waits_is_ended_by_the_kernel() -> None:
    """An interrupt that comes when the main thread is just about to wait would wait with it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ended_by_interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_interrupt_that_is_ignored_or_handled_stays_so(handler: object) -> None:
    before = signal.signal(signal.SIGINT, handler)  # type: ignore[arg-type]
    try:
        with ended_by_interrupts():
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)

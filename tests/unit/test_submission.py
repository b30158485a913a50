"""Submission: until it is written, its message can be taken away from the session's thread."""

from __future__ import annotations

import time

import pytest

from taskroute.broker.roles.submission import Submission
from taskroute.errors import BrokerUnavailableError


def submission() -> Submission:
    return Submission(
        exchange="", routing_key="a", body=b"", properties={}, message_id="m", mandatory=True, deadline=time.monotonic()
    )


def test_message_taken_back_is_never_written(caplog: pytest.LogCaptureFixture) -> None:
    """Whether its outcome is told before the session's thread comes to it, or after."""
    told, taken = submission(), submission()

    assert told.take_back()
    told.resolve(BrokerUnavailableError("closed"))

    assert not told.begin_write()
    assert told.state == "queued"
    assert taken.take_back()
    assert not taken.take_back()
    assert not caplog.records


def test_message_that_was_written_cannot_be_taken_back() -> None:
    written = submission()

    assert written.begin_write()

    assert not written.take_back()
    assert not written.is_resolved


def test_cancelled_message_is_neither_written_nor_taken_back() -> None:
    cancelled = submission()
    cancelled.future.cancel()

    assert not cancelled.take_back()
    assert not cancelled.begin_write()
    assert cancelled.state == "never_written"

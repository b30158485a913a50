"""PendingRetries: a retry is pending until its message is back, or until another consumer must have it."""

from __future__ import annotations

import time

import pytest
from tests.kit.inside import pending_count

from taskroute.worker import pending_retries as waiting
from taskroute.worker.pending_retries import PendingRetries


def test_retry_is_pending_until_its_message_is_back() -> None:
    retries = PendingRetries()
    assert not retries

    retries.add(("q", "1"), 1)
    retries.add(("q", "2"), 1)
    retries.discard(("q", "1"))
    assert retries

    retries.discard(("other", "2"))
    assert retries

    retries.discard(("q", "2"))
    assert not retries


def test_retry_that_does_not_come_back_is_pending_until_grace_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that another consumer took never comes back to this worker."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    retries = PendingRetries()
    retries.add(("q", "1"), 10)

    now = 100 + 10 + waiting.GRACE - 1
    assert retries

    now += 1
    assert not retries


def test_retries_that_never_come_back_are_forgotten_behind_a_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another worker takes, half of all retries, must not be kept until a message with a long delay is back."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    retries = PendingRetries()
    retries.add(("q", "long"), 86400)

    for number in range(1000):
        retries.add(("q", str(number)), 1)
        now += 1

    assert retries
    assert pending_count(retries) <= 2 + waiting.GRACE + 1

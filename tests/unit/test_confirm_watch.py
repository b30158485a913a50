"""When the confirm of a message is overdue: only time in which the broker was heard counts."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from taskroute.broker.roles.confirm_watch import CONFIRM_TIME, ConfirmWatch

HEARTBEAT = 30.0
LOOKS = range(1, 300)
"""Seconds, one look in each."""


def first_overdue(watch: ConfirmWatch, heard: Sequence[int], *, blocked: Sequence[int] = ()) -> int | None:
    """Return the second in which the only message, written at the beginning, is overdue."""
    for now in LOOKS:
        if watch.look(now, was_heard=now in heard, is_blocked=now in blocked, oldest=1, last=1):
            return now
    return None


def test_confirm_is_overdue_half_a_minute_after_the_first_look() -> None:
    assert first_overdue(ConfirmWatch(HEARTBEAT, 0), LOOKS) == 1 + CONFIRM_TIME


def test_heartbeats_alone_are_enough_to_be_heard() -> None:
    """An idle broker sends one each 15 seconds, and nothing else."""
    assert first_overdue(ConfirmWatch(HEARTBEAT, 0), range(15, 300, 15)) == 1 + CONFIRM_TIME


def test_confirm_of_a_silent_broker_is_never_overdue() -> None:
    assert first_overdue(ConfirmWatch(HEARTBEAT, 0), ()) is None


def test_silence_does_not_count_when_the_broker_is_heard_again() -> None:
    """A broker that was frozen for 36 seconds confirms what it has when it is back."""
    assert first_overdue(ConfirmWatch(HEARTBEAT, 0), [*range(1, 10), *range(46, 48)]) is None


def test_time_in_which_publishing_is_blocked_does_not_count() -> None:
    assert first_overdue(ConfirmWatch(HEARTBEAT, 0), LOOKS, blocked=range(5, 200)) == 226


def test_without_heartbeats_all_time_counts() -> None:
    assert first_overdue(ConfirmWatch(0, 0), ()) == 1 + CONFIRM_TIME


def test_message_written_later_has_its_own_time() -> None:
    watch = ConfirmWatch(HEARTBEAT, 0)

    overdue = [
        now
        for now in range(1, 60)
        if watch.look(now, was_heard=True, is_blocked=False, oldest=max(1, now - 20), last=now)
    ]

    assert overdue == []  # each is confirmed after 20 seconds


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3), st.integers(0, 3)), max_size=120))
def test_confirm_in_time_is_never_overdue(looks: list[tuple[bool, bool, int, int]]) -> None:
    """Against a model that has the second in which each message was written."""
    watch, written, confirmed = ConfirmWatch(HEARTBEAT, 0), [0], 0

    for now, (was_heard, is_blocked, new, done) in enumerate(looks, 1):
        written += [now] * new
        confirmed = min(confirmed + done, len(written) - 1)

        overdue = watch.look(now, was_heard=was_heard, is_blocked=is_blocked, oldest=confirmed + 1, last=len(written))

        assert not (overdue and now - written[confirmed] < CONFIRM_TIME)

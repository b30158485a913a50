"""Which addresses are refused for too long, and how soon a remedy is used again."""

from __future__ import annotations

import itertools

from taskroute.broker.roles.growing_pause import GrowingPause
from taskroute.broker.roles.refusals import REFUSED_FOR, Refusals

ADDRESS = ("", "jobs")


def test_address_refused_for_some_seconds_is_refused_for_too_long() -> None:
    refusals = Refusals()

    assert [refusals.on_refused(ADDRESS, now) for now in (0.0, 1.0, REFUSED_FOR)] == [False, False, True]


def test_confirm_between_two_refusals_begins_anew() -> None:
    refusals = Refusals()
    refusals.on_refused(ADDRESS, 0)
    refusals.on_confirmed(ADDRESS)

    assert not refusals
    assert not refusals.on_refused(ADDRESS, REFUSED_FOR)


def test_each_address_is_refused_by_itself() -> None:
    refusals = Refusals()
    refusals.on_refused(ADDRESS, 0)

    refusals.on_confirmed(("", "other"))

    assert not refusals.on_refused(("", "third"), REFUSED_FOR)
    assert refusals.on_refused(ADDRESS, REFUSED_FOR)


def test_addresses_that_publishers_make_up_are_not_kept_for_ever() -> None:
    refusals = Refusals()

    for number in range(5000):
        refusals.on_refused(("", str(number)), 0)

    assert not refusals.on_refused(("", "0"), REFUSED_FOR)  # forgotten
    assert refusals.on_refused(("", "4999"), REFUSED_FOR)


def test_pause_doubles_up_to_the_longest() -> None:
    pause, begun, now = GrowingPause(5, 60), list[float](), 0.0

    while len(begun) < 7:
        if pause.is_over(now):
            pause.begin(now)
            begun.append(now)
        now += 1

    assert [after - before for before, after in itertools.pairwise(begun)] == [5, 10, 20, 40, 60, 60]


def test_quiet_time_makes_the_pause_short_again() -> None:
    pause = GrowingPause(5, 60)
    pause.begin(0)
    pause.begin(5)

    pause.begin(5 + 10 + 60)

    assert pause.is_over(5 + 10 + 60 + 5)

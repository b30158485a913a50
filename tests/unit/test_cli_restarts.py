"""How often a process is restarted."""

from __future__ import annotations

from taskroute.cli.supervisor.restarts import LONGEST_PAUSE, MAX_DEATHS, WINDOW, Restarts


def test_fifth_death_in_a_minute_is_the_last_and_pauses_grow() -> None:
    restarts = Restarts()

    pauses = [restarts.died(at=0.0) for _ in range(MAX_DEATHS)]

    *waits, last = pauses
    assert last is None
    assert all(wait is not None and 0 < wait <= LONGEST_PAUSE for wait in waits)
    assert waits == sorted(set(waits), key=float)  # type: ignore[arg-type]


def test_deaths_of_a_minute_ago_do_not_count() -> None:
    restarts = Restarts()

    pauses = [restarts.died(at=number * WINDOW / (MAX_DEATHS - 1)) for number in range(20)]

    assert None not in pauses

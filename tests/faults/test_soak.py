"""What the soak does follows from its seed, and its report says what did not go on."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

from tests.faults import service, soak
from tests.faults.soak import STEPS, Strike

ALL = dict.fromkeys(STEPS, 1.5)


def test_same_seed_deals_the_same_faults_each_as_often_as_the_others() -> None:
    one, same, other = (list(islice(soak.deck("abcdef", random.Random(seed)), 12)) for seed in (1, 1, 2))

    assert one == same != other
    assert set(Counter(one).values()) == {2}


def test_report_says_which_step_never_came_and_lists_the_problems() -> None:
    stopped = Strike("kill", {"publishing": 1.0, "handling": 2.0})
    strikes = [Strike("kill", ALL), stopped, Strike("reset", ALL)]

    text = soak.report("3 minutes", strikes, Counter(reset=1), "- figures", ["STOOD STILL"])

    assert stopped.missing == "republishing in each worker"
    never = "1.50 s, 1.50 s; never: 1"
    assert f"| kill | 2 | 1.50 s, 1.50 s | 2.00 s, 2.00 s | {never} | {never} |" in text
    assert "| reset | 0 |" in text
    assert "- PROBLEM: STOOD STILL" in text
    assert "No loss" not in text


def test_report_without_a_problem_bounds_the_rate_by_faults_that_struck() -> None:
    strikes = [Strike("kill", ALL)] * 4 + [Strike("reset", ALL)]
    assert "No loss in 4 faults" in soak.report("3 minutes", strikes, Counter(reset=1), "- figures", [])


def test_copies_allowed_follow_from_the_cuts_that_were_noticed() -> None:
    disconnects = Counter({"taskroute-publisher": 2, "taskroute-worker": 1, "taskroute-worker-hand-over": 3})

    allowed = soak.allowed(disconnects, cuts=5, left_in_flight=7)
    assert allowed == 2 * service.WINDOW + (1 + 3 + 5) * service.PREFETCH + 7

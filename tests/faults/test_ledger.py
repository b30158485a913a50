"""The checker finds what it is there to find: a test of the tests."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.faults.ledger import Entries, Ledger, body_of, check, read

NUMBERS = [str(n) for n in range(20)]


def run_of(**changes: Counter[str]) -> Entries:
    whole = {event: Counter(NUMBERS) for event in ("attempted", "confirmed", "started", "done")}
    return Entries({**whole, **changes})


def test_a_clean_run_has_no_problem() -> None:
    verdict = check(run_of(), max_duplicates=0, min_confirmed=20)
    assert verdict.problems == ()
    assert verdict.confirmed == verdict.done == 20


def test_a_deleted_done_is_found() -> None:
    done = Counter(NUMBERS[1:])
    verdict = check(run_of(done=done), max_duplicates=0, min_confirmed=20)
    assert verdict.problems == ("LOST 1: 0",)
    assert check(run_of(done=done), dead=[body_of("0")], max_duplicates=0, min_confirmed=20).problems == ()
    assert check(run_of(done=done), left=[body_of("0")], max_duplicates=0, min_confirmed=20).problems == ()


def test_a_ghost_is_found() -> None:
    for where in ("done", "dead", "left"):
        options = {where: [body_of("ghost")]} if where != "done" else {}
        entries = run_of(done=Counter([*NUMBERS, "ghost"])) if where == "done" else run_of()
        verdict = check(entries, **options, max_duplicates=0, min_confirmed=20, max_done_and_dead=1)
        assert verdict.problems == ("UNEXPECTED 1: ghost",), where


def test_duplicates_beyond_the_bound_are_found() -> None:
    done = Counter([*NUMBERS, "3", "3", "4"])
    assert check(run_of(done=done), max_duplicates=3, min_confirmed=20).problems == ()
    assert check(run_of(done=done), max_duplicates=2, min_confirmed=20).problems == (
        "DUPLICATED 3 times, the bound is 2",
    )


def test_done_and_dead_a_changed_body_and_an_empty_run_are_found() -> None:
    assert check(run_of(), dead=[body_of("1")], max_duplicates=0, min_confirmed=20).problems == (
        "BOTH done and dead-lettered 1: 1",
    )
    changed = body_of("1").replace(b"hash", b"hush")
    assert "CHANGED: the body of 1" in check(run_of(), left=[changed], max_duplicates=0, min_confirmed=20).problems
    assert check(run_of(), max_duplicates=0, min_confirmed=21).problems[0].startswith("VACUOUS")


def test_what_is_unconfirmed_and_done_is_reported_as_recovered() -> None:
    entries = run_of(confirmed=Counter(NUMBERS[:15]))
    assert check(entries, max_duplicates=0, min_confirmed=15).recovered == 5


def test_events_go_through_the_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for event in ("attempted", "confirmed", "started", "done", "done"):
        ledger.write(event, "7")
    ledger.close()
    entries = read(tmp_path)
    assert entries.of("done") == Counter({"7": 2})
    assert check(entries, max_duplicates=1, min_confirmed=1).problems == ()

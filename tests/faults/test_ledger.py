"""The checker of the ledger finds messages that are lost, made up, repeated or changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.faults.ledger import Entries, Follower, Ledger, body_of, check, read

NUMBERS = [str(n) for n in range(20)]


def run_of(**changes: Counter[str]) -> Entries:
    whole = {event: Counter(NUMBERS) for event in ("attempted", "confirmed", "started", "done")}
    return Entries({**whole, **changes})


def test_clean_run_has_no_problem() -> None:
    verdict = check(run_of(), max_duplicates=0, min_confirmed=20)
    assert verdict.problems == ()
    assert verdict.confirmed == verdict.done == 20


def test_deleted_done_is_found_as_lost() -> None:
    """A confirmed message must be done, dead-lettered or left in a queue."""
    done = Counter(NUMBERS[1:])

    verdict = check(run_of(done=done), max_duplicates=0, min_confirmed=20)
    assert verdict.problems == ("LOST 1: 0",)

    assert check(run_of(done=done), dead=[body_of("0")], max_duplicates=0, min_confirmed=20).problems == ()
    assert check(run_of(done=done), left=[body_of("0")], max_duplicates=0, min_confirmed=20).problems == ()


def test_message_never_published_is_found_as_unexpected() -> None:
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


def test_second_dead_letter_of_a_message_counts_as_a_duplicate() -> None:
    verdict = check(run_of(done=Counter(NUMBERS[1:])), dead=[body_of("0")] * 2, max_duplicates=0, min_confirmed=20)
    assert verdict.problems == ("DUPLICATED 1 times, the bound is 0",)


def test_done_and_dead_changed_bodies_and_too_few_messages_are_found() -> None:
    assert check(run_of(), dead=[body_of("1")], max_duplicates=0, min_confirmed=20).problems == (
        "BOTH done and dead-lettered 1: 1",
    )

    changed = body_of("1").replace(b"hash", b"hush")
    assert "CHANGED: the body of 1" in check(run_of(), left=[changed], max_duplicates=0, min_confirmed=20).problems

    assert check(run_of(), max_duplicates=0, min_confirmed=21).problems[0].startswith("VACUOUS")


def test_unconfirmed_message_that_is_done_counts_as_recovered() -> None:
    entries = run_of(confirmed=Counter(NUMBERS[:15]))
    assert check(entries, max_duplicates=0, min_confirmed=15).recovered == 5


def test_events_written_to_a_file_are_read_back(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for event in ("attempted", "confirmed", "started", "done", "done"):
        ledger.write(event, "7")
    ledger.close()

    entries = read(tmp_path)
    assert entries.of("done") == Counter({"7": 2})
    assert check(entries, max_duplicates=1, min_confirmed=1).problems == ()


def test_attempts_that_failures_promise_are_awaited_until_they_begin(tmp_path: Path) -> None:
    """The last failure promises none; an attempt may have begun in a ledger that is read first."""
    follower = Follower(tmp_path, retries=1)
    one, other = tmp_path / "1.ledger", tmp_path / "2.ledger"

    one.write_text("raised 7 1 1 100.0\nraised 8 1 1 100.0\nraised 9 1 2 100.0\n")
    assert follower.awaited() == {("7", 2), ("8", 2)}

    other.write_text("started 7 2 2 101.0\nstarted 10 2 2 101.0\n")
    assert follower.awaited() == {("8", 2)}

    with one.open("a") as ledger:
        ledger.write("raised 10 1 1 100.0\nraised 7 1 1 102.0\n")
    assert follower.awaited() == {("8", 2)}
    assert (follower.count("raised"), follower.count("started"), follower.count("done")) == (5, 2, 0)


def test_line_that_is_being_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    follower, path = Follower(tmp_path, retries=1), tmp_path / "1.ledger"
    path.write_bytes(b"done 1 1 1 0.0\ndone 2")

    assert follower.count("done") == 1

    with path.open("ab") as file:
        file.write(b" 1 1 0.0\n")
    assert follower.count("done") == 2

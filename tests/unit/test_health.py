"""Health: the conclusions from the state of the parts of a worker."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskroute import Health
from taskroute.handling.health import HeldUp, diagnose

WELL: dict[str, Any] = {
    "ended": None,
    "draining": False,
    "unavailable": None,
    "queues": ("b", "a"),
    "consuming": ("b", "a"),
    "missing": {},
    "stuck": (),
    "no_thread_left": False,
    "paused": {},
    "held_up": (),
    "capacities": {"a": 2, "b": 2},
    "last_activity": 1.5,
}


def test_working_worker_is_live_and_ready() -> None:
    assert diagnose(**WELL) == Health(
        live=True, ready=True, reasons=(), connected=True, consuming=("a", "b"), paused=(), stuck=(), last_activity=1.5
    )


def test_worker_without_a_connection_is_live_and_not_ready() -> None:
    health = diagnose(**WELL | {"unavailable": "no connection to x", "consuming": ()})
    assert (health.live, health.ready, health.connected) == (True, False, False)
    assert health.reasons == ("no connection to x",)  # and no reason for each queue


def test_queue_that_is_not_consumed_is_a_reason() -> None:
    health = diagnose(**WELL | {"consuming": ("b",)})
    assert (health.live, health.ready, health.reasons) == (True, False, ("not consuming a",))


def test_queue_that_waits_for_the_one_that_it_replaces_is_no_reason() -> None:
    health = diagnose(**WELL | {"consuming": ("b",), "awaiting": ("a",)})
    assert (health.ready, health.reasons) == (True, ())


def test_queue_that_cannot_be_had_is_a_reason_that_says_why() -> None:
    health = diagnose(**WELL | {"consuming": ("b",), "missing": {"a": "it is gone"}})
    assert (health.live, health.ready, health.reasons) == (True, False, ("not consuming a: it is gone",))


def test_paused_queue_is_a_reason_and_leaves_the_worker_live() -> None:
    health = diagnose(**WELL | {"consuming": ("b",), "paused": {"a": "queue 'a' is paused"}})
    assert (health.live, health.ready, health.reasons) == (True, False, ("queue 'a' is paused",))
    assert health.paused == ("a",)


def test_failed_messages_held_up_are_a_warning_that_leaves_ready() -> None:
    health = diagnose(**WELL | {"held_up": [HeldUp("a", 1, "no queue takes it")]})

    assert (health.ready, health.reasons) == (True, ())
    assert health.warnings == ("queue 'a': 1 failed messages are not republished: no queue takes it",)


def test_failed_messages_that_fill_the_prefetch_are_a_reason() -> None:
    health = diagnose(**WELL | {"held_up": [HeldUp("a", 2, "the broker refused it")]})

    assert (health.live, health.ready, health.warnings) == (True, False, ())
    assert health.reasons == (
        "queue 'a': 2 failed messages are not republished: the broker refused it; it takes no others",
    )


def test_stuck_handlers_end_readiness_and_at_last_liveness() -> None:
    """One stuck handler leaves the worker live; with every thread stuck, only a new process helps."""
    health = diagnose(**WELL | {"stuck": ["w-1 is handling k"]})
    assert (health.live, health.ready, health.stuck) == (True, False, ("w-1 is handling k",))
    assert health.reasons == ("w-1 is handling k for longer than its timeout",)

    health = diagnose(**WELL | {"stuck": ["w-1 is handling k"], "no_thread_left": True})
    assert not health.live
    assert health.reasons[-1] == "every handler thread is stuck"


def test_draining_worker_is_live_and_connected_but_not_ready() -> None:
    health = diagnose(**WELL | {"draining": True, "consuming": ()})
    assert (health.live, health.ready, health.connected, health.reasons) == (True, False, True, ("draining",))


def test_ended_worker_is_neither_live_nor_connected() -> None:
    health = diagnose(**WELL | {"ended": "stopped", "consuming": ()})
    assert (health.live, health.ready, health.connected, health.reasons) == (False, False, False, ("stopped",))


@given(
    st.fixed_dictionaries(
        {
            "ended": st.none() | st.just("stopped"),
            "draining": st.booleans(),
            "unavailable": st.none() | st.just("no connection"),
            "queues": st.just(("a", "b")),
            "consuming": st.lists(st.sampled_from("ab"), unique=True),
            "missing": st.dictionaries(st.sampled_from("ab"), st.just("gone")),
            "paused": st.dictionaries(st.sampled_from("ab"), st.just("paused")),
            "stuck": st.lists(st.just("w-1 is handling k"), max_size=2),
            "no_thread_left": st.booleans(),
            "held_up": st.lists(st.builds(HeldUp, st.sampled_from("ab"), st.integers(1, 3), st.just("it is full"))),
            "capacities": st.just({"a": 1, "b": 2}),
            "last_activity": st.none() | st.floats(0, 10),
        }
    )
)
def test_worker_is_ready_exactly_when_there_is_no_reason(facts: dict[str, Any]) -> None:
    health = diagnose(**facts)

    assert health.ready == (not health.reasons)
    assert health.live or not health.ready
    assert health.connected or not health.ready

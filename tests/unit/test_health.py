"""Health: what is concluded from what the parts of a worker say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from taskroute import Health
from taskroute.handling.health import diagnose

WELL: dict[str, Any] = {
    "ended": None,
    "draining": False,
    "unavailable": None,
    "queues": ("b", "a"),
    "consuming": ("b", "a"),
    "stuck": (),
    "no_thread_left": False,
    "paused": {},
    "last_activity": 1.5,
}


def test_a_worker_that_does_its_work_is_ready() -> None:
    assert diagnose(**WELL) == Health(
        live=True, ready=True, reasons=(), connected=True, consuming=("a", "b"), paused=(), stuck=(), last_activity=1.5
    )


def test_without_a_connection_it_is_alive_and_says_why_it_is_not_ready() -> None:
    health = diagnose(**WELL | {"unavailable": "no connection to x", "consuming": ()})
    assert (health.live, health.ready, health.connected) == (True, False, False)
    assert health.reasons == ("no connection to x",)  # that it consumes nothing goes without saying


def test_a_queue_that_is_not_consumed_is_named() -> None:
    health = diagnose(**WELL | {"consuming": ("b",)})
    assert (health.live, health.ready, health.reasons) == (True, False, ("not consuming a",))


def test_a_queue_that_is_paused_is_a_reason_of_its_own_and_leaves_the_worker_alive() -> None:
    health = diagnose(**WELL | {"consuming": ("b",), "paused": {"a": "queue 'a' is paused"}})
    assert (health.live, health.ready, health.reasons) == (True, False, ("queue 'a' is paused",))
    assert health.paused == ("a",)


def test_a_stuck_handler_is_named_and_the_last_thread_stuck_needs_a_new_process() -> None:
    health = diagnose(**WELL | {"stuck": ["w-1 is handling k"]})
    assert (health.live, health.ready, health.stuck) == (True, False, ("w-1 is handling k",))
    assert health.reasons == ("w-1 is handling k for longer than its timeout",)
    health = diagnose(**WELL | {"stuck": ["w-1 is handling k"], "no_thread_left": True})
    assert not health.live
    assert health.reasons[-1] == "every handler thread is stuck"


def test_worker_that_drains_is_live_and_connected_and_not_ready() -> None:
    health = diagnose(**WELL | {"draining": True, "consuming": ()})
    assert (health.live, health.ready, health.connected, health.reasons) == (True, False, True, ("draining",))


def test_what_has_ended_is_neither_alive_nor_connected() -> None:
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
            "paused": st.dictionaries(st.sampled_from("ab"), st.just("paused")),
            "stuck": st.lists(st.just("w-1 is handling k"), max_size=2),
            "no_thread_left": st.booleans(),
            "last_activity": st.none() | st.floats(0, 10),
        }
    )
)
def test_it_is_ready_if_and_only_if_there_is_no_reason_why_not(facts: dict[str, Any]) -> None:
    health = diagnose(**facts)
    assert health.ready == (not health.reasons)
    assert health.live or not health.ready
    assert health.connected or not health.ready

"""Concurrency, prefetch and circuit breakers of single queues: how they are read, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskroute import CircuitBreaker, ConfigurationError, QueueSpec, Topology, UnknownQueueError
from taskroute.worker.queue_options import (
    CONSUMER_TIMEOUT,
    MAX_PREFETCH,
    read_breakers,
    read_concurrency,
    read_consumer_timeout,
    read_prefetch,
)

video, audit = QueueSpec(name="video"), QueueSpec(name="audit")
topology = Topology(queues=[video, audit, QueueSpec(name="other")])
consumed = ("video", "audit")


def concurrency(given: Any) -> dict[str, int]:
    return read_concurrency(given, consumed, topology)


def prefetch(given: Any, threads: int = 2, limits: dict[str, int] | None = None) -> dict[str, int]:
    return read_prefetch(given, consumed, topology, threads, limits or {})


def breakers(given: Any) -> dict[str, CircuitBreaker]:
    return read_breakers(given, consumed, topology)


def test_queue_is_named_by_its_spec_or_its_name() -> None:
    assert concurrency({video: 1, "audit": 2}) == {"video": 1, "audit": 2}
    assert prefetch({video: 7}) == {"video": 7, "audit": 32}
    assert concurrency(None) == {}


def test_single_prefetch_applies_to_every_queue() -> None:
    assert prefetch(5) == {"video": 5, "audit": 5}


@pytest.mark.parametrize(
    ("threads", "limit", "expected"), [(2, None, 32), (100, None, 256), (0, None, 256), (8, 1, 16), (1, 100, 100)]
)
def test_default_prefetch_is_sixteen_per_message_handled_at_once(
    threads: int, limit: int | None, expected: int
) -> None:
    """It is 256 at most, but never less than what can be handled at once."""
    limits = {} if limit is None else {"video": limit}

    assert prefetch(None, threads, limits)["video"] == expected


@given(st.integers(0, 1000), st.none() | st.integers(1, 1_000_000))
def test_default_prefetch_is_never_below_the_concurrency(threads: int, limit: int | None) -> None:
    count = prefetch(None, threads, {} if limit is None else {"video": limit})["video"]

    assert min(limit or 1, MAX_PREFETCH) <= count <= MAX_PREFETCH


def test_single_circuit_breaker_applies_to_every_queue() -> None:
    breaker, other = CircuitBreaker(), CircuitBreaker(failures=1)

    assert breakers(breaker) == {"video": breaker, "audit": breaker}
    assert breakers({video: other}) == {"video": other}
    assert breakers(None) == {}

    with pytest.raises(ConfigurationError, match=r"circuit_breaker=5 of queue 'video'"):
        breakers(5)


@pytest.mark.parametrize(("read", "value"), [(concurrency, 1), (prefetch, 1), (breakers, CircuitBreaker())])
def test_option_of_a_queue_counts_where_it_is_consumed(read: Any, value: Any) -> None:
    """The queue must be of the topology, and be named once."""
    assert "other" not in read({"other": value})
    with pytest.raises(UnknownQueueError, match=r"no queue 'vidoe'; did you mean 'video'\?"):
        read({"vidoe": value})
    with pytest.raises(ConfigurationError, match="'video' is there twice"):
        read({video: 1, "video": 2})


@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "2", None])
def test_limit_that_is_not_a_positive_integer_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"concurrency=.* of queue 'video'"):
        concurrency({"video": wrong})
    with pytest.raises(ConfigurationError, match=r"prefetch=.* of queue 'video'"):
        prefetch({"video": wrong})


def test_concurrency_without_a_queue_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"concurrency=\{queue: 2\}"):
        concurrency(2)


def test_prefetch_beyond_the_limit_of_amqp_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="65535"):
        prefetch(MAX_PREFETCH + 1)


@pytest.mark.parametrize(
    ("option", "limits"),
    [
        (5, {"video": 5, "audit": 5}),
        (None, {}),
        ({video: 0.5}, {"video": 0.5, "audit": CONSUMER_TIMEOUT}),
        ({"video": None, audit: 7}, {"audit": 7}),
    ],
)
def test_consumer_timeout_is_one_for_all_or_by_queue_or_none(option: Any, limits: dict[str, float]) -> None:
    assert read_consumer_timeout(option, consumed, topology) == limits


@pytest.mark.parametrize("option", [0, -1, True, "60", float("nan"), float("inf"), {video: 0}])
def test_consumer_timeout_out_of_range_is_refused(option: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"consumer_timeout=.* of queue 'video' must be a number of seconds"):
        read_consumer_timeout(option, consumed, topology)

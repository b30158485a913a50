"""Options of publish: a wrong one is refused by its name, with what to write instead."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from taskroute import (
    ConfigurationError,
    EventSpec,
    HandlerRegistry,
    MessageInvalidError,
    Publisher,
    QueueSpec,
    Routes,
    Topology,
    Worker,
)

jobs = QueueSpec(name="jobs", retry=False, dead_letter=False)
topology = Topology(queues=[jobs])
created = EventSpec(pattern="jobs", exchange="", body=dict)


@pytest.fixture
def publisher() -> Iterator[Any]:
    with Publisher("memory://publish-options", topology, timeout=10) as publisher:
        yield publisher


WAYS: list[Callable[..., object]] = [
    lambda publisher, **options: publisher.publish({}, "jobs", exchange="", **options),
    lambda publisher, **options: publisher.publish(created({}), **options),
    lambda publisher, **options: publisher.submit({}, "jobs", exchange="", **options),
    lambda publisher, **options: list(publisher.publish_many([({}, "jobs")], exchange="", **options)),
    lambda publisher, **options: asyncio.run(publisher.publish_async({}, "jobs", exchange="", **options)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "hint"), [("header", r"did you mean 'headers'\?"), ("delay", "there are headers, .*exchange")]
)
def test_unknown_option_is_refused_with_the_known_ones(publisher: Any, way: Any, name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=f"^there is no option {name!r}; {hint}") as caught:
        way(publisher, **{name: 3})

    assert "encode_properties" not in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("timeout", ["1", 0, -1, float("nan"), float("inf")])
def test_publish_timeout_must_be_a_positive_number_of_seconds(publisher: Any, way: Any, timeout: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"^timeout={timeout!r} must be a number of seconds, more than 0"):
        way(publisher, timeout=timeout)


@pytest.mark.parametrize("timeout", ["1", -1, float("nan"), float("inf")])
def test_publisher_timeout_must_be_a_positive_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^timeout={timeout!r} must be a number of seconds, more than 0"):
        Publisher("memory://", topology, timeout=timeout)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"headers": "x"}, "headers is a mapping, {'x-name': 'value'}, not str"),
        ({"headers": 5}, "headers is a mapping, {'x-name': 'value'}, not int"),
        ({"expiration": "60000"}, "expiration='60000' is neither a number of seconds nor a timedelta"),
        ({"expiration": "PT1M"}, "expiration='PT1M' is neither a number of seconds nor a timedelta"),
        ({"expiration": []}, "expiration=[] is neither"),
        ({"timestamp": 5}, "timestamp=5 is not a datetime"),
        ({"timestamp": datetime(1, 1, 1, tzinfo=UTC)}, "timestamp=datetime.datetime(1, 1, 1"),
        ({"priority": 2.0}, "priority=2.0 is not a whole number between 0 and 255"),
        ({"priority": "high"}, "priority='high' is not a whole number between 0 and 255"),
        ({"persistent": "no"}, "persistent='no' is neither True nor False"),
        ({"mandatory": "no"}, "mandatory='no' is neither True nor False"),
        ({"message_id": 5}, "a message_id is a str, not int"),
    ],
)
def test_option_value_that_cannot_be_sent_is_named(publisher: Any, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(MessageInvalidError, match=re.escape(problem)):
        publisher.publish({}, "jobs", exchange="", **options)


@pytest.mark.parametrize("message", [("a",), ("a", "b", "c"), {"a": 1}, {"a": 1, "b": 2}, "ab", b"ab", 5])
def test_publish_many_refuses_all_but_pairs_and_events(publisher: Any, message: object) -> None:
    with pytest.raises(
        ConfigurationError, match=r"publish_many takes events and tuples of two, \(body, routing key\), and not"
    ):
        list(publisher.publish_many([message], exchange=""))


@pytest.mark.parametrize("build", [Routes, lambda *both: Worker("memory://", *both)])
def test_swapped_topology_and_registry_are_refused_by_name(build: Any) -> None:
    with pytest.raises(ConfigurationError, match="topology must be a Topology, and is a HandlerRegistry"):
        build(HandlerRegistry(), topology)
    with pytest.raises(ConfigurationError, match="registry must be a HandlerRegistry, and is a function"):
        build(topology, lambda: None)


def test_publisher_refuses_a_list_of_queues_as_topology() -> None:
    with pytest.raises(ConfigurationError, match="topology must be a Topology, and is a list"):
        Publisher("memory://", [jobs])  # type: ignore[arg-type]

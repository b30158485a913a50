"""The fuzzer finds a rule that is broken, and shrinks it; RabbitMQ's part is played by an embedded broker."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from tests.fuzz import operations
from tests.fuzz.brokers import embedded_client
from tests.fuzz.campaign import Campaign
from tests.fuzz.client import Observation
from tests.fuzz.comparison import Difference, Undecided
from tests.fuzz.generation import Generation
from tests.fuzz.known import KNOWN, UNREACHED, explanation
from tests.fuzz.operations import (
    Cancel,
    CloseChannel,
    CloseConnection,
    Consume,
    DeclareQueue,
    Operation,
    Prefetch,
    Publish,
    Wait,
)
from tests.fuzz.shrinking import shrunk

from taskroute.broker.embedded.rules import RULES, Rules

SOUND = RULES["4.3"]
PAGE = Path(__file__).parents[2] / "docs" / "embedded.md"


def first_difference(broken: Rules, seed: int) -> Difference:
    with embedded_client(broken) as other:
        campaign = Campaign(SOUND, other, patience=0)
        found = next(filter(None, (campaign.run(seed, number) for number in range(1_000))))
        small = campaign.shrink(found)
    assert small is not None
    return small


@pytest.mark.parametrize(
    ("broken", "most"),
    [
        pytest.param(replace(SOUND, has_transient_queues=True), 1, id="transient queues"),
        pytest.param(replace(SOUND, delivery_limit=0), 5, id="delivery limit"),
    ],
)
def test_broken_rule_is_found_and_shrunk(broken: Rules, most: int) -> None:
    found = first_difference(broken, seed=1)

    assert len(found.done) <= most, found


def test_equal_brokers_do_not_differ() -> None:
    with embedded_client(SOUND) as other:
        campaign = Campaign(SOUND, other, patience=0)

        assert [campaign.run(1, number) for number in range(30)] == [None] * 30


@pytest.mark.parametrize(
    ("other_line", "ending"),
    [pytest.param(1, Undecided.CHANNELS, id="one connection"), pytest.param(2, None, id="two connections")],
)
def test_channels_of_a_closed_connection_that_share_a_queue_say_nothing(
    other_line: int, ending: Undecided | None
) -> None:
    """What one of them loses may come to the other before that one is closed as well: its count then is chance."""
    sequence = (
        DeclareQueue("q0", {"x-queue-type": "quorum"}),
        Consume("q0", "c0"),
        Publish("", "q0"),
        Consume("q0", "c1", on=other_line),
        CloseConnection(),
    )

    with embedded_client(SOUND) as other:
        assert Campaign(SOUND, other, patience=0).follow(sequence) is ending


def test_shrinking_leaves_what_shows_the_difference() -> None:
    needed = (DeclareQueue("q0", {"x-max-length": 1}), Publish("", "q0"))
    declared = replace(needed[0], arguments={"x-max-length": 1, "x-expires": 2}, on=1)

    def shows(candidate: Sequence[Operation]) -> bool:
        declares = [each for each in candidate if isinstance(each, DeclareQueue) and "x-max-length" in each.arguments]
        return bool(declares) and needed[1] in candidate

    assert shrunk((Prefetch(1), declared, Wait(), needed[1], Wait()), shows) == needed


def test_seed_and_number_decide_a_sequence() -> None:
    first, again, other = (Generation(Random(seed)).sequence() for seed in ("1.7", "1.7", "1.8"))

    assert first == again
    assert first != other


def test_shown_sequence_is_python() -> None:
    """What is printed can be pasted into a test."""
    sequence = Generation(Random("1.7")).sequence()
    names = {**vars(operations), "Decimal": Decimal, "datetime": dt, "nan": math.nan}

    assert repr([eval(str(each), names) for each in sequence]) == repr(list(sequence))


@pytest.mark.parametrize(
    ("between", "release", "known"),
    [
        pytest.param([Cancel("c0")], "3.10.8", "open-tags", id="cancelled"),
        pytest.param([Cancel("c0")], "4.3.6", None, id="cancelled, since 4.0"),
        pytest.param([Cancel("c1")], "3.10.8", None, id="another one cancelled"),
        pytest.param([Cancel("c0"), CloseChannel()], "3.10.8", None, id="channel closed"),
    ],
)
def test_tag_used_again_explains_a_closed_connection(between: list[Operation], release: str, known: str | None) -> None:
    consume = Consume("q0", "c0")
    done = (DeclareQueue("q0", {"x-queue-type": "quorum"}), consume, *between, consume)
    seen, closed = Observation("c0", (), {}), Observation(("connection closed", 541), (), {})

    found = explanation(Difference(done, seen, closed), release)

    assert (found and found.id) == known


def test_page_names_every_known_difference_by_its_id() -> None:
    named = re.findall(r"^- `([a-z-]+)`:", PAGE.read_text(), re.MULTILINE)

    assert sorted(named) == sorted({*UNREACHED, *(known.id for known in KNOWN)})

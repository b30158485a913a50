"""What a broker says of a queue or exchange that differs, in the units and fields of a spec, with the ways out."""

from __future__ import annotations

import pytest

from taskroute.broker.mismatch import Difference, spoken_duration

QUEUE = "PRECONDITION_FAILED - inequivalent arg '{}' for queue 'q' in vhost '/': received {} but current is {}"
EXCHANGE = QUEUE.replace("queue 'q'", "exchange 'x'")
NEW_NAME = "give the queue a new name"
DELETE = "delete it on the broker when it is empty"
LATER = "which can be changed later"


def explained(text: str, serves: str | None = None) -> str:
    difference = Difference.read(text)
    assert difference is not None
    return difference.explain(serves)


def value(text: str, kind: str = "signedint") -> str:
    return f"the value '{text}' of type '{kind}'"


@pytest.mark.parametrize(
    ("text", "explanation"),
    [
        (
            QUEUE.format("x-message-ttl", "'3600000'", "'7200000'"),
            (
                f"message_ttl: 2 h on the broker, 1 h declared (x-message-ttl); declare message_ttl=7200 as it is "
                f"there and lower it by a policy (message-ttl), or {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-message-ttl", "'7200000'", "'90500'"),
            (
                f"message_ttl: 1 min 30.5 s on the broker, 2 h declared (x-message-ttl); declare message_ttl=90.5 "
                f"as it is there, or {NEW_NAME} and set message_ttl by a policy (message-ttl), {LATER}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-max-length", value("9"), "none"),
            (
                f"max_length: none on the broker, 9 declared (x-max-length); leave it out of the spec and set it by a "
                f"policy (max-length), or {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-expires", "none", value("86400000")),
            (
                f"expires: 1 d on the broker, none declared (x-expires); declare expires=86400 as it is there, or "
                f"{NEW_NAME} and set expires by a policy (expires), {LATER}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-queue-type", value("quorum", "longstr"), "'classic'"),
            (
                f"type: classic on the broker, quorum declared (x-queue-type); declare type='classic' as it is there, "
                f"or {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("durable", "'true'", "'false'"),
            (
                f"durable: False on the broker, True declared; declare durable=False as it is there, "
                f"or {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-dead-letter-exchange", value("", "longstr"), "none"),
            (
                f"dead_letter: none on the broker, the default exchange declared (x-dead-letter-exchange; "
                f"type may differ too: the broker names one field); {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-delivery-limit", "'20'", "'2147483647'"),
            (
                f"delivery_limit: no limit on the broker, 20 declared (x-delivery-limit); "
                f"declare delivery_limit=2147483647 as it is there "
                f"and lower it by a policy (delivery-limit), or {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-odd", "'1'", "'2'"),
            f"arguments: x-odd: 2 on the broker, 1 declared; {NEW_NAME}, or {DELETE}",
        ),
        (
            EXCHANGE.format("type", "'topic'", "'direct'"),
            (
                "type: direct on the broker, topic declared; declare type='direct' as it is there, "
                "or give the exchange a new name, or delete it on the broker"
            ),
        ),
        (
            EXCHANGE.format("alternate-exchange", value("rest", "longstr"), "none"),
            (
                "alternate_exchange: none on the broker, rest declared (alternate-exchange); leave it out of the spec "
                "and set it by a policy (alternate-exchange), or give the exchange a new name, "
                "or delete it on the broker"
            ),
        ),
    ],
)
def test_difference_is_told_in_the_words_of_a_spec(text: str, explanation: str) -> None:
    assert explained(text) == explanation


@pytest.mark.parametrize(
    ("name", "present", "spec"),
    [
        ("x-single-active-consumer", "none", "single_active_consumer=False"),
        ("x-max-length", value("3"), "max_length=3"),
        ("x-overflow", "'drop-head'", "overflow='drop-head'"),
    ],
)
def test_way_out_that_changes_nothing_on_the_broker_is_named(name: str, present: str, spec: str) -> None:
    assert f"; declare {spec} as it is there, or" in explained(QUEUE.format(name, "'5'", present))


@pytest.mark.parametrize(("name", "present"), [("x-max-priority", "none"), ("x-queue-type", "'a\\nb'")])
def test_value_that_a_spec_cannot_have_is_not_advised(name: str, present: str) -> None:
    assert " as it is there" not in explained(QUEUE.format(name, "'5'", present))


def test_limit_of_a_helper_queue_is_not_to_be_declared() -> None:
    """A user writes no spec of it."""
    text = explained(QUEUE.format("x-message-ttl", "'1000'", "'2000'"), serves="work")

    assert text.partition("; ")[2].startswith("give the queue 'work', which it serves, a new name, or delete")


def test_helper_queue_gets_a_new_name_with_the_queue_that_it_serves() -> None:
    text = explained(QUEUE.format("x-queue-type", "'quorum'", "'classic'"), serves="work")

    assert "give the queue 'work', which it serves, a new name, or delete" in text


def test_value_from_outside_can_neither_end_a_line_nor_fill_one() -> None:
    text = explained(QUEUE.format("x-dead-letter-routing-key", "'it's'", f"'a\\nb {'c' * 300}'"))

    assert "\n" not in text
    assert len(text) < 400


def test_answer_that_is_put_in_another_way_is_left_as_it_is() -> None:
    assert Difference.read("PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/'") is None


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 s"), (1, "0.001 s"), (5_000, "5 s"), (60_000, "1 min"), (90_061_500, "1 d 1 h 1 min 1.5 s")],
)
def test_duration_is_told_in_the_units_of_people(milliseconds: int, text: str) -> None:
    assert spoken_duration(milliseconds) == text

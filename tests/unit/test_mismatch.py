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
                f"message_ttl: 2 h on the broker, 1 h declared (x-message-ttl); declare 2 h and lower it by a policy "
                f"(message-ttl), or {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-message-ttl", "'7200000'", "'90500'"),
            (
                f"message_ttl: 1 min 30.5 s on the broker, 2 h declared (x-message-ttl); {NEW_NAME} and set it by "
                f"a policy (message-ttl), {LATER}, or {DELETE}"
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
                f"expires: 1 d on the broker, none declared (x-expires); {NEW_NAME} and set it by a policy (expires), "
                f"{LATER}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-queue-type", value("quorum", "longstr"), "'classic'"),
            f"type: classic on the broker, quorum declared (x-queue-type); {NEW_NAME}, or {DELETE}",
        ),
        (
            QUEUE.format("durable", "'true'", "'false'"),
            f"durable: False on the broker, True declared; {NEW_NAME}, or {DELETE}",
        ),
        (
            QUEUE.format("x-dead-letter-exchange", value("", "longstr"), "none"),
            (
                f"dead_letter: none on the broker, the default exchange declared (x-dead-letter-exchange); "
                f"{NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-delivery-limit", "'20'", "'2147483647'"),
            (
                f"delivery_limit: no limit on the broker, 20 declared (x-delivery-limit); declare no limit and lower "
                f"it by a policy (delivery-limit), or {NEW_NAME}, or {DELETE}"
            ),
        ),
        (
            QUEUE.format("x-odd", "'1'", "'2'"),
            f"arguments: x-odd: 2 on the broker, 1 declared; {NEW_NAME}, or {DELETE}",
        ),
        (
            EXCHANGE.format("type", "'topic'", "'direct'"),
            "type: direct on the broker, topic declared; give the exchange a new name, or delete it on the broker",
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

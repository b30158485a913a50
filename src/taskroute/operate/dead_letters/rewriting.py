"""Rewriting: the properties that a letter is published with, its reserved headers written anew. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from taskroute.handling.settle import put_elsewhere, sent_again
from taskroute.operate.dead_letters.letter import Letter


def properties_for_retry(letter: Letter, to: str) -> Mapping[str, object]:
    """Return those with which it is the first attempt of its message in a queue."""
    exchange, routing_key = letter.came
    again = sent_again(letter.properties, queue=letter.lies_in, exchange=exchange, routing_key=routing_key, to=to)
    return _with_id(again)


def properties_as_letter(letter: Letter) -> Mapping[str, object]:
    """Return those with which it is a letter in another dead-letter queue."""
    exchange, routing_key = letter.came
    return _with_id(put_elsewhere(letter.properties, queue=letter.lies_in, exchange=exchange, routing_key=routing_key))


def _with_id(properties: Mapping[str, object]) -> Mapping[str, object]:
    """Return them with a message id, by which the broker's return of the message is told apart."""
    return properties if properties.get("message_id") else {**properties, "message_id": uuid.uuid4().hex}

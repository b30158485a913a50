"""Endings: what declaring or consuming a queue can end with, by what the broker answers, and what follows. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_ACCESS_REFUSED: Final = 403
_NOT_ALLOWED: Final = 530

Ending = Literal["mismatch", "denied", "refused", "unavailable"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker says, by AMQP's code and a pattern that its text has, and the ending that it stands for."""

    code: int
    pattern: str
    ending: Ending
    meaning: str


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows from an ending, for people."""

    worker_starts: str
    worker_runs: str
    publisher: str


ANSWERS: Final[Sequence[Answer]] = (
    Answer(406, "inequivalent arg", "mismatch", "it is there with other arguments"),
    Answer(406, "", "refused", "an argument that the broker does not take, or a limit of the virtual host"),
    Answer(
        404,
        "^NOT_FOUND - no (queue|exchange) |^no (queue|exchange) ",
        "mismatch",
        "it is not there, and `declare` does not create it",
    ),
    Answer(404, "", "unavailable", "the node that a classic queue lives on is down"),
    Answer(403, "in exclusive use", "unavailable", "another consumer has it to itself"),
    Answer(403, "", "denied", "a right is missing"),
    Answer(405, "", "denied", "another connection holds it exclusively"),
    Answer(530, "", "denied", "the broker does not allow it"),
    Answer(506, "", "unavailable", "nothing is left of what it takes, or no replica runs"),
    Answer(540, "", "refused", "the broker cannot do it"),
    Answer(
        541, "deprecated|permitted", "refused", "the broker does not permit it, as transient queues on RabbitMQ 4.3"
    ),
    Answer(541, "", "unavailable", "a quorum queue has no leader, or the broker failed"),
)
"""The first row that fits counts. What is in none of them says nothing about the queue: the connection is to blame."""

CONSEQUENCES: Final[Mapping[Ending, Consequence]] = {
    "mismatch": Consequence("raises `TopologyMismatchError`", "leaves that queue alone", "goes on"),
    "denied": Consequence("raises `TopologyMismatchError`", "leaves that queue alone", "goes on"),
    "refused": Consequence(
        "raises `TopologyMismatchError` or `UnsupportedFeatureError`",
        "leaves that queue alone",
        "goes on, or raises `UnsupportedFeatureError`",
    ),
    "unavailable": Consequence("leaves that queue alone", "leaves that queue alone", "goes on without it"),
}


_NO_ENTRY: Final = re.compile(r"vhost \S+ not found|access to vhost .* refused for user '[^']*'$")


def is_login_refused(code: int | None, text: str) -> bool:
    """Return whether a broker has answered to a login that it does not let this user in, now or later.

    >>> is_login_refused(403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.")
    True
    >>> is_login_refused(530, "NOT_ALLOWED - vhost shop not found")
    True
    >>> is_login_refused(530, "NOT_ALLOWED - connection refused for user 'a': user connection limit (1) is reached")
    False
    """
    return code == _ACCESS_REFUSED or (code == _NOT_ALLOWED and _NO_ENTRY.search(text) is not None)


def ending_of(code: int | None, text: str) -> Ending | None:
    """Return what an answer of the broker means for a queue, None if it says nothing about it.

    >>> ending_of(404, "NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible")
    'unavailable'
    >>> ending_of(320, "CONNECTION_FORCED") is None
    True
    """
    for answer in ANSWERS:
        if answer.code == code and re.search(answer.pattern, text):
            return answer.ending
    return None

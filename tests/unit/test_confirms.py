"""What the session's thread and those who submit decide between them."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future

from taskroute.broker.confirms import Confirms, Receipt, Submission
from taskroute.errors import BrokerUnavailableError


def make_confirms() -> Confirms:
    return Confirms(
        prepare=lambda channel: None,
        unavailable=lambda: BrokerUnavailableError("a test"),
        is_blocked=lambda: False,
    )


def submission() -> Submission:
    return Submission(
        exchange="",
        routing_key="q",
        body=b"",
        properties={},
        message_id="m",
        mandatory=True,
        deadline=time.monotonic() + 60,
    )


def test_what_is_submitted_while_and_after_the_session_ends_fails_at_once() -> None:
    confirms, first, second, third = make_confirms(), submission(), submission(), submission()

    def submit_second(_: Future[Receipt]) -> None:
        confirms.submit(second)

    first.future.add_done_callback(submit_second)
    confirms.submit(first)
    confirms.expire(math.inf)
    confirms.submit(third)
    for late in (first, second, third):
        assert isinstance(late.future.exception(0), BrokerUnavailableError)

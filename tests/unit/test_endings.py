"""What a broker's answer about a queue means: the table, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskroute.broker.endings import ANSWERS, CONSEQUENCES, Ending, ending_of

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def markdown() -> str:
    """Return both tables as the page shows them."""
    answers = [f"| {answer.code} | {answer.meaning} | {answer.ending} |" for answer in ANSWERS]
    consequences = [
        f"| **{ending}** | {follows.worker_starts} | {follows.worker_runs} | {follows.publisher} |"
        for ending, follows in CONSEQUENCES.items()
    ]
    head = ["| the broker says | because | so it is |", "|---|---|---|", *answers, ""]
    return "\n".join(
        [
            *head,
            "| it is | the start of a worker that consumes it | a worker that runs | a publisher |",
            "|---|---|---|---|",
            *consequences,
        ]
    )


def test_page_shows_the_tables_of_the_code() -> None:
    assert markdown() in PAGE.read_text(), f"docs/operations.md must have these tables:\n{markdown()}"


@pytest.mark.parametrize(
    ("code", "text", "ending"),
    [
        (404, "NOT_FOUND - no queue 'q' in vhost '/'", "mismatch"),
        (404, "NOT_FOUND - no exchange 'x' in vhost '/'", "mismatch"),
        (404, "NOT_FOUND - home node 'a@b' of durable queue 'q' in vhost '/' is down or inaccessible", "unavailable"),
        (404, "NOT_FOUND - queue 'q' in vhost '/' has crashed and failed to restart", "unavailable"),
        (404, "NOT_FOUND - queue 'no queue ' in vhost '/' process is stopped by supervisor", "unavailable"),
        (404, "NOT_FOUND - failed to perform operation on queue 'q' in vhost '/' due to timeout", "unavailable"),
        (406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/'", "mismatch"),
        (406, "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/'", "refused"),
        (403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use", "unavailable"),
        (403, "ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'", "denied"),
        (405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'", "denied"),
        (541, "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.", "refused"),
        (541, "INTERNAL_ERROR - queue 'q' in vhost '/' timeout occurred during consume operation", "unavailable"),
        (541, "INTERNAL_ERROR", "unavailable"),
        (540, "NOT_IMPLEMENTED - queue 'q' does not support global qos", "refused"),
        (320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'", None),
        (None, "", None),
    ],
)
def test_answer_of_the_broker_has_its_ending(code: int | None, text: str, ending: Ending | None) -> None:
    assert ending_of(code, text) == ending

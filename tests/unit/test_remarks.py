"""What is said of a mismatch that stops nothing: once in the log, and in health for as long as it is so."""

from __future__ import annotations

import amqp
import pytest
from tests.kit.calls import logged

from taskroute import BrokerError, TopologyMismatchError
from taskroute.broker.declare import QueueUnavailableError
from taskroute.broker.remarks import Remarks

PROBLEM = TopologyMismatchError("queue 'q': type: classic on the broker, quorum declared")


def caused_by(cause: Exception) -> BrokerError:
    error = TopologyMismatchError("queue 'q': the broker does not have it")
    error.__cause__ = cause
    return error


def test_same_difference_on_the_next_connection_is_logged_once() -> None:
    remarks = Remarks()
    with logged("queue_differs queue=q") as lines:
        remarks.differs("queue", "q", PROBLEM)
        remarks.begin_anew()
        assert remarks.texts == {}
        remarks.differs("queue", "q", PROBLEM)

    assert list(remarks.texts.values()) == [str(PROBLEM)]
    assert len(lines.calls) == 1


def test_difference_that_comes_back_is_logged_again() -> None:
    remarks = Remarks()
    with logged("queue_differs queue=q") as lines:
        remarks.differs("queue", "q", PROBLEM)
        remarks.clear_of("queue", "q")
        assert remarks.texts == {}
        remarks.differs("queue", "q", PROBLEM)

    assert len(lines.calls) == 2


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (PROBLEM, "queue_differs"),
        (QueueUnavailableError("queue 'q': gone"), "queue_missing"),
        (caused_by(amqp.NotFound("NOT_FOUND - no queue 'q'")), "queue_missing"),
    ],
    ids=["differs", "unavailable", "not there"],
)
def test_lost_queue_is_a_warning_until_its_problem_changes(error: BrokerError, event: str) -> None:
    """It is tried again every few seconds, and ends alike."""
    remarks = Remarks()
    with logged("queue=q") as lines:
        remarks.lost("q", 0.1, error)
        remarks.lost("q", 5.0, error)
        assert len(lines.calls) == 1
        remarks.lost("q", 5.0, TopologyMismatchError("another"))
        assert len(lines.calls) == 2

    assert lines.calls[0].startswith(f"{event} queue=q pause=0.1 error=")
    assert remarks.texts == {}  # health gives the reason


def test_queue_that_is_lost_again_is_a_warning_again() -> None:
    remarks = Remarks()
    with logged("queue_differs queue=q") as lines:
        remarks.lost("q", 5.0, PROBLEM)
        remarks.found("q")
        remarks.lost("q", 0.1, PROBLEM)

    assert len(lines.calls) == 2


def test_all_that_is_not_compared_is_one_line_and_one_warning() -> None:
    remarks = Remarks()
    with logged("cannot_compare") as lines:
        remarks.uncompared("exchange 'x'", "ACCESS_REFUSED")
        remarks.uncompared("queue 'q'", "ACCESS_REFUSED")

    (warning,) = remarks.texts.values()
    assert warning.endswith("as this user may not declare: exchange 'x', queue 'q'")
    assert len(lines.calls) == 1


@pytest.mark.parametrize("kind", ["queue", "exchange"])
def test_queue_and_exchange_of_one_name_are_told_apart(kind: str) -> None:
    remarks = Remarks()
    remarks.differs("queue", "same", PROBLEM)
    remarks.differs("exchange", "same", PROBLEM)

    remarks.clear_of("queue" if kind == "queue" else "exchange", "same")

    assert list(remarks.texts) == [f"{'exchange' if kind == 'queue' else 'queue'} 'same'"]

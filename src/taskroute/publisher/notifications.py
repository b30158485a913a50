"""Notifications: what instrumentation is told of a published message, and what it adds to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from functools import partial

from taskroute.broker.properties import with_headers
from taskroute.broker.roles.submission import Identity, Receipt, Submission
from taskroute.errors import BrokerUnavailableError, PublishError
from taskroute.instrumentation.events import Published, PublishFailed, Returned
from taskroute.instrumentation.hooks import Listeners

Outcome = Published | Returned | PublishFailed


def announce(submission: Submission, listeners: Listeners) -> None:
    """Have instrumentation add its headers to a message, and later hear what became of it. On the caller's thread."""
    added_headers = listeners.publishing
    if added_headers is not None:
        added = added_headers(submission.exchange, submission.routing_key, submission.message_id)
        try:
            submission.properties = with_headers(submission.properties, added)
        except PublishError as error:  # the message counts for more than what was to be added
            listeners.report(added_headers, error)
    if listeners.on_event is not None:
        # Not with the submission itself, body and all: its future keeps its callbacks, and it keeps its future.
        emit = partial(_emit_outcome, listeners.on_event, submission.identity, submission.deadline, time.monotonic())
        submission.future.add_done_callback(emit)


def _emit_outcome(
    emit: Callable[[Outcome], object], identity: Identity, deadline: float, began: float, future: Future[Receipt]
) -> None:
    now = time.monotonic()
    emit(_outcome(identity, now - began, _error_of(future, is_overdue=now >= deadline)))


def _outcome(identity: Identity, seconds: float, error: str | None) -> Outcome:
    exchange, routing_key, message_id = identity
    if error is None:
        return Published(exchange=exchange, routing_key=routing_key, message_id=message_id, seconds=seconds)
    if error == "UnroutableError":
        return Returned(exchange=exchange, routing_key=routing_key, message_id=message_id, seconds=seconds)
    return PublishFailed(
        exchange=exchange, routing_key=routing_key, message_id=message_id, seconds=seconds, error=error
    )


def _error_of(future: Future[Receipt], *, is_overdue: bool) -> str | None:
    """Return the name of the error's class."""
    if future.cancelled():  # never written: given up by its publisher past its deadline, or by a caller
        return BrokerUnavailableError.__name__ if is_overdue else CancelledError.__name__
    error = future.exception()
    return None if error is None else type(error).__name__

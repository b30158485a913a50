"""Unconfirmed: what a publisher that is closed says of the messages that it has not published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from taskroute.broker.link import describe_error
from taskroute.broker.roles.submission import Submission
from taskroute.errors import BrokerError, BrokerUnavailableError, ClosedError, PublishError, PublishTimeoutError
from taskroute.foreign import Log
from taskroute.quoting import shorten

log = Log("taskroute.publisher")

_IDS_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Messages that were not published, by their ids. False if there are none.

    Not those that were refused, or that their caller has cancelled: their futures have been asked, or say so.
    """

    never_written: tuple[str, ...]
    unknown: tuple[str, ...]
    cause: str
    """Why those were never written: the error of the first."""

    def __bool__(self) -> bool:
        return bool(self.never_written or self.unknown)

    def __str__(self) -> str:
        return "; ".join(self._parts())

    @property
    def error(self) -> PublishError:
        """What `close` raises: that the outcome is unknown, if it is of any of them."""
        kind = PublishTimeoutError if self.unknown else BrokerUnavailableError
        return kind(f"closed with {len(self.never_written) + len(self.unknown)} messages unconfirmed: {self}")

    def tell_at_exit(self, session: str) -> None:
        """Write a line to the log, as nothing else can tell it any more."""
        counts = len(self.never_written), len(self.unknown)
        log.error("unpublished_at_exit session=%s never_written=%d unknown=%d: %s", session, *counts, self)

    def _parts(self) -> Iterator[str]:
        if ids := self.never_written:
            yield f"{len(ids)} never written, safe to publish again ({self.cause}), message_ids: {_shown(ids)}"
        if ids := self.unknown:
            yield f"{len(ids)} written, whose outcome is unknown, message_ids: {_shown(ids)}"


def unconfirmed(submissions: Iterable[Submission]) -> Unconfirmed:
    """Return those of some submissions that were not published. Each of them has its outcome."""
    outcomes = [(submission.message_id, _error_of(submission)) for submission in submissions]
    never_written = [(each, error) for each, error in outcomes if isinstance(error, BrokerError)]
    return Unconfirmed(
        tuple(each for each, _ in never_written),
        tuple(each for each, error in outcomes if isinstance(error, PublishTimeoutError)),
        describe_error(never_written[0][1]) if never_written else "",
    )


def _error_of(submission: Submission) -> BaseException | None:
    future = submission.future
    error = None if future.cancelled() else future.exception()
    return None if isinstance(error, ClosedError) else error  # its caller was told


def _shown(message_ids: Sequence[str]) -> str:
    return ", ".join(map(shorten, message_ids[:_IDS_SHOWN])) + (", ..." if len(message_ids) > _IDS_SHOWN else "")

"""InFlight: the submissions that were written on one channel and are not confirmed. Pure.

A confirm belongs to a message by its delivery tag alone. A return carries no delivery tag: it is matched by exchange,
routing key and message id, so two messages alike in all three are never in flight together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from taskroute.broker.roles.submission import Identity, Submission


class InFlight:
    """Submissions by delivery tag, which counts the publishes of a channel from 1."""

    __slots__ = ("_by_tag", "_last_tag", "_returnable")

    def __init__(self) -> None:
        self._by_tag: dict[int, Submission] = {}
        self._returnable: dict[Identity, Submission] = {}
        self._last_tag = 0

    def __iter__(self) -> Iterator[Submission]:
        return iter(self._by_tag.values())

    def add(self, submission: Submission) -> bool:
        """File a submission that is about to be written. Return False if a duplicate is in flight: it is not filed."""
        identity = submission.identity
        if identity in self._returnable:
            return False
        self._last_tag += 1
        self._by_tag[self._last_tag] = submission
        if submission.mandatory:
            self._returnable[identity] = submission
        return True

    def has_duplicate_of(self, submission: Submission) -> bool:
        """Return whether a return could not be told from one of this submission."""
        return submission.identity in self._returnable

    def undo_last(self) -> None:
        """Take back the submission that was filed last, and not written after all."""
        submission = self._by_tag.pop(self._last_tag)
        self._last_tag -= 1
        self._returnable.pop(submission.identity, None)

    def returned(self, identity: Identity) -> Submission | None:
        """Return the submission that a return speaks of."""
        return self._returnable.get(identity)

    def take(self, delivery_tag: int, multiple: bool) -> list[Submission]:
        """Take out what a confirm covers."""
        tags = [delivery_tag]
        if multiple:  # tags were filed in ascending order
            tags = list(takewhile(delivery_tag.__ge__, self._by_tag))
        taken = [self._by_tag.pop(tag) for tag in tags if tag in self._by_tag]
        for submission in taken:
            if submission.mandatory:  # one that is not was never filed; one alike that is may have been since
                del self._returnable[submission.identity]
        return taken

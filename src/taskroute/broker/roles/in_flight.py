"""InFlight: the submissions that were written on one channel and are not confirmed. Pure.

A confirm belongs to a message by its delivery tag alone. A return carries no delivery tag: it is matched by exchange,
routing key and message id, so two messages alike in all three, whose outcome somebody waits for, are never in flight
together.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from taskroute.broker.roles.submission import Identity, Submission


class InFlight:
    """Submissions by delivery tag, which counts the publishes of a channel from 1."""

    __slots__ = ("_by_tag", "_returnable", "last_tag")

    def __init__(self) -> None:
        self._by_tag: dict[int, Submission] = {}
        self._returnable: dict[Identity, Submission] = {}
        self.last_tag = 0
        """Of the message that was written last."""

    def __iter__(self) -> Iterator[Submission]:
        return iter(self._by_tag.values())

    def __bool__(self) -> bool:
        return bool(self._by_tag)

    @property
    def oldest_tag(self) -> int:
        """Of the message that was written first. There must be one."""
        return next(iter(self._by_tag))

    def add(self, submission: Submission) -> bool:
        """File a submission that is about to be written. Return False if a duplicate is in flight: it is not filed."""
        identity, returnable = submission.identity, self._returnable
        if identity in returnable and not returnable[identity].is_resolved:  # as `has_duplicate_of`
            return False
        self.last_tag += 1
        self._by_tag[self.last_tag] = submission
        if submission.mandatory:
            returnable[identity] = submission
        return True

    def has_duplicate_of(self, submission: Submission) -> bool:
        """Return whether a return could not be told from one of this submission.

        One that was given up holds nobody back: should the broker return it so late, this one counts as returned.
        """
        earlier = self._returnable.get(submission.identity)
        return earlier is not None and not earlier.is_resolved

    def undo_last(self) -> None:
        """Take back the submission that was filed last, and not written after all."""
        submission = self._by_tag.pop(self.last_tag)
        self.last_tag -= 1
        if self._returnable.get(submission.identity) is submission:
            del self._returnable[submission.identity]

    def returned(self, identity: Identity) -> Submission | None:
        """Return the submission that a return speaks of."""
        return self._returnable.get(identity)

    def take(self, delivery_tag: int, multiple: bool) -> list[Submission]:
        """Take out what a confirm covers."""
        tags = [delivery_tag]
        if multiple:  # tags were filed in ascending order
            tags = list(takewhile(delivery_tag.__ge__, self._by_tag))
        taken = [self._by_tag.pop(tag) for tag in tags if tag in self._by_tag]
        returnable = self._returnable
        for submission in taken:
            identity = submission.identity
            if returnable.get(identity) is submission:  # one alike may have been filed since
                del returnable[identity]
        return taken

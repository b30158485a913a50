"""ConfirmChannel: one channel in confirm mode, and what was written on it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from taskroute.broker.amqp import Channel
from taskroute.broker.roles.confirm_watch import ConfirmWatch
from taskroute.broker.roles.in_flight import InFlight
from taskroute.broker.roles.submission import Submission


@dataclass(slots=True, eq=False)
class ConfirmChannel:
    """A channel that confirms what is published on it. For the session's thread.

    `closes_at`: when it is closed whatever is in flight on it, by the monotonic clock, if it is being left.
    """

    channel: Channel
    watch: ConfirmWatch
    in_flight: InFlight = field(default_factory=InFlight)
    closes_at: float = math.inf

    def unconfirmed(self) -> Iterator[Submission]:
        """Yield what was written and has no outcome yet, in that order."""
        return (submission for submission in self.in_flight if not submission.is_resolved)

    def is_overdue(self, now: float, was_heard: bool, is_blocked: bool) -> bool:
        """Return whether a confirm is overdue; see `ConfirmWatch.look`."""
        in_flight = self.in_flight
        oldest = in_flight.oldest_tag if in_flight else in_flight.last_tag + 1
        return self.watch.look(now, was_heard=was_heard, is_blocked=is_blocked, oldest=oldest, last=in_flight.last_tag)

"""Failure: a delivery that was not handled, why, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass

from taskroute.handling.settle import Ack, Republish
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Reason


@dataclass(frozen=True, slots=True)
class Failure:
    """What is known when a delivery has failed. `seconds`: how long handling it took."""

    delivery: Delivery
    failed: Failed
    action: Ack | Republish
    seconds: float

    @property
    def reason(self) -> Reason:
        """Why, as the dead letter says it."""
        return self.action.reason if isinstance(self.action, Republish) else self.failed.reason

    @property
    def is_last(self) -> bool:
        """Whether the message is not tried again."""
        return not (isinstance(self.action, Republish) and self.action.kind == "retry")

    @property
    def destination(self) -> str:
        """The queue that it goes to, for people."""
        return self.action.queue if isinstance(self.action, Republish) else "nowhere"

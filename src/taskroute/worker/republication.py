"""Republication: a failed message as it is published to a wait or dead-letter queue."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from taskroute.broker.properties import passed_on
from taskroute.broker.roles.submission import Submission
from taskroute.handling.settle import Republish
from taskroute.message.delivery import Delivery


class StaleDelivery(Exception):  # noqa: N818 - nothing has failed
    """The delivery of a message is stale: the broker delivers it again, so it need not be republished."""


@dataclass(slots=True, eq=False, kw_only=True)
class Republication(Submission):
    """A submission that is not written once its delivery is stale. It has no deadline."""

    is_stale: Callable[[], bool]

    def begin_write(self) -> bool:
        """Do the same, but not for a stale delivery: its future then has `StaleDelivery`."""
        if self.is_stale() and not self.future.done():
            self.move("give_up")
            self.future.set_exception(StaleDelivery())
            return False
        return Submission.begin_write(self)


def republication(delivery: Delivery, action: Republish, is_stale: Callable[[], bool], frame_max: int) -> Republication:
    """Return what is published for a delivery that failed. `frame_max`: bytes that its headers must fit into."""
    properties = action.properties
    if not delivery.message_id:
        properties = {**properties, "message_id": uuid.uuid4().hex}  # by which a return is told apart
    return Republication(
        exchange="",
        routing_key=action.queue,
        body=action.body,
        properties=passed_on(properties, frame_max),
        message_id=str(properties["message_id"]),
        mandatory=True,
        deadline=math.inf,
        is_stale=is_stale,
    )

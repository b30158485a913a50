"""Acknowledgements: written once for each delivery, in few frames, and only on the channel that delivered it.

`AckWindow` decides, and is pure; `Acknowledgements` writes, on the session's thread.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet

from taskroute.broker.amqp import KEEPS_ORDER, Channel
from taskroute.foreign import Log
from taskroute.message.delivery import Delivery

log = Log("taskroute.broker")


class Acknowledgements:
    """The acknowledgements of one channel. For the session's thread.

    Args:
        channel: that the deliveries came by.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._window = AckWindow()

    def write(self, deliveries: Iterable[Delivery]) -> Collection[Delivery]:
        """Acknowledge deliveries of this channel, and return those that were not settled before."""
        fresh = self._unsettled(deliveries)
        if fresh:
            self._channel.acknowledge(*self._window.take(fresh.keys()))
        return fresh.values()

    def put_back(self, deliveries: Iterable[Delivery]) -> Collection[Delivery]:
        """Put deliveries of this channel back to their queue, and return those that were not settled before.

        What is to be acknowledged must be written before: `multiple` may name a tag only when nothing older is
        unsettled, as with an acknowledgement.
        """
        fresh = self._unsettled(deliveries)
        tags = sorted(fresh)
        for first in range(0, len(tags), KEEPS_ORDER):
            self._channel.put_back(*self._window.take({*tags[first : first + KEEPS_ORDER]}))
        return fresh.values()

    def _unsettled(self, deliveries: Iterable[Delivery]) -> dict[int, Delivery]:
        highest, gaps = self._window.highest, self._window.gaps
        return {each.tag: each for each in deliveries if each.tag > highest or each.tag in gaps}


def drop_stale(delivery: Delivery) -> None:
    """Acknowledge nothing: the channel of the delivery is gone, and the broker delivers the message again."""
    log.info("stale_ack queue=%s message_id=%s", delivery.queue, delivery.message_id)


class AckWindow:
    """The settled tags of one channel, which the broker numbers from 1.

    Invariant: the settled tags are those up to `highest`, without `gaps`. What is kept is bounded by the prefetch, as
    a gap is a delivery that is not settled, however many others were settled since.
    No tag is acknowledged twice, not even as part of a prefix: the broker forgets a tag with its acknowledgement, and
    closes the channel over one that it does not know (406).

    Example:
        >>> window = AckWindow()
        >>> window.take({1, 2, 4})
        (2, [4])
        >>> window.take({3})
        (3, [])
    """

    __slots__ = ("gaps", "highest")

    def __init__(self) -> None:
        self.highest = 0
        self.gaps: set[int] = set()

    def take(self, tags: AbstractSet[int]) -> tuple[int, list[int]]:
        """Settle tags that are not settled yet. Return how to acknowledge them.

        Returns:
            The tag up to which all may be acknowledged with one `multiple` frame, 0 for none, and the tags to be
            acknowledged one by one.
        """
        gaps, highest = self.gaps, max(self.highest, max(tags, default=0))
        gaps.update(range(self.highest + 1, highest + 1))
        gaps.difference_update(tags)
        self.highest = highest
        prefix = min(gaps) - 1 if gaps else highest
        # Not the end of the prefix: that tag may have been acknowledged by itself.
        last = max((tag for tag in tags if tag <= prefix), default=0)
        return last, sorted(tag for tag in tags if tag > prefix)

"""AckWindow: which delivery tags of one channel are settled, and how to acknowledge them in few frames. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet


class AckWindow:
    """The settled tags of one channel, which the broker numbers from 1.

    Invariant: every tag up to `prefix` is settled, `prefix` + 1 is not, and `beyond` has the settled tags above it.
    No tag is acknowledged twice, not even as part of a prefix: the broker forgets a tag with its acknowledgement, and
    closes the channel over one that it does not know (406).

    Example:
        >>> window = AckWindow()
        >>> window.take({1, 2, 4})
        (2, [4])
        >>> window.take({3})
        (3, [])
    """

    __slots__ = ("beyond", "prefix")

    def __init__(self) -> None:
        self.prefix = 0
        self.beyond: set[int] = set()

    def take(self, tags: AbstractSet[int]) -> tuple[int, list[int]]:
        """Settle tags that are not settled yet. Return how to acknowledge them.

        Returns:
            The tag up to which all may be acknowledged with one `multiple` frame, 0 for none, and the tags to be
            acknowledged one by one.
        """
        prefix, last = self.prefix, 0
        while (following := prefix + 1) in tags or following in self.beyond:
            prefix = following
            if prefix in tags:
                last = prefix  # not the end of the prefix: that tag may have been acknowledged by itself
            else:
                self.beyond.remove(prefix)
        self.prefix = prefix
        behind_gap = sorted(tag for tag in tags if tag > prefix)
        self.beyond.update(behind_gap)
        return last, behind_gap

"""NodeOrder: in which order a session tries the nodes of a cluster: its own, so that many of them are spread."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Sequence
from hashlib import blake2b

from taskroute.broker.url import BrokerUrl

_KEY_BYTES = 16


class NodeOrder:
    """Where one session connects next. For its thread.

    Each order is drawn at random, once, and every node has its place by its address alone (rendezvous hashing): a node
    that is added or removed changes nothing in the order of the others.

    The nodes are tried in turn. After a loss it begins anew with the first, but not with the node that was lost.

    Args:
        key: what makes the order its own; drawn at random if left out.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(_KEY_BYTES) if key is None else key
        self._turns = itertools.count()
        self.is_first = True
        """Whether the last node that `next` returned is the first of them."""

    def next(self, nodes: Sequence[BrokerUrl]) -> BrokerUrl:
        """Return the node to try now."""
        ordered = self.of(nodes)
        node = ordered[next(self._turns) % len(ordered)]
        self.is_first = node == ordered[0]
        return node

    def begin_anew(self) -> None:
        """Take note that the last node was of use, and is lost."""
        self._turns = itertools.count(int(self.is_first))

    def return_to_first(self) -> None:
        """Have `next` begin with the first node."""
        self._turns = itertools.count()

    def of(self, nodes: Iterable[BrokerUrl]) -> tuple[BrokerUrl, ...]:
        """Return all nodes in this order."""
        return tuple(sorted(nodes, key=self._place))

    def _place(self, node: BrokerUrl) -> bytes:
        return blake2b(f"{node.address}{node.virtual_host}".encode(), key=self._key, digest_size=8).digest()

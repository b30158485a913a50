"""A network of the tests' own for the nodes of a cluster, which they can cut: each node in a namespace of its own.

Clients reach a node by one link, the other nodes reach it by another one: so the nodes can be parted while clients
still reach each of them. Its addresses are of the block for tests of networks (RFC 2544), and nothing else has a route
to them.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.kit.rabbitmq import Place


def missing() -> str | None:
    """Why there can be no such network here, None when there can."""
    if os.geteuid():
        return "only root may make network namespaces"
    return None if shutil.which("ip") else "iproute2 is not installed"


class Network:
    """Places for some nodes. One thread."""

    def __init__(self, size: int) -> None:
        self._token = uuid.uuid4().hex[:6]
        self._bridge = f"tr{self._token}"
        self._third = random.SystemRandom().randrange(256)
        self._undo = ExitStack()
        try:
            self._link("add", self._bridge, "type", "bridge")
            self._undo.callback(self._link, "del", self._bridge)
            self._link("set", self._bridge, "up")
            self.places = tuple(self._place(number) for number in range(size))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove it."""
        self._undo.close()

    @contextmanager
    def parted(self, number: int) -> Iterator[None]:
        """One node and the others do not reach each other, for as long as the block takes; clients reach them all."""
        self._link("set", self._end(number, "n"), "down")
        try:
            yield
        finally:
            self._link("set", self._end(number, "n"), "up")

    def _place(self, number: int) -> Place:
        space = f"tr{self._token}-{number}"
        _ip("netns", "add", space)
        self._undo.callback(_ip, "netns", "del", space)
        among, client = f"198.18.{self._third}.{number + 1}", 4 * number
        here, there = (f"198.19.{self._third}.{client + last}" for last in (1, 2))
        self._join(space, number, "n", f"{among}/24")
        self._join(space, number, "c", f"{there}/30")
        self._link("set", self._end(number, "n"), "master", self._bridge)
        _ip("addr", "add", f"{here}/30", "dev", self._end(number, "c"))
        _ip("-n", space, "link", "set", "lo", "up")
        return Place(there, among, ("ip", "netns", "exec", space))

    def _join(self, space: str, number: int, kind: str, address: str) -> None:
        """Lay a cable from here into a namespace, where its end has an address."""
        end, inner = self._end(number, kind), f"{kind}0"
        self._link("add", end, "type", "veth", "peer", "name", inner, "netns", space)
        self._link("set", end, "up")
        _ip("-n", space, "addr", "add", address, "dev", inner)
        _ip("-n", space, "link", "set", inner, "up")

    def _end(self, number: int, kind: str) -> str:
        return f"tr{self._token}{kind}{number}"

    @staticmethod
    def _link(*arguments: str) -> None:
        _ip("link", *arguments)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=30)

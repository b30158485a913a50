"""Connector: one attempt of a session to connect, to the next node, and what hangs in it. On the session's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Final

import amqp

from taskroute.broker.amqp import Connection
from taskroute.broker.connection import connect
from taskroute.broker.dial import is_reachable
from taskroute.broker.endings import is_login_refused
from taskroute.broker.link import CurrentLink, Step
from taskroute.broker.node_order import NodeOrder
from taskroute.broker.url import BrokerUrl, Nodes
from taskroute.errors import BrokerUnavailableError
from taskroute.foreign import Log

log = Log("taskroute.broker")

_ASKING: Final = Step("waiting for the function that was given as url", can_be_cut=False)


class Connector:
    """Connects a session, and keeps its link up to date with the node, the connection and what is waited for.

    Args:
        nodes: tried in an order of this session's own.
        current: the session's link.
        name: of the session, for people.
        heartbeat: seconds.
        topology_digest: see `connect`.
        on_blocked: see `connect`.
        on_unblocked: see `connect`.
    """

    def __init__(
        self,
        nodes: Nodes,
        current: CurrentLink,
        *,
        name: str,
        heartbeat: float,
        topology_digest: str | None,
        on_blocked: Callable[[str], object],
        on_unblocked: Callable[[], object],
    ) -> None:
        self._nodes = nodes
        self._current = current
        self._name = name
        self._heartbeat = heartbeat
        self._topology_digest = topology_digest
        self._on_blocked = on_blocked
        self._on_unblocked = on_unblocked
        self._order = NodeOrder()
        self._warned: set[str] = set()  # of these nodes

    def warn_of_fixed_nodes(self) -> None:
        """Log what an operator should know of nodes that are known before the first attempt. On any thread."""
        for url in self._nodes.fixed:
            self._warn_once(url)

    def connect(self) -> tuple[BrokerUrl, Connection]:
        """Connect to the next node; one attempt.

        Raises:
            BrokerUnavailableError: the session is to stop, or nobody says where the node is.
            Exception: what `connect` raises.
        """
        self._current.replace(self._current.link.connecting(None if self._nodes.fixed else _ASKING))
        self._raise_if_stopping()
        nodes = self._nodes.ask()
        url = self._order.next(nodes)
        self._current.replace(self._current.link.trying(url, nodes))
        self._warn_once(url)
        log.debug("connecting session=%s url=%s", self._name, url)
        try:
            return url, connect(
                url,
                name=self._name,
                heartbeat=self._heartbeat,
                topology_digest=self._topology_digest,
                on_blocked=self._on_blocked,
                on_unblocked=self._on_unblocked,
                on_created=self._on_created,
                on_step=partial(self._on_step, url),
            )
        except amqp.AMQPError as error:
            if is_login_refused(error.reply_code, str(error.reply_text)):
                self._current.replace(self._current.link.refused())
            raise

    @property
    def is_at_first_node(self) -> bool:
        """Whether the last attempt was to the first node of the order."""
        return self._order.is_first

    def begin_anew(self) -> None:
        """Take note that a connection that was of use is lost: the next attempt is to the first node but that one."""
        self._order.begin_anew()

    def look_at_first_node(self, tell: Callable[[bool], object]) -> None:
        """Find out whether the first node of the order takes connections, in a thread of its own: a lookup may hang.

        Args:
            tell: is called with it, on that thread.
        """
        first = self._order.of(self._current.link.nodes)[0]
        look = threading.Thread(
            target=lambda: tell(is_reachable(first.host, first.port)), name=f"{self._name}-look", daemon=True
        )
        try:
            look.start()
        except RuntimeError:  # there is no thread to be had now
            tell(False)

    def return_to_first_node(self) -> None:
        """Have the next attempt be to the first node of the order."""
        self._order.return_to_first()

    def _on_created(self, connection: Connection) -> None:
        self._current.replace(self._current.link.made(connection))

    def _on_step(self, url: BrokerUrl, step: str, *, can_be_cut: bool = True) -> None:
        link = self._current.link
        if link.state == "opening":
            self._current.replace(link.waiting(Step(f"{step}, at {url}", can_be_cut)))
            self._raise_if_stopping()

    def _raise_if_stopping(self) -> None:
        """End an attempt that `Session.stop` could not cut, as there was no socket when it looked."""
        if self._current.is_stopping and (step := self._current.link.step) is not None:
            raise BrokerUnavailableError(f"stopped while {step.text}")

    def _warn_once(self, url: BrokerUrl) -> None:
        if (warning := url.warning) and url.address not in self._warned:
            self._warned.add(url.address)
            log.warning("insecure session=%s url=%s: %s", self._name, url, warning)

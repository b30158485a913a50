"""Link: a session's connection at one moment, and the moves from one moment to the next."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from taskroute.broker.amqp import Connection
from taskroute.broker.url import BrokerUrl
from taskroute.quoting import without_passwords
from taskroute.state_table import StateTable

LinkState = Literal["down", "opening", "open", "ended"]
LinkEvent = Literal["connect", "set_up", "lose", "end"]

_LIVENESS_CHECK: Final = 1.0

LINK_MOVES: Final[StateTable[LinkState, LinkEvent]] = StateTable(
    "link",
    {
        ("down", "connect"): "opening",
        ("opening", "set_up"): "open",
        ("opening", "lose"): "down",
        ("open", "lose"): "down",
        ("down", "end"): "ended",
    },
)

MEND_LOGIN: Final = "mend user, password or virtual host in the URL, or on the broker"


@dataclass(frozen=True, slots=True)
class Step:
    """What connecting waits for. `can_be_cut`: shutting the socket down ends the wait."""

    text: str
    can_be_cut: bool = True


@dataclass(frozen=True, slots=True)
class Link:
    """What a session has of its connection. Replaced as a whole, so that another thread sees one moment of it.

    `generation` counts the connections that were set up, and `attempts` those to connect since it was last open.
    `since`, by the session's clock, is when it was opened if it is open, else when it was last open. `error` is why
    that ended, or why the last attempt failed. `nodes` are those that were last known, `node` is the one that is or was
    tried, and `failures` has by node why attempts since it was last open have failed. `closed_to_us` are those of them
    whose last attempt has ended with a refused login. `connection` is None unless
    `state` is ``opening`` or ``open``, and while it is being made; `step` is None unless `state` is ``opening``.
    `is_blocked`: the broker has said that it reads no publishes (an alarm). `frame_max`: of the last connection, 0
    before the first.
    """

    state: LinkState = "down"
    generation: int = 0
    connection: Connection | None = None
    is_blocked: bool = False
    nodes: tuple[BrokerUrl, ...] = ()
    node: BrokerUrl | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
    closed_to_us: frozenset[str] = frozenset()
    attempts: int = 0
    since: float = 0.0
    error: BaseException | None = None
    step: Step | None = None
    frame_max: int = 0

    def connecting(self, step: Step | None = None) -> Link:
        """Return the link while the next connection is made and set up. `step`: what that waits for first."""
        return replace(
            self,
            state=LINK_MOVES.after(self.state, "connect"),
            connection=None,
            is_blocked=False,
            node=None,
            attempts=self.attempts + 1,
            step=step,
        )

    def trying(self, node: BrokerUrl, nodes: tuple[BrokerUrl, ...]) -> Link:
        """Return the link that connects to one of some nodes."""
        return replace(self, node=node, nodes=nodes, closed_to_us=self.closed_to_us - {str(node)})

    def refused(self) -> Link:
        """Return the link of which the node that is tried does not let this user in."""
        return replace(self, closed_to_us=self.closed_to_us | {str(self.node)})

    @property
    def is_refused_everywhere(self) -> bool:
        """Whether no node lets this user in: another attempt does not mend that."""
        return bool(self.nodes) and all(str(node) in self.closed_to_us for node in self.nodes)

    def waiting(self, step: Step) -> Link:
        """Return the link at a step of its connecting."""
        return replace(self, step=step)

    def made(self, connection: Connection) -> Link:
        """Return the link with the connection that is being set up."""
        return replace(self, connection=connection)

    def set_up(self, frame_max: int, now: float) -> Link:
        """Return the link that can be used."""
        return replace(
            self,
            state=LINK_MOVES.after(self.state, "set_up"),
            generation=self.generation + 1,
            attempts=0,
            since=now,
            error=None,
            failures={},
            closed_to_us=frozenset(),
            step=None,
            frame_max=frame_max,
        )

    def blocked(self, is_blocked: bool) -> Link:
        """Return the link with what the broker has said about publishes."""
        return replace(self, is_blocked=is_blocked)

    def lost(self, error: BaseException | None, now: float) -> Link:
        """Return the link without its connection."""
        nodes = {str(node) for node in self.nodes}
        failures = {node: why for node, why in self.failures.items() if node in nodes}
        if self.node is not None and error is not None:
            failures[str(self.node)] = describe_error(error)
        return replace(
            self,
            state=LINK_MOVES.after(self.state, "lose"),
            connection=None,
            is_blocked=False,
            since=now if self.state == "open" else self.since,
            error=error,
            failures=failures,
            step=None,
        )

    def failed(self, error: BaseException) -> Link:
        """Return the link of a session to which something else has happened while it is not open."""
        return replace(self, error=error)

    def ended(self) -> Link:
        """Return the link of a session that connects no more."""
        return replace(self, state=LINK_MOVES.after(self.state, "end"))

    def problem(self, now: float) -> str:
        """Return why nothing can be written: which nodes were tried, how often and for how long, and what hangs.

        `now`: by the session's clock.
        """
        nodes = ", ".join(map(str, self.nodes)) or "the broker"
        if self.state == "open":
            why = "the broker has blocked publishing" if self.is_blocked else "the broker does not keep up"
            return f"{nodes}: {why}; the message was never written"
        reasons = [f"{node}: {failure}" for node, failure in self.failures.items()]
        if len(reasons) < 2:  # it is clear which one is meant
            reasons = [] if self.error is None else [describe_error(self.error)]
        if self.step is not None:
            reasons.append(f"now {self.step.text}" if reasons else self.step.text)
        why = "; ".join(reasons) or ("the last one was closed" if self.generation else "nothing was tried yet")
        if self.is_refused_everywhere:
            why += f"; {MEND_LOGIN}"
        attempts = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        return f"no connection to {nodes}: {attempts} in {now - self.since:.1f} s: {why}"


class CurrentLink:
    """The link of a session now, those who wait for it, and whether the session is to stop.

    The session's thread replaces the link; any thread may do the rest.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._changed = threading.Condition()
        self._is_stopping = False

    @property
    def is_stopping(self) -> bool:
        """Whether the session is to stop."""
        with self._changed:
            return self._is_stopping

    def replace(self, link: Link) -> None:
        """Go over to another link, and tell who waits."""
        with self._changed:
            self.link = link
            self._changed.notify_all()

    def stop(self) -> Link:
        """Have the session stop, and return the link. A thread that asks `is_stopping` later than that is told."""
        with self._changed:
            self._is_stopping = True
            return self.link

    def wait(self, timeout: float | None, is_gone: Callable[[], bool]) -> Link:
        """Wait until the link is open or has ended, `timeout` seconds at most, and return it.

        `is_gone`: whether the thread is gone that would announce a change. One that goes without a word announces
        nothing, so that is looked for once a second.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while self.link.state not in ("open", "ended"):
                left = _LIVENESS_CHECK if end is None else end - time.monotonic()
                if left <= 0 or (not self._changed.wait(min(left, _LIVENESS_CHECK)) and is_gone()):
                    break
            return self.link


def describe_error(error: BaseException) -> str:
    """Return the type and the first line of an error, on one line."""
    line = str(error).splitlines()[0] if str(error) else ""
    text = without_passwords(line)[:300]  # in this order: a password that is cut is not known
    return f"{type(error).__name__}({text!r})" if text else type(error).__name__

"""Sending: letters published with confirms, each of them once. The session's thread writes, the caller waits."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from taskroute.broker.properties import passed_on
from taskroute.broker.roles.confirms import Confirms, not_confirmed
from taskroute.broker.roles.submission import Receipt, Submission
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes
from taskroute.errors import BrokerUnavailableError

_HEARTBEAT = 30.0
_CONNECT_TIME = 10.0
_END_TIME = 2.0


@dataclass(slots=True, eq=False, kw_only=True)
class Once(Submission):
    """A submission that is written once: whether the broker has it is unknown when its connection is lost.

    Its letter is still there then. Written again it might be there twice, and with the letter three times.
    """

    def begin_write(self) -> bool:
        """Do the same, but give up what was written before."""
        if self.state in ("written", "returned"):
            if not self.future.done():
                self.move("give_up")
                self.resolve(not_confirmed(self))
            return False
        return Submission.begin_write(self)


class Sending:
    """A session that publishes. It is not the connection that letters are taken by, which must not be blocked with it.

    Use it with ``with``.

    Args:
        nodes: tried in turn.
        name: of the connection, for people.
    """

    def __init__(self, nodes: Nodes, *, name: str) -> None:
        self._confirms = Confirms(unavailable=self._unavailable)
        self._session = Session(nodes, self._confirms, name=name, heartbeat=_HEARTBEAT)

    def __enter__(self) -> Self:
        self._session.start()
        try:
            self._session.wait_open(_CONNECT_TIME)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def send(self, queue: str, body: bytes, properties: Mapping[str, object], deadline: float) -> Future[Receipt]:
        """Publish to a queue by its name. The future has the receipt once the broker has it, or why it has not.

        Args:
            queue: where it goes.
            body: of the message.
            properties: of it, with a message id.
            deadline: until it is given up, by `time.monotonic`.
        """
        submission = Once(
            exchange="",
            routing_key=queue,
            body=body,
            properties=passed_on(properties, self._session.frame_max),
            message_id=str(properties["message_id"]),
            mandatory=True,
            deadline=deadline,
        )
        self._confirms.submit(submission)
        if not self._session.wake():
            submission.resolve(self._unavailable())
        return submission.future

    def _end(self) -> None:
        self._session.stop()
        if not self._session.join(_END_TIME):
            self._session.sever()
            self._session.join(_END_TIME)

    def _unavailable(self) -> BrokerUnavailableError:
        return self._session.unavailable()

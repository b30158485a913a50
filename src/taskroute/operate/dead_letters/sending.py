"""Sending: letters published with confirms, each of them once. The session's thread writes, the caller waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from taskroute.broker.denied import is_denied
from taskroute.broker.properties import passed_on
from taskroute.broker.roles.confirms import Confirms
from taskroute.broker.roles.submission import Submission
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes
from taskroute.errors import BrokerUnavailableError, PublishTimeoutError

DENIED: Final = "this user may not publish to queues by their names: grant the right to write to 'amq.default'"

_HEARTBEAT: Final = 30.0
CONNECT_TIME: Final = 10.0
_END_TIME: Final = 2.0


@dataclass(slots=True, eq=False, kw_only=True)
class Once(Submission):
    """A submission that its role gives up when the connection is lost that it was written on."""

    written: set[Once]

    def begin_write(self) -> bool:
        """Do the same, and take note of it."""
        is_written = Submission.begin_write(self)
        if is_written:
            self.written.add(self)
            self.future.add_done_callback(lambda _: self.written.discard(self))
        return is_written


class ConfirmsOnce(Confirms):
    """Writes each submission once: whether the broker has it is unknown when its connection is lost.

    Its letter is still there then. Written again it might be there twice, and with the letter three times. The
    session's thread makes every call but `submit`.

    Attributes:
        written: what is not confirmed yet.
        is_denied: whether the user may not publish, so that the broker has none of it.
    """

    def __init__(self, *, unavailable: Callable[[], BrokerUnavailableError]) -> None:
        super().__init__(unavailable=unavailable)
        self.written: set[Once] = set()
        self.is_denied = False

    def on_lost(self, error: BaseException | None) -> None:
        """Give up what was written and not confirmed."""
        # A channel that was once let write goes on: the first refusal is of the first message.
        self.is_denied = self.is_denied or (is_denied(error) and not self.has_worked())
        super().on_lost(error)
        for submission in tuple(self.written):
            if self.is_denied:
                submission.move("refuse")
                submission.resolve(BrokerUnavailableError(DENIED))
            else:
                submission.move("give_up")
                submission.resolve(
                    PublishTimeoutError(f"{submission}: the connection was lost before it was confirmed")
                )
        if self.is_denied:
            self.on_end()


class Sending:
    """A session that publishes. It is not the connection that letters are taken by, which must not be blocked with it.

    Use it with ``with``.

    Args:
        nodes: tried in turn.
        name: of the connection, for people.
    """

    def __init__(self, nodes: Nodes, *, name: str) -> None:
        self._confirms = ConfirmsOnce(unavailable=self._unavailable)
        self._session = Session(nodes, self._confirms, name=name, heartbeat=_HEARTBEAT)

    def __enter__(self) -> Self:
        self._session.start()
        try:
            self._session.wait_open(CONNECT_TIME)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def prepare(self, queue: str, body: bytes, properties: Mapping[str, object], deadline: float) -> Once:
        """Return what `send` publishes to a queue by its name. Until it is written, its future can be cancelled.

        Args:
            queue: where it goes.
            body: of the message.
            properties: of it, with a message id.
            deadline: until it is given up, by `time.monotonic`.
        """
        return Once(
            exchange="",
            routing_key=queue,
            body=body,
            properties=passed_on(properties, self._session.frame_max),
            message_id=str(properties["message_id"]),
            mandatory=True,
            deadline=deadline,
            written=self._confirms.written,
        )

    def send(self, submission: Once) -> None:
        """Publish. The future has the receipt once the broker has it, or why it has not."""
        self._confirms.submit(submission)
        if not self._session.wake():
            submission.resolve(self._unavailable())

    def check_allowed(self) -> None:
        """Raise BrokerUnavailableError if the broker has refused what was sent for want of a right."""
        if self._confirms.is_denied:
            raise BrokerUnavailableError(DENIED)

    def _end(self) -> None:
        self._session.stop()
        if not self._session.join(_END_TIME):
            self._session.sever()
            self._session.join(_END_TIME)

    def _unavailable(self) -> BrokerUnavailableError:
        return self._session.unavailable()

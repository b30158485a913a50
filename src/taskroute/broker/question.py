"""Question: what another thread asks a session's thread to find out on its open connection, and waits for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Generic, TypeVar

from taskroute.broker.amqp import NoChannelLeftError
from taskroute.broker.link import describe_error
from taskroute.errors import BrokerUnavailableError, TaskrouteError

T = TypeVar("T")


class Question(Generic[T]):
    """Made by who asks. The session's thread either puts it or refuses it, once, unless the asker has left."""

    def __init__(self, put: Callable[[], T]) -> None:
        self._put = put
        self._answer: Future[T] = Future()

    def begin(self) -> bool:
        """Return whether it is still to be put. On the session's thread, as the two below."""
        return self._answer.set_running_or_notify_cancel()

    def refuse(self, error: TaskrouteError) -> None:
        """Answer with an error: it cannot be put now."""
        self._answer.set_exception(error)

    def put(self) -> None:
        """Find the answer. Raises what the connection cannot be trusted after, as the asker's call does.

        Raises:
            Exception: what the question raised; the channel may be gone.
        """
        try:
            self._answer.set_result(self._put())
        except NoChannelLeftError as error:  # before anything was written
            self._answer.set_exception(error)
        except Exception as error:
            self._answer.set_exception(error)
            raise
        except BaseException as error:  # an exit is this thread's, and not the asker's
            self.refuse(BrokerUnavailableError(f"the session has ended: {describe_error(error)}"))
            raise

    def wait(self, timeout: float) -> T:
        """Return the answer. A question that was not begun by then never is. On the asker's thread.

        Raises:
            BrokerUnavailableError: no answer within `timeout` seconds.
        """
        try:
            return self._answer.result(timeout)
        except FutureTimeoutError:
            self._answer.cancel()
            raise BrokerUnavailableError(f"the broker has not answered within {timeout:g} s") from None

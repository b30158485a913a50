"""RareMethods: what py-amqp's channel can do and this library never asks for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from amqp import spec
from amqp.exceptions import MessageNacked

from taskroute.broker.embedded.refusal import NOT_IMPLEMENTED, Refusal

T = TypeVar("T")


class RareMethods:
    """Waits for single confirms, and refuses transactions and flow control by their names. The channel has the rest."""

    events: dict[str, set[Callable[..., Any]]]

    @abstractmethod
    def _ask(self, method: tuple[int, int], call: Callable[[], T]) -> T:
        """Make a call that the broker answers; raise its refusal here."""

    @abstractmethod
    def basic_recover(self, requeue: bool = False) -> None:
        """Put every unsettled delivery back."""

    @abstractmethod
    def basic_publish(self, msg: Any, *args: Any, **options: Any) -> None:
        """Publish a message."""

    @abstractmethod
    def confirm_select(self) -> None:
        """Have the broker confirm every later publish."""

    @abstractmethod
    def _opened(self) -> Any:
        """Return the connection; raise once the channel is closed."""

    def basic_publish_confirm(self, msg: Any, *args: Any, confirm_timeout: float | None = None, **options: Any) -> None:
        """Publish a message and wait for a confirm. `drain_events` may raise its return or its refusal before."""
        connection, answers = self._opened(), list[bool]()
        callbacks = {"basic_ack": lambda *_: answers.append(True), "basic_nack": lambda *_: answers.append(False)}
        self.confirm_select()
        for name, callback in callbacks.items():
            self.events[name].add(callback)
        try:
            self.basic_publish(msg, *args, **options)
            while not answers:
                connection.drain_events(confirm_timeout)
        finally:
            for name, callback in callbacks.items():
                self.events[name].discard(callback)
        if not answers[0]:
            raise MessageNacked

    def flow(self, active: bool) -> bool:
        """Ask the broker to go on sending. As with RabbitMQ it cannot be asked to stop."""
        if not active:
            self._ask(spec.Channel.Flow, lambda: _refuse("active=false"))
        return True

    def tx_select(self) -> None:
        """Refuse to begin a transaction."""
        self._ask(spec.Tx.Select, lambda: _refuse("the embedded broker has no transactions (tx.select)"))

    def tx_commit(self) -> None:
        """Refuse to commit one."""
        self._ask(spec.Tx.Commit, lambda: _refuse("the embedded broker has no transactions (tx.commit)"))

    def tx_rollback(self) -> None:
        """Refuse to roll one back."""
        self._ask(spec.Tx.Rollback, lambda: _refuse("the embedded broker has no transactions (tx.rollback)"))

    def basic_recover_async(self, requeue: bool = False) -> None:
        """Do the same as `basic_recover`: there is nothing to wait for."""
        self.basic_recover(requeue)


def _refuse(what: str) -> None:
    raise Refusal(NOT_IMPLEMENTED, what)

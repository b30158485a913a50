"""RareMethods: what py-amqp's channel can ask besides, and no embedded broker does. Each is refused by its name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeVar

from amqp import spec

from taskroute.broker.embedded.refusal import NOT_IMPLEMENTED, Refusal

T = TypeVar("T")


class RareMethods:
    """Transactions and flow control, for a channel that has `_ask`."""

    @abstractmethod
    def _ask(self, method: tuple[int, int], call: Callable[[], T]) -> T:
        """Make a call that the broker answers; raise its refusal here."""

    @abstractmethod
    def basic_recover(self, requeue: bool = False) -> None:
        """Put every unsettled delivery back."""

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

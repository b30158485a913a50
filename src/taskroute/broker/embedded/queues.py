"""Queues: the queues of a broker, by name."""

from __future__ import annotations

import itertools

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.broker.embedded.bindings import Bindings
from taskroute.broker.embedded.channel_state import ChannelState
from taskroute.broker.embedded.queue import Host, Queue
from taskroute.broker.embedded.queue_settings import QueueDeclaration, QueueSettings
from taskroute.broker.embedded.quorum_queue import QuorumQueue
from taskroute.broker.embedded.refusal import (
    ACCESS_REFUSED,
    NOT_FOUND,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
    Refusal,
)
from taskroute.broker.embedded.rules import Rules
from taskroute.topology.routing import Destination


class Queues:
    """The queues of a broker. Not synchronized: the broker's lock is held around every call.

    Args:
        bindings: the broker's; they lead messages to queues, and those to a deleted queue go with it.
        host: what each queue needs of the broker.
        rules: of the version that the broker follows.
    """

    def __init__(self, bindings: Bindings, host: Host, rules: Rules) -> None:
        self._rules = rules
        self._bindings = bindings
        self._host = host
        self._queues: dict[str, Queue] = {}
        self._numbers = itertools.count(1)

    def get(self, name: str) -> Queue | None:
        """Return a queue by its name, None when it does not exist."""
        return self._queues.get(name)

    def accessible(self, channel: ChannelState, name: str) -> Queue:
        """Return a queue that the channel's connection may use. An empty name: the one that the channel declared last.

        Raises:
            Refusal: 404, it does not exist; 405, another connection has it exclusively.
        """
        queue = self.existing(self.named(channel, name))
        _check_owner(channel, queue)
        return queue

    def existing(self, name: str) -> Queue:
        """Return a queue, whoever has it.

        Raises:
            Refusal: 404, it does not exist.
        """
        queue = self._queues.get(name)
        if queue is None:
            raise Refusal(NOT_FOUND, f"no queue '{name}' in vhost '/'")
        return queue

    def named(self, channel: ChannelState, name: str) -> str:
        """Return the name of a queue; if it is empty, that of the queue that the channel declared last.

        Raises:
            Refusal: 404, the channel declared none.
        """
        if name or channel.last_queue:
            return name or channel.last_queue
        raise Refusal(NOT_FOUND, "no previously declared queue")

    def route(self, message: StoredMessage) -> list[Queue]:
        """Return the queues that a message reaches; none if its exchange does not exist."""
        if message.exchange:
            names = self._bindings.queues(message.exchange, message.routing_keys, message.headers)
        else:
            names = set(message.routing_keys)
        return [self._queues[name] for name in names if name in self._queues]

    def declare(self, channel: ChannelState, name: str, declaration: QueueDeclaration) -> Queue:
        """Return the queue of that name; create it if it does not exist. An empty name: make one up.

        Raises:
            Refusal: 403, a reserved name; 405, another connection has it exclusively, or it differs in that; 406, it
                differs; what `QueueSettings.of` raises.
        """
        if name.startswith("amq."):
            raise Refusal(ACCESS_REFUSED, f"queue name '{name}' contains reserved prefix 'amq.*'")
        name = name or f"amq.gen-{next(self._numbers)}"
        queue = self._queues.get(name)
        if queue is None:
            settings = QueueSettings.of(name, declaration, self._rules)
            owner = channel.owner if declaration.exclusive else None
            kind = QuorumQueue if settings.is_quorum else Queue
            queue = self._queues[name] = kind(name, settings, owner, self._host, self._rules)
            return queue
        _check_owner(channel, queue)
        _check_same(queue, declaration, self._rules)
        return queue

    def delete(self, channel: ChannelState, name: str, *, if_unused: bool, if_empty: bool) -> int:
        """Delete a queue that the channel's connection may use; return how many messages were lost with it.

        One that does not exist is no error.

        Raises:
            Refusal: 405, another connection has it exclusively; 406 and 540, see `Queue.check_delete`.
        """
        queue = self._queues.get(name or channel.last_queue)
        if queue is None:
            return 0
        _check_owner(channel, queue)
        queue.check_delete(if_unused=if_unused, if_empty=if_empty)
        return self.remove(queue)

    def delete_exclusive(self, owner: object) -> None:
        """Delete the queues that a connection has exclusively."""
        for queue in [queue for queue in self._queues.values() if queue.owner is owner]:
            self.remove(queue)

    def remove(self, queue: Queue) -> int:
        """Delete a queue, its bindings and its consumers; return how many messages were lost with it.

        Nothing happens if it is deleted already, by a client or with the broker.
        """
        if queue.deleted:
            return 0
        del self._queues[queue.name]
        self._bindings.forget(Destination("queue", queue.name))
        return queue.delete()

    def clear(self) -> None:
        """Delete every queue, without an event for the consumers: their connections are closed, too."""
        for queue in self._queues.values():
            queue.deleted = True
        self._queues.clear()


def _check_owner(channel: ChannelState, queue: Queue) -> None:
    if queue.owner is not None and queue.owner is not channel.owner:
        raise _locked(queue)


def _locked(queue: Queue) -> Refusal:
    return Refusal(
        RESOURCE_LOCKED,
        f"cannot obtain exclusive access to locked queue '{queue.name}' in vhost '/': "
        f"it belongs to another connection, or one declaration is exclusive and the other is not",
    )


def _check_same(queue: Queue, asked: QueueDeclaration, rules: Rules) -> None:
    declared = queue.settings.declaration
    if asked.exclusive != declared.exclusive:
        raise _locked(queue)
    if difference := declared.difference(asked, rules.arguments):
        field, current, received = difference
        raise Refusal(
            PRECONDITION_FAILED,
            f"inequivalent arg '{field}' for queue '{queue.name}' in vhost '/': "
            f"received '{received}' but current is '{current}'",
        )

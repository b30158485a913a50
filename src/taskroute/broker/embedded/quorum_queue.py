"""QuorumQueue: what a quorum queue does otherwise than a classic one, by the rules of its version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from taskroute.broker.embedded.backlog import Backlog, Entry, StoredMessage
from taskroute.broker.embedded.queue import Consumer, Host, Queue
from taskroute.broker.embedded.queue_settings import QueueSettings
from taskroute.broker.embedded.quorum_backlog import QuorumBacklog, level_of
from taskroute.broker.embedded.refusal import NOT_IMPLEMENTED, RESOURCE_LOCKED, Refusal
from taskroute.broker.embedded.rules import Return, Rules
from taskroute.broker.embedded.turns import QuorumTurns, Turns


class QuorumQueue(Queue):
    """A quorum queue, made as a `Queue` is. Not synchronized: its broker's lock is held around every call."""

    def __init__(self, name: str, settings: QueueSettings, owner: object | None, host: Host, rules: Rules) -> None:
        super().__init__(name, settings, owner, host, rules)
        self._ended: list[Consumer] = []
        self._usual_level = level_of(None, rules.quorum_levels)

    def end_consumer(self, consumer: Consumer) -> None:
        """Give a consumer nothing more. It is counted until all that it was given is settled."""
        super().end_consumer(consumer)
        self._ended = [*(one for one in self._ended if one.unsettled), consumer]

    def check_consumer(self, *, exclusive: bool) -> None:
        """Refuse none: the flag is ignored."""

    def check_get(self) -> None:
        """Refuse basic.get while one consumer is to get everything."""
        if self.settings.single_active_consumer:
            raise Refusal(
                RESOURCE_LOCKED,
                f"cannot obtain access to locked queue '{self.name}' in vhost '/'. basic.get operations are not "
                f"supported by quorum queues with single active consumer",
            )

    def check_delete(self, *, if_unused: bool, if_empty: bool) -> None:
        """Refuse a conditional deletion."""
        for asked, flag in ((if_unused, "if-unused"), (if_empty, "if-empty")):
            if asked:
                raise Refusal(
                    NOT_IMPLEMENTED,
                    f"cannot delete queue '{self.name}' in vhost '/'. queue.delete operations with {flag} flag set are "
                    f"not supported by quorum queues",
                )

    def requeue(self, entries: Iterable[Entry], how: Return) -> None:
        """Put delivered entries back, each behind what came back before. `deal` must follow.

        Without a delivery limit they go behind all others until 4.3, except those of a channel that is closed: a
        poison message would hold them up for ever.
        """
        rules, limit = self._rules, self.settings.delivery_limit
        goes_last = limit is None and how != "lost" and rules.requeues_last_without_limit
        for entry in entries:
            entry.redelivered = True
            entry.returns += 1
            entry.failed_deliveries += how in rules.failing_returns
            counted = entry.returns if rules.limits_returns else entry.failed_deliveries
            if limit is not None and counted > limit:
                self._discard(entry, "delivery_limit")
            elif goes_last:
                self._arrived += 1
                entry.position = self._arrived
                entry.priority = 0
                self._backlog.append(entry)
            else:
                self._backlog.restore(entry)

    def counts_of(self, entry: Entry, *, is_get: bool) -> Mapping[str, object]:
        """Return the headers that tell how often an entry was delivered in vain."""
        rules, failed = self._rules, entry.failed_deliveries
        returns = entry.returns or failed
        if not returns:
            return (
                {"x-delivery-count": 0} if is_get and rules.get_tells_zero else super().counts_of(entry, is_get=is_get)
            )
        if not rules.has_acquired_count:
            return {"x-delivery-count": returns}
        return {"x-acquired-count": returns, **({"x-delivery-count": failed} if failed else {})}

    def _make_room(self, arrived: Entry) -> None:
        """Look for what is due before and after it is dropped: before, at the first message alone."""
        expires = arrived.expires_at is not None
        if expires and self._backlog.first is arrived:
            self.expire()
        if self._drop_overflow() or expires:
            self.expire()

    def _as_they_die(self, dropped: Sequence[Entry]) -> Iterable[Entry]:
        return reversed(dropped) if self._rules.turns_dropped else dropped

    def _count_on(self, entry: Entry) -> None:
        super()._count_on(entry)
        entry.redelivered = True  # also when it is delivered at once

    def _consumer_count(self) -> int:
        """Each basic.get is a consumer of its own, and who waits to be the single active one is none."""
        count = super()._consumer_count()
        if self.settings.single_active_consumer:
            count = min(count, 1)
        return count + sum(one.unsettled > 0 for one in self._ended) + self.unsettled_gets

    def _new_turns(self) -> Turns[Consumer]:
        return QuorumTurns()

    def _new_backlog(self) -> Backlog:
        return QuorumBacklog(self._rules.quorum_levels)

    def _priority_of(self, message: StoredMessage) -> int:
        priority = message.properties.get("priority")
        return self._usual_level if priority is None else level_of(priority, self._rules.quorum_levels)

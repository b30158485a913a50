"""QuorumQueue: what a quorum queue does otherwise than a classic one, by the rules of its version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from taskroute.broker.embedded.backlog import Backlog, Entry, StoredMessage
from taskroute.broker.embedded.queue import Consumer, Host, Queue
from taskroute.broker.embedded.queue_settings import QueueSettings
from taskroute.broker.embedded.quorum_backlog import QuorumBacklog, level_of
from taskroute.broker.embedded.refusal import NOT_IMPLEMENTED, RESOURCE_LOCKED, Refusal
from taskroute.broker.embedded.rules import Return, Rules
from taskroute.broker.embedded.turns import QuorumTurns, SingleTurn, SingleTurnByPrefetch, Turns


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

    @property
    def lets_take_over(self) -> bool:
        """Whether a consumer takes over the deliveries of an earlier one with its tag: not if it waits for its turn."""
        return not (self.settings.single_active_consumer and self.consumers)

    def forget_ended(self, consumer: Consumer) -> None:
        """Forget a consumer that has ended, as another one has taken over its deliveries."""
        self._ended.remove(consumer)

    def prefetch_after(self, unsettled: int, prefetch: int) -> int:
        """Return how many deliveries a consumer may have that takes over so many: here they do count."""
        return max(unsettled, prefetch)

    def prefetch_left(self, unsettled: int, prefetch: int, current: int) -> int:
        """Return how many it may have once `unsettled` are left: never room for more than its prefetch, since 3.13."""
        return min(current, unsettled + prefetch) if self._rules.limits_room else current

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

    def _give_out(self) -> None:
        """Give a consumer all that it gets at once, before the next one: by tag, or the one that started first."""
        if len(self.consumers) < 2:
            super()._give_out()
            return
        given: dict[Consumer, list[Entry]] = {}
        while self._backlog:
            consumer = self.consumers.next()
            if consumer is None:
                break
            consumer.reserve()
            given.setdefault(consumer, []).append(self._backlog.pop())
            self.expire()
        for consumer in sorted(given, key=_tag if self._rules.loses_by_tag else _start):
            for entry in given[consumer]:
                consumer.take_reserved(entry)

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
        if not self.settings.single_active_consumer:
            return QuorumTurns()
        return SingleTurnByPrefetch() if self._rules.waits_by_prefetch else SingleTurn()

    def _new_backlog(self) -> Backlog:
        return QuorumBacklog(self._rules.quorum_levels)

    def _priority_of(self, message: StoredMessage) -> int:
        priority = message.properties.get("priority")
        return self._usual_level if priority is None else level_of(priority, self._rules.quorum_levels)


def _tag(consumer: Consumer) -> str:
    return consumer.tag


def _start(consumer: Consumer) -> int:
    return consumer.number

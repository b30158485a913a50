"""Refused: bodies, captures and headers that were read, and are not any more, with a message that shows it. Pure.

Two ways: what was written until now, and what the next version does not read; what the next version writes, and what a
worker of this one, which still runs, does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from taskroute.graph.contract import asked
from taskroute.graph.contract.bodies import Answer, Body, Reader, Writer, judge
from taskroute.graph.contract.difference import Difference
from taskroute.graph.contract.entries import EventEntry, HandlerEntry
from taskroute.graph.contract.routing import Headers, Routing, Sender, Taker, sign_of
from taskroute.graph.reachability import NO_LIMITS, Flow
from taskroute.handlers.body import BodyParameter
from taskroute.keys.automaton import BudgetExceededError

BUDGET: Final = 20_000
"""How many states the search for one witness may expand."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Messages of some keys, published to an exchange, in a queue."""

    exchange: str
    headers: Headers
    queue: str
    flow: Flow

    def key(self, *senders: Sender) -> str | None:
        """Return one of the keys that events have as well, None if there is none."""
        return self.flow.witness([sender.pattern.tokens for sender in senders], BUDGET)


class Refusals:
    """What is refused between two contracts.

    Args:
        old: the earlier one.
        new: the later one.
        headers: sets of headers that are to be looked at.
    """

    def __init__(self, old: Routing, new: Routing, headers: Iterable[Headers]) -> None:
        self._old = old
        self._new = new
        self._headers = list(headers)

    def found(self) -> Iterator[Difference]:
        """Yield what is refused, one for each handler and each event."""
        for queue in self._old.all_queues:
            for taker in self._old.takers_of(queue):
                yield from _decided(f"{queue}:{taker.entry.label}", queue, self._by_next(queue, taker))
        for sender in self._new.senders:
            yield from _decided(sender.name, None, self._by_running(sender))

    # --- by the next version ---

    def _by_next(self, queue: str, taker: Taker) -> Iterator[Difference]:
        target = self._new.successors.get(queue, queue)
        key = taker.pattern.binding_key
        changed = [other for other in self._new.takers_of(target, key) if not taker.asks_the_same(other)]
        for other in changed:
            own = self._own(taker, queue, other, target)
            for place in self._places(self._old.published_to, queue, own, (self._old,)):
                yield from self._asked(place, taker, other)
                yield from self._read(place, taker, other)

    def _asked(self, place: _Place, taker: Taker, other: Taker) -> Iterator[Difference]:
        problem = asked.find_problem(taker, other, place.flow, BUDGET)
        if problem is not None:
            yield _difference(
                "refused",
                f"{place.queue}:{taker.entry.label}",
                f"handler {taker.entry.label!r} of queue {place.queue!r} does not take every message that it took: "
                f"{problem.reason}",
                place,
                problem.key,
            )

    def _read(self, place: _Place, taker: Taker, other: Taker) -> Iterator[Difference]:
        before, now = self._reader(taker.entry), self._reader(other.entry)
        if (before.content, before.shape) == (now.content, now.shape):
            return
        senders = self._senders(place, taker)
        for sender in senders:
            writer = self._writer(sender.entry)
            answer = judge(writer, now, _reads(before), before=[(writer.shape, before.shape)])
            what = f"a body of event {sender.entry.pattern!r}, as it was written until now"
            yield from _told_of_reader(answer, place, taker, place.key(sender), what)
        rest = place.flow.without(sender.pattern.tokens for sender in senders)
        key = rest.witness((), BUDGET)
        if key is not None:
            answer = judge(Writer.for_handler(taker.entry), now, _reads(before), before=[(before.shape, before.shape)])
            yield from _told_of_reader(answer, place, taker, key, "a body that it read until now")

    # --- by what still runs ---

    def _by_running(self, sender: Sender) -> Iterator[Difference]:
        if any(other.entry.line == sender.entry.line for other in self._old.senders):
            return
        exchange = sender.entry.exchange
        for queue in self._old.all_queues:
            for taker in self._old.takers_of(queue, sender.pattern.binding_key):
                own = NO_LIMITS.without(other.pattern.tokens for other in self._old.winners(taker, queue))
                within = own.narrowed(taker.pattern.tokens).narrowed(sender.pattern.tokens)
                for place in self._places([exchange], queue, within, (self._old, self._new)):
                    yield from self._written(place, sender, taker)

    def _written(self, place: _Place, sender: Sender, taker: Taker) -> Iterator[Difference]:
        known = [self._writer(other.entry) for other in self._senders(place, taker)]
        reader = self._reader(taker.entry)
        answer = judge(
            self._writer(sender.entry),
            reader,
            lambda body: not any(writer.may_write(body) for writer in known),
            before=[(writer.shape, reader.shape) for writer in known],
        )
        label = f"handler {taker.entry.label!r} of queue {place.queue!r}"
        subject = f"event {sender.entry.pattern!r}"
        if answer.answer == "refused":
            what = f"{subject}: a new body is refused by {label} as it still runs"
            yield _difference("refused", sender.name, f"{what}: {answer.reason}", place, place.key(), answer.body)
        elif answer.answer == "undecided":
            what = f"{subject}: whether {label}, as it still runs, reads every body: {answer.reason}"
            yield _difference("undecided", sender.name, what, place, place.key())

    # --- both ---

    def _own(self, taker: Taker, queue: str, other: Taker, target: str) -> Flow:
        """Return the keys that one handler had and another one has."""
        earlier = (each.pattern.tokens for each in self._old.winners(taker, queue))
        now = (each.pattern.tokens for each in self._new.winners(other, target))
        both = NO_LIMITS.narrowed(taker.pattern.tokens).narrowed(other.pattern.tokens)
        return both.without(earlier).without(now)

    def _senders(self, place: _Place, taker: Taker) -> list[Sender]:
        """Return the events that had some of these keys."""
        near = self._old.senders_near(place.exchange, taker.pattern.binding_key)
        return [sender for sender in near if place.key(sender) is not None]

    def _places(self, exchanges: Iterable[str], queue: str, own: Flow, routings: Iterable[Routing]) -> Iterator[_Place]:
        """Yield where messages of some keys are, each exchange once and with the first headers that lead there."""
        for exchange in exchanges:
            seen: set[Flow] = set()
            for headers in self._headers if exchange else self._headers[:1]:
                near = sign_of(own)
                flows = (flow for routing in routings for flow in routing.index(exchange, queue, headers).near(near))
                for flow in flows:
                    within = flow.within(own)
                    if within not in seen and within.witness((), BUDGET) is not None:
                        yield _Place(exchange, headers, queue, within)
                    seen.add(within)

    def _reader(self, entry: HandlerEntry) -> Reader:
        return Reader.of_handler(entry, self._code_of(entry))

    def _code_of(self, entry: HandlerEntry) -> BodyParameter | None:
        contracts = (self._new.contract, self._old.contract)
        return next((code for each in contracts if (code := each.code.readers.get(entry.line)) is not None), None)

    def _writer(self, entry: EventEntry) -> Writer:
        contracts = (self._new.contract, self._old.contract)
        codes = (each.code.events.get(entry.line) for each in contracts)
        return Writer.of_event(entry, next((code for code in codes if code is not None), None))


def _reads(reader: Reader) -> Callable[[Body], bool]:
    return lambda body: reader.refusal(body) is None


def _told_of_reader(answer: Answer, place: _Place, taker: Taker, key: str | None, what: str) -> Iterator[Difference]:
    name, label = f"{place.queue}:{taker.entry.label}", f"handler {taker.entry.label!r} of queue {place.queue!r}"
    if answer.answer == "refused":
        yield _difference("refused", name, f"{label} refuses {what}: {answer.reason}", place, key, answer.body)
    elif answer.answer == "undecided":
        yield _difference("undecided", name, f"{label} may refuse {what}: {answer.reason}", place, key)


def _difference(
    code: str, name: str, message: str, place: _Place, key: str | None, body: Body | None = None
) -> Difference:
    return Difference(
        code=code,  # type: ignore[arg-type]
        name=name,
        message=message,
        exchange=place.exchange,
        key=key,
        queue=None if name.startswith("event:") else place.queue,
        headers=dict(place.headers),
        body=None if body is None else str(body),
    )


def _decided(name: str, queue: str | None, found: Iterator[Difference]) -> Iterator[Difference]:
    """Yield the first of some differences that is certain, or else the first of them."""
    undecided = None
    try:
        for difference in found:
            if difference.code == "refused":
                yield difference
                return
            undecided = undecided or difference
    except BudgetExceededError:
        undecided = Difference("undecided", name, f"{name}: whether a body is refused: too hard to decide", queue=queue)
    if undecided is not None:
        yield undecided

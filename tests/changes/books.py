"""The books of a change: what was published and when, what became of it, and what that says."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tests.faults.ledger import Entries, body_of, check

from taskroute import Message

Routes = Mapping[str, Mapping[str, frozenset[str]]]
"""Where a routing key leads, by the number of the release and the key: to homes."""


@dataclass(frozen=True)
class Handling:
    """A handler was called with a message."""

    number: int
    home: str
    worker: str
    is_fresh: bool
    """Whether it neither has failed nor was given to anybody before."""


@dataclass
class Published:
    """A message: where it must be handled, and where it may be."""

    must: frozenset[str]
    may: frozenset[str]
    is_confirmed: bool = False


@dataclass(frozen=True)
class Figures:
    """What a change did to its messages.

    Attributes:
        sent: how many were confirmed.
        lost: how many of these nobody has handled or kept.
        twice: the numbers of those that came to an end more than once in one home.
        out_of_order: how many came fresh to a worker after a later one.
        dead: how many dead letters there are.
        unmeant: the numbers of those that no handler has asked for.
        problems: what should not be at all.
    """

    sent: int
    lost: int
    twice: frozenset[int]
    out_of_order: int
    dead: int
    unmeant: frozenset[int]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.sent} sent, {self.lost} lost, {len(self.twice)} handled twice, {self.out_of_order} out of order, "
            f"{self.dead} dead letters, {len(self.unmeant)} of them not meant"
        )


@dataclass
class Books:
    """What was published and handled so far. Any thread may write.

    A queue and the one that replaces it count as one, named as the first: their home.

    Attributes:
        homes: by the name of each queue.
        routes: of each release.
        in_force: the releases whose bindings may be on the broker now.
        done: how often each message was handled to its end in a home.
        rejected: the messages that are to be dead letters of a home.
    """

    homes: Mapping[str, str]
    routes: Routes
    in_force: frozenset[str]
    published: list[Published] = field(default_factory=list)
    handled: list[Handling] = field(default_factory=list)
    done: Counter[tuple[int, str]] = field(default_factory=Counter)
    rejected: set[tuple[int, str]] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def publish(self, key: str) -> int:
        """Note that a message is going to be published; its number."""
        with self._lock:
            self.published.append(self._routed(key, self.in_force))
            return len(self.published) - 1

    def confirm(self, number: int, key: str) -> None:
        """Note that it was confirmed. What is in force may have changed meanwhile."""
        with self._lock:
            sent, now = self.published[number], self._routed(key, self.in_force)
            may = sent.may | now.may
            self.published[number] = Published(may if len(may) == 1 else sent.must & now.must, may, is_confirmed=True)

    def begin(self, message: Message, worker: str) -> tuple[int, str]:
        """Note that a message came to a handler; its number, and the home that it came from."""
        number, home = int(json.loads(message.body)["id"]), self.homes[message.queue]
        assert message.body == body_of(str(number))
        with self._lock:
            is_fresh = message.attempt == 1 and not message.redelivered
            self.handled.append(Handling(number, home, worker, is_fresh))
        return number, home

    def end(self, number: int, home: str) -> None:
        """Note that a handler is done with it."""
        with self._lock:
            self.done[number, home] += 1

    def reject(self, number: int, home: str) -> None:
        """Note that a handler wants it to be a dead letter."""
        with self._lock:
            self.rejected.add((number, home))

    def handled_by(self, workers: Iterable[str]) -> Counter[str]:
        """Return how often each of some workers was given a message."""
        with self._lock:
            return Counter(dict.fromkeys(workers, 0)) + Counter(each.worker for each in self.handled)

    def unfinished(self) -> set[tuple[int, str]]:
        """Return what is confirmed, and neither done nor rejected in a home where it must be."""
        with self._lock:
            sent = [(number, each) for number, each in enumerate(self.published) if each.is_confirmed]
            return {(number, home) for number, each in sent for home in each.must} - self.done.keys() - self.rejected

    def out_of_order(self) -> int:
        """Return how many messages came fresh to a worker after a later one, from one home."""
        first: dict[tuple[int, str], Handling] = {}
        for each in self.handled:
            first.setdefault((each.number, each.home), each)
        lines: dict[tuple[str, str], list[int]] = {}
        for each in first.values():
            if each.is_fresh:
                lines.setdefault((each.worker, each.home), []).append(each.number)
        return sum(map(_late, lines.values()))

    def figures(self, dead: Mapping[str, Iterable[bytes]], left: Mapping[str, Iterable[bytes]]) -> Figures:
        """Compare what was confirmed with what became of it.

        Args:
            dead: the bodies in dead-letter queues, by home.
            left: those in any other queue, by home.
        """
        lost, problems = 0, []
        letters: Counter[tuple[int, str]] = Counter()
        for home in sorted(set(self.homes.values())):
            entries, bodies = self._entries(home), list(dead.get(home, ()))
            repeated = entries.of("done").total() + len(bodies)  # which of them may be, the test says
            verdict = check(entries, dead=bodies, left=left.get(home, ()), max_duplicates=repeated, min_confirmed=50)
            problems += [f"{home}: {problem}" for problem in verdict.problems]
            ids = [json.loads(body)["id"] for body in bodies]
            lost += len(entries.of("confirmed").keys() - entries.of("done").keys() - set(ids))
            letters.update((int(number), home) for number in ids)
        return Figures(
            sent=sum(each.is_confirmed for each in self.published),
            lost=lost,
            twice=frozenset(number for (number, _), count in (self.done + letters).items() if count > 1),
            out_of_order=self.out_of_order(),
            dead=letters.total(),
            unmeant=frozenset(number for number, _ in letters.keys() - self.rejected),
            problems=tuple(problems),
        )

    def _entries(self, home: str) -> Entries:
        each = list(enumerate(self.published))
        done = Counter({str(number): count for (number, there), count in self.done.items() if there == home})
        attempted = Counter(str(number) for number, sent in each if home in sent.may)
        confirmed = Counter(str(number) for number, sent in each if sent.is_confirmed and home in sent.must)
        return Entries({"attempted": attempted, "confirmed": confirmed, "done": done})

    def _routed(self, key: str, releases: Iterable[str]) -> Published:
        routed = [self.routes[release][key] for release in releases]
        return Published(frozenset.intersection(*routed), frozenset.union(*routed))


def _late(numbers: list[int]) -> int:
    count, latest = 0, -1
    for number in numbers:
        count += number < latest
        latest = max(latest, number)
    return count

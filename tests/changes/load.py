"""The load: publishers, two workers, and a deployment that changes one worker after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from tests.changes.books import Books
from tests.changes.changes import Change, Release
from tests.faults.ledger import body_of
from tests.kit.running import registry_of
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import HandlerRegistry, Message, Publisher, Reject, Worker

WORKERS: Final = 2
PAUSE: Final = 0.005
"""Seconds between two messages."""

MEANWHILE: Final = 50
"""Messages that each worker handles before the next thing is done."""


class Load:
    """Publishes and handles from a thread of its own and those of its workers. It is told what to do by one thread."""

    def __init__(self, url: str, change: Change) -> None:
        self._url = url
        self._change = change
        self.books = Books(homes_of(change), routes_of(change), frozenset({"0"}))
        self._keys = change.publishes
        self._publishers: list[Publisher] = []
        self._publishing = threading.Lock()
        self._workers: dict[str, Worker] = {}
        self._failed: set[tuple[int, str]] = set()
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the first release, and publish until the block is left and everything is done."""
        with ExitStack() as publishers:
            self._publishers = [publishers.enter_context(self._publisher(self._change.before)) for _ in "12"]
            published = None
            try:
                for index in range(WORKERS):
                    self._start(0, index)
                published = in_thread(self._publish)
                self.goes_on()
                yield
                self._ended.set()
                published.result(DEADLINE)
                with suppress(AssertionError):  # what is lost, the books say
                    until(lambda: not self.books.unfinished())
                assert all(worker.wait_idle(DEADLINE) for worker in self._workers.values())
            finally:
                self._ended.set()
                for worker in self._workers.values():
                    worker.stop()
                self._publishers[1].close()
                if published is not None:
                    published.result(DEADLINE)

    def goes_on(self) -> None:
        """Wait until each worker has handled some more messages."""
        before = self.books.handled_by(self._workers)
        until(lambda: all(self.books.handled_by([name])[name] >= before[name] + MEANWHILE for name in self._workers))

    @contextmanager
    def deployed(self, number: int) -> Iterator[None]:
        """Deploy a release: in the block one of its workers and one of the release before are side by side.

        The publisher of the first release stays where it is.
        """
        release = self._change.every[number]
        if not release.commands:  # its workers bind
            self.books.in_force |= {str(number)}
        self._replace(number, 0)
        new = self._publisher(release)
        new.start()
        with self._publishing:
            self._publishers.pop().close()
            self._publishers.append(new)
        self.publish_from_now(release.publishes)
        self.goes_on()
        yield
        self._replace(number, 1)

    def publish_from_now(self, keys: tuple[str, ...]) -> None:
        """Publish these keys in turn, or what it was before if there are none."""
        self._keys = keys or self._keys

    def _replace(self, number: int, index: int) -> None:
        self._workers.pop(_name(number - 1, index)).stop()
        self._start(number, index)

    def _start(self, number: int, index: int) -> None:
        release, name = self._change.every[number], _name(number, index)
        registry = HandlerRegistry()
        for queue, pattern in release.handlers.items():
            registry.include(registry_of(self._handler_of(name), pattern, queue=queue))
        self._workers[name] = Worker(
            self._url, release.topology, registry, threads=1, name=name, declare=release.declare
        )
        self._workers[name].start()

    def _publisher(self, release: Release) -> Publisher:
        return Publisher(self._url, release.topology)

    def _publish(self) -> None:
        while not self._ended.wait(PAUSE):
            key = self._keys[len(self.books.published) % len(self._keys)]
            number = self.books.publish(key)
            with self._publishing:
                self._publishers[number // 2 % 2].publish(body_of(str(number)), key, exchange="shop")
            self.books.confirm(number, key)

    def _handler_of(self, worker: str) -> Callable[[Message], None]:
        """Return a handler that fails once for every tenth message, and wants every fiftieth to be a dead letter."""

        def handle(message: Message) -> None:
            number, home = self.books.begin(message, worker)
            if number % 50 == 25 and home == "orders":
                self.books.reject(number, home)
                raise Reject("as it was meant")
            if number % 10 == 0 and (number, home) not in self._failed:
                self._failed.add((number, home))
                raise ValueError
            self.books.end(number, home)

        return handle


def homes_of(change: Change) -> Mapping[str, str]:
    """Return the first queue of each line of queues that replace one another, by the name of each."""
    homes: dict[str, str] = {}
    for release in change.every:
        for queue in release.topology.queues:
            homes.setdefault(queue.name, homes.get(queue.replaces or "", queue.name))
    return homes


def routes_of(change: Change) -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Return where each key leads in each release."""
    homes = homes_of(change)
    keys = {key for release in change.every for key in (*release.publishes, *release.then_publishes)}
    return {
        str(number): {
            key: frozenset(homes[queue] for queue in release.topology.route(key, exchange="shop"))
            for key in keys.union(change.publishes)
        }
        for number, release in enumerate(change.every)
    }


def _name(number: int, index: int) -> str:
    return f"release-{number}-worker-{index}"

"""Scrapes: the metrics of all children, for threads that ask while the main thread talks with the children."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable


class Scrape:
    """One question. The asking thread waits; the main thread gathers the answers, and replaces what it has."""

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()
        self.problems: tuple[str, ...] = ()
        self.waited_for: set[int] = set()
        self.is_over = threading.Event()


class Scrapes:
    """The questions that are open.

    Args:
        wake: has the main thread call `begin` soon.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._asked: list[Scrape] = []
        self._open: list[Scrape] = []  # of the main thread

    def ask(self, timeout: float) -> Scrape:
        """Ask, and return what has been answered in time. On any thread but the main one."""
        scrape = Scrape()
        with self._lock:
            self._asked.append(scrape)
        self._wake()
        scrape.is_over.wait(timeout)
        return scrape

    def begin(self, numbers: Iterable[int]) -> bool:
        """Open what was asked, to be answered by the children of these numbers; return whether they are to be asked."""
        with self._lock:
            asked, self._asked = self._asked, []
        for scrape in asked:
            scrape.waited_for.update(numbers)
        self._open += asked
        self._close_answered()
        return bool(asked)

    def answer(self, number: int, *, text: str | None = None, problem: str | None = None) -> None:
        """Take the answer of a child; neither text nor problem: it is gone, and gives none."""
        for scrape in self._open:
            if number in scrape.waited_for:
                scrape.waited_for.discard(number)
                scrape.texts += (text,) if text is not None else ()
                scrape.problems += (problem,) if problem is not None else ()
        self._close_answered()

    def _close_answered(self) -> None:
        for scrape in self._open:
            if not scrape.waited_for:
                scrape.is_over.set()
        self._open = [scrape for scrape in self._open if scrape.waited_for]

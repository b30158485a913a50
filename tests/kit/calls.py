"""What other threads tell a test: calls of handlers, log lines, events of instrumentation."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.kit.waiting import DEADLINE

from taskroute.instrumentation import Event, Instrumentation

E = TypeVar("E", bound=Event)


class Calls:
    """Keeps what it is called with, in order: one argument as it is, several as a tuple. Any thread may call it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[Any] = []

    def __call__(self, *call: Any) -> None:
        with self._changed:
            self._calls.append(call if len(call) > 1 else call[0])
            self._changed.notify_all()

    @property
    def calls(self) -> list[Any]:
        """The calls so far."""
        with self._changed:
            return list(self._calls)

    def wait(self, count: int = 1) -> list[Any]:
        """Wait for so many calls, and return all that there are by then."""
        return self.wait_until(lambda calls: len(calls) >= count)

    def wait_for(self, call: Any) -> None:
        """Wait for a call that is equal to this one."""
        self.wait_until(lambda calls: call in calls)

    def wait_until(self, condition: Callable[[Sequence[Any]], object], within: float = DEADLINE) -> list[Any]:
        """Wait until a condition holds of the calls, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self._calls), within), self._calls
            return list(self._calls)

    def look_again(self) -> None:
        """Have those who wait look at their conditions once more."""
        with self._changed:
            self._changed.notify_all()

    def happened(self, count: int = 1) -> Callable[[float], bool]:
        """Return an event, which waits some seconds at most and returns whether there have been so many calls."""

        def wait(timeout: float) -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self._calls) >= count, timeout)

        return wait


class Events(Instrumentation):
    """Keeps the events that workers and publishers emit."""

    def __init__(self) -> None:
        self.emitted = Calls()

    def on_event(self, event: Event) -> None:
        self.emitted(event)

    def of(self, *kinds: type, **fields: Any) -> list[Any]:
        """The events of some kinds so far that have these fields."""
        return _select(self.emitted.calls, kinds, fields)

    def wait(self, kind: type[E], count: int = 1, **fields: Any) -> E:
        """Wait for so many events of a kind that have these fields, and return the last of them."""
        emitted = self.emitted.wait_until(lambda events: len(_select(events, (kind,), fields)) >= count)
        event: E = _select(emitted, (kind,), fields)[count - 1]
        return event


def _select(events: Sequence[Any], kinds: tuple[type, ...], fields: dict[str, Any]) -> list[Any]:
    def has_fields(event: Any) -> bool:
        return all(getattr(event, name) == value for name, value in fields.items())

    return [event for event in events if isinstance(event, kinds) and has_fields(event)]


@contextmanager
def logged(text: str) -> Iterator[Calls]:
    """Keep the lines of the library's log that contain a text."""
    lines = Calls()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in (line := record.getMessage()):
                lines(line)

    handler, log = Handler(), logging.getLogger("taskroute")
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)

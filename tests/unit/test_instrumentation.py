"""Instrumentation: a hook without override costs nothing, several act as one, and their errors harm no message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args

import pytest

from taskroute import ConfigurationError, Message, instrumentation
from taskroute.instrumentation import Connected, Event, Handled, Instrumentation, Raised
from taskroute.instrumentation.hooks import Listeners
from taskroute.raised import Disclosure

CONNECTED = Connected(session="worker", generation=1)
MESSAGE = Message(body=b"", routing_key="a")


class Recorder(Instrumentation):
    """Overrides every hook, and logs each call."""

    def __init__(self, name: str, log: list[Any]) -> None:
        self.name = name
        self.log = log

    def on_event(self, event: Event) -> None:
        self.log.append((self.name, event))

    @contextmanager
    def handling(self, message: Message, handler: str) -> Iterator[None]:
        self.log.append((self.name, "enters", message.routing_key, handler))
        try:
            yield
        except ValueError as error:
            self.log.append((self.name, "saw", str(error)))
            raise
        finally:
            self.log.append((self.name, "leaves"))

    def publishing(self, exchange: str, routing_key: str, message_id: str) -> Mapping[str, object]:
        return {self.name: f"{exchange} {routing_key} {message_id}", "last": self.name}


class Faulty(Instrumentation):
    """Raises whenever it is called."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_event(self, event: Event) -> None:
        raise self.error

    def handling(self, message: Message, handler: str) -> AbstractContextManager[None]:
        raise self.error

    def on_error(self, raised: Raised) -> None:
        raise self.error

    def publishing(self, exchange: str, routing_key: str, message_id: str) -> None:
        raise self.error


class OnlyEvents(Instrumentation):
    def on_event(self, event: Event) -> None: ...


def around(manager: Callable[[], AbstractContextManager[object] | None]) -> Instrumentation:
    class Around(Instrumentation):
        def handling(self, message: Message, handler: str) -> AbstractContextManager[object] | None:
            return manager()

    return Around()


def hooks(*instrumentations: Instrumentation) -> Any:
    """Return listeners of which each hook is there."""
    return Listeners(instrumentations)


# --- the events ---


def test_events_are_frozen_and_have_neither_body_nor_headers() -> None:
    """No instrumentation can change an event, or leak what a message says."""
    with pytest.raises(FrozenInstanceError):
        CONNECTED.generation = 2  # type: ignore[misc]

    names = {field.name for event in get_args(Event) for field in fields(event)}
    assert not names & {"body", "headers", "properties", "url"}


def test_instrumentation_exports_its_events_and_base_class() -> None:
    events = {event.__name__ for event in get_args(Event)}

    assert set(instrumentation.__all__) == events | {"Event", "Instrumentation", "Raised"}
    assert not [event for event in get_args(Event) if not event.__doc__]


# --- without an override ---


def test_hook_without_override_is_none() -> None:
    """Callers skip a hook, and what it would cost, where no instrumentation overrides it."""
    for nobody in (Listeners(), Listeners([Instrumentation()])):
        assert (nobody.on_event, nobody.handling, nobody.publishing) == (None, None, None)

    some = Listeners([Instrumentation(), OnlyEvents()])
    assert some.on_event is not None
    assert (some.handling, some.publishing) == (None, None)


def test_base_class_does_nothing() -> None:
    base = Instrumentation()

    base.on_event(CONNECTED)

    base.on_error(Raised("ValueError", "app.py:1"))
    assert base.handling(MESSAGE, "h") is None
    assert base.publishing("e", "k", "m") is None


def test_argument_other_than_list_of_instrumentations_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be an object of a subclass of"):
        Listeners([object()])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match=r"must be a list: instrumentation=\[...\]"):
        Listeners(Instrumentation())  # type: ignore[arg-type]


# --- several as one ---


def test_event_reaches_all_instrumentations_in_order() -> None:
    log: list[Any] = []

    hooks(Recorder("a", log), Recorder("b", log)).on_event(CONNECTED)

    assert log == [("a", CONNECTED), ("b", CONNECTED)]


def test_first_instrumentation_is_entered_first_and_left_last() -> None:
    log: list[Any] = []

    with hooks(Recorder("a", log), Recorder("b", log)).handling(MESSAGE, "h"):
        log.append("handler")

    assert log == [
        ("a", "enters", "a", "h"),
        ("b", "enters", "a", "h"),
        "handler",
        ("b", "leaves"),
        ("a", "leaves"),
    ]


def test_headers_of_all_instrumentations_are_merged() -> None:
    """Of two headers with the same name, that of the later instrumentation is sent."""
    log: list[Any] = []

    headers = hooks(Recorder("a", log), Recorder("b", log)).publishing("e", "k", "m")

    assert headers == {"a": "e k m", "b": "e k m", "last": "b"}


# --- errors of the handler ---


def test_handler_error_is_seen_by_instrumentation_and_raised() -> None:
    log: list[Any] = []

    with pytest.raises(ValueError, match="from the handler"), hooks(Recorder("a", log)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")

    assert ("a", "saw", "from the handler") in log


def test_what_may_be_told_of_an_error_comes_before_its_context_is_left() -> None:
    """Each instrumentation hears it inside of its own context; with errors="place" no text is told."""
    log: list[Any] = []

    class Told(Recorder):
        def on_error(self, raised: Raised) -> None:
            log.append((self.name, raised.kind, raised.text))

    class OnlyErrors(Instrumentation):
        def on_error(self, raised: Raised) -> None:
            log.append(("c", raised.kind, bool(raised.traceback)))

    for detail in ("text", "place"):
        listeners: Any = Listeners([Told("a", log), OnlyErrors(), Told("b", log)], Disclosure(detail))
        with pytest.raises(ValueError, match="secret"), listeners.handling(MESSAGE, "h"):
            raise ValueError("secret")
    with listeners.handling(MESSAGE, "h"):
        pass

    told = [entry for entry in log if "enters" not in entry and "saw" not in entry]
    assert told == [
        *(("b", "ValueError", "secret"), ("b", "leaves"), ("c", "ValueError", True)),
        *(("a", "ValueError", "secret"), ("a", "leaves")),
        *(
            ("b", "ValueError", ""),
            ("b", "leaves"),
            ("c", "ValueError", False),
            ("a", "ValueError", ""),
            ("a", "leaves"),
        ),
        *(("b", "leaves"), ("a", "leaves")),
    ]


def test_handler_error_swallowed_by_instrumentation_is_raised() -> None:
    @contextmanager
    def swallow() -> Iterator[None]:
        try:
            yield
        except ValueError:
            return

    with pytest.raises(ValueError, match="from the handler"), hooks(around(swallow)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")


def test_handler_error_replaced_by_instrumentation_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    """The worker sees the error of the handler; the error of the instrumentation is logged."""

    @contextmanager
    def replace() -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise KeyError("mine") from error

    with pytest.raises(ValueError, match="from the handler"), hooks(around(replace)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")

    assert [vars(record)["error.type"] for record in caplog.records] == ["KeyError"]


def test_handler_error_reraised_by_instrumentation_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Again:
        def __enter__(self) -> None: ...

        def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
            if error is not None:
                raise error

    with pytest.raises(ValueError, match="from the handler"), hooks(around(Again)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")

    assert caplog.records == []


def test_handling_hook_may_return_no_context_manager(caplog: pytest.LogCaptureFixture) -> None:
    with hooks(around(lambda: None)).handling(MESSAGE, "h"):
        pass

    assert caplog.records == []


# --- errors of an instrumentation ---


def test_error_of_one_instrumentation_harms_no_other_and_no_caller(caplog: pytest.LogCaptureFixture) -> None:
    log: list[Any] = []
    both = hooks(Faulty(ValueError("mine")), Recorder("b", log))

    both.on_event(CONNECTED)
    assert both.publishing("e", "k", "m")["last"] == "b"
    with both.handling(MESSAGE, "h"):
        log.append("handler")

    assert log == [("b", CONNECTED), ("b", "enters", "a", "h"), "handler", ("b", "leaves")]
    assert len(caplog.records) == 3


def test_error_on_exit_of_one_instrumentation_harms_no_other(caplog: pytest.LogCaptureFixture) -> None:
    @contextmanager
    def fails() -> Iterator[None]:
        yield
        raise KeyError("mine")

    log: list[Any] = []

    with hooks(Recorder("a", log), around(fails)).handling(MESSAGE, "h"):
        pass

    assert log[-1] == ("a", "leaves")
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [SystemExit, asyncio.CancelledError, GeneratorExit, StopIteration])
def test_exit_raised_by_instrumentation_is_logged_like_an_error(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """A hook must not end the worker's thread that calls it."""

    class Leaving:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            raise error

    log: list[Any] = []
    both = hooks(Faulty(error()), around(Leaving), Recorder("b", log))

    both.on_event(CONNECTED)
    with both.handling(MESSAGE, "h"):
        pass

    assert log == [("b", CONNECTED), ("b", "enters", "a", "h"), ("b", "leaves")]
    assert len(caplog.records) == 3


def test_each_kind_of_hook_error_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that fails for every message fills no log: one line for each hook and class of error."""
    faulty = Faulty(ValueError("mine"))
    listeners = hooks(faulty)

    for _ in range(3):
        listeners.on_event(CONNECTED)
    faulty.error = KeyError("another")
    for _ in range(3):
        listeners.on_event(CONNECTED)
    listeners.publishing("e", "k", "m")

    errors = [(record.levelno, vars(record)["error.type"]) for record in caplog.records]
    assert errors == [(logging.ERROR, "ValueError"), (logging.ERROR, "KeyError"), (logging.ERROR, "KeyError")]
    assert "hook=Faulty.on_event" in caplog.text


def test_event_repr_shows_its_fields() -> None:
    handled = Handled(
        queue="q", exchange="e", routing_key="k", message_id=None, attempt=1, handler="app.handle", seconds=0.5
    )

    assert "handler='app.handle'" in repr(handled)

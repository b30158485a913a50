"""Instrumentation: what it costs when nobody listens, several as one, and that its mistakes are its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args

import pytest

from taskroute import ConfigurationError, Message, instrumentation
from taskroute.instrumentation import Connected, Event, Handled, Instrumentation
from taskroute.instrumentation.hooks import Listeners

CONNECTED = Connected(session="worker", generation=1)
MESSAGE = Message(body=b"", routing_key="a")


class Recorder(Instrumentation):
    """Overrides everything, and remembers."""

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
    """The three hooks, each of which is there."""
    return Listeners(instrumentations)


# --- the events ---


def test_events_are_frozen_and_hold_neither_body_nor_headers() -> None:
    with pytest.raises(FrozenInstanceError):
        CONNECTED.generation = 2  # type: ignore[misc]
    names = {field.name for event in get_args(Event) for field in fields(event)}
    assert not names & {"body", "headers", "properties", "url"}


def test_every_event_of_the_union_is_public_and_nothing_else_is() -> None:
    events = {event.__name__ for event in get_args(Event)}
    assert set(instrumentation.__all__) == events | {"Event", "Instrumentation"}
    assert not [event for event in get_args(Event) if not event.__doc__]


# --- nobody listens ---


def test_a_hook_that_nobody_overrides_is_none() -> None:
    for nobody in (Listeners(), Listeners([Instrumentation()])):
        assert (nobody.on_event, nobody.handling, nobody.publishing) == (None, None, None)
    some = Listeners([Instrumentation(), OnlyEvents()])
    assert some.on_event is not None
    assert (some.handling, some.publishing) == (None, None)


def test_the_base_class_does_nothing() -> None:
    base = Instrumentation()
    base.on_event(CONNECTED)
    assert base.handling(MESSAGE, "h") is None
    assert base.publishing("e", "k", "m") is None


def test_what_is_no_instrumentation_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must be an object of a subclass of"):
        Listeners([object()])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match=r"must be a list: instrumentation=\[...\]"):
        Listeners(Instrumentation())  # type: ignore[arg-type]


# --- several as one ---


def test_events_go_to_all_in_order() -> None:
    log: list[Any] = []
    hooks(Recorder("a", log), Recorder("b", log)).on_event(CONNECTED)
    assert log == [("a", CONNECTED), ("b", CONNECTED)]


def test_the_first_is_entered_first_and_left_last() -> None:
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


def test_headers_are_merged() -> None:
    log: list[Any] = []
    headers = hooks(Recorder("a", log), Recorder("b", log)).publishing("e", "k", "m")
    assert headers == {"a": "e k m", "b": "e k m", "last": "b"}


# --- the handler's error is the handler's ---


def test_the_handlers_error_passes_through_and_is_seen() -> None:
    log: list[Any] = []
    with pytest.raises(ValueError, match="from the handler"), hooks(Recorder("a", log)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")
    assert ("a", "saw", "from the handler") in log


def test_nobody_can_keep_the_handlers_error() -> None:
    @contextmanager
    def swallow() -> Iterator[None]:
        try:
            yield
        except ValueError:
            return

    with pytest.raises(ValueError, match="from the handler"), hooks(around(swallow)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")


def test_nobody_can_replace_the_handlers_error(caplog: pytest.LogCaptureFixture) -> None:
    @contextmanager
    def replace() -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise KeyError("mine") from error

    with pytest.raises(ValueError, match="from the handler"), hooks(around(replace)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [KeyError]


def test_a_manager_that_raises_the_handlers_error_again_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Again:
        def __enter__(self) -> None: ...

        def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
            if error is not None:
                raise error

    with pytest.raises(ValueError, match="from the handler"), hooks(around(Again)).handling(MESSAGE, "h"):
        raise ValueError("from the handler")
    assert caplog.records == []


def test_an_instrumentation_may_have_nothing_to_enter(caplog: pytest.LogCaptureFixture) -> None:
    with hooks(around(lambda: None)).handling(MESSAGE, "h"):
        pass
    assert caplog.records == []


# --- its own errors are its own ---


def test_an_error_of_one_harms_neither_the_others_nor_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    log: list[Any] = []
    both = hooks(Faulty(ValueError("mine")), Recorder("b", log))
    both.on_event(CONNECTED)
    assert both.publishing("e", "k", "m")["last"] == "b"
    with both.handling(MESSAGE, "h"):
        log.append("handler")
    assert log == [("b", CONNECTED), ("b", "enters", "a", "h"), "handler", ("b", "leaves")]
    assert len(caplog.records) == 3


def test_an_error_on_leaving_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
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
def test_an_exit_is_no_more_than_an_error_where_it_would_end_a_thread_of_the_worker(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
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


def test_each_kind_of_error_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    faulty = Faulty(ValueError("mine"))
    listeners = hooks(faulty)
    for _ in range(3):
        listeners.on_event(CONNECTED)
    faulty.error = KeyError("another")
    for _ in range(3):
        listeners.on_event(CONNECTED)
    listeners.publishing("e", "k", "m")
    errors = [(record.levelno, record.exc_info[0]) for record in caplog.records if record.exc_info]
    assert errors == [(logging.ERROR, ValueError), (logging.ERROR, KeyError), (logging.ERROR, KeyError)]
    assert "hook=Faulty.on_event" in caplog.text


def test_an_event_says_what_it_is() -> None:
    handled = Handled(
        queue="q", exchange="e", routing_key="k", message_id=None, attempt=1, handler="app.handle", seconds=0.5
    )
    assert "handler='app.handle'" in repr(handled)

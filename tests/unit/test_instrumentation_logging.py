"""Logging and structlog: the message in each line, a line for each event, and no line that a message can forge."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from taskroute import Message
from taskroute.instrumentation import (
    Connected,
    DeadLettered,
    Disconnected,
    Event,
    Handled,
    Instrumentation,
    PublishFailed,
    Received,
    Returned,
)
from taskroute.instrumentation.describe import LEVELS, Levels, fields_of, name_of
from taskroute.instrumentation.hooks import Listeners
from taskroute.instrumentation.logging import LoggingInstrumentation, MessageFilter
from taskroute.instrumentation.structlog import StructlogInstrumentation
from taskroute.quoting import printable, quoted

MESSAGE = Message(body=b"", queue="video", routing_key="video.upload", message_id="m-1", attempt=2)
FORGED = Message(body=b"", queue="video", routing_key="a\nCRITICAL root", message_id="m-1 attempt=9")
HANDLED = Handled(
    queue="video",
    exchange="media",
    routing_key="video.upload",
    message_id="m-1",
    attempt=2,
    handler="app.transcode",
    seconds=0.123456789,
)
DEAD = DeadLettered(
    queue="video",
    exchange="media",
    routing_key="a\nCRITICAL root",
    message_id=None,
    attempt=1,
    handler=None,
    reason="no_handler",
    error="no handler of queue 'video' takes this routing key",
    seconds=0.0,
    to="video.dead",
)
CONNECTED = Connected(session="w", generation=1)


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a handler with the filter writes for the logger ``app``."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(MessageFilter())
    handler.setFormatter(
        logging.Formatter("%(message)s queue=%(queue)s key=%(routing_key)s id=%(message_id)s attempt=%(attempt)s")
    )
    logger = logging.getLogger("app")
    logger.addHandler(handler)
    yield written
    logger.removeHandler(handler)


def around(instrumentation: Instrumentation, message: Message) -> Any:
    return instrumentation.handling(message, "app.transcode")


# --- names and values ---


def test_every_event_has_a_level() -> None:
    assert LEVELS.keys() == set(get_args(Event))


def test_event_name_is_its_class_name_in_snake_case() -> None:
    assert (name_of(DEAD), name_of(CONNECTED)) == ("dead_lettered", "connected")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("video.upload", "video.upload"),
        ("01J-a_b:c/d+e@f#*", "01J-a_b:c/d+e@f#*"),
        ("", "''"),
        ("m-1 attempt=9", "'m-1 attempt=9'"),
        ("a\nb", r"'a\nb'"),
        ("v" * 200, "v" * 200),
        ("v" * 201, repr("v" * 200) + "..."),
        ("ü", "'ü'"),
    ],
)
def test_quoted_leaves_words_and_quotes_other_text(text: str, expected: str) -> None:
    assert quoted(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("m-1 attempt=9", "m-1 attempt=9"),
        ("ü", "ü"),
        ("a\nb", r"'a\nb'"),
        ("\x1b[31m", r"'\x1b[31m'"),
        ("v" * 201, repr("v" * 200) + "..."),
    ],
)
def test_printable_quotes_only_control_characters_and_long_text(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text())
def test_quoted_text_neither_ends_a_line_nor_begins_a_field(text: str) -> None:
    assert len(quoted(text).splitlines()) == 1
    assert quoted(text)[0] in "'\"" or not set(text) & set(" =")
    assert len(printable(text).splitlines()) <= 1


def test_event_fields_are_ordered_quoted_and_rounded() -> None:
    fields = fields_of(DEAD, quoted)

    assert list(fields)[:5] == ["queue", "exchange", "routing_key", "message_id", "attempt"]
    assert fields["routing_key"] == r"'a\nCRITICAL root'"
    assert (fields["message_id"], fields["attempt"], fields_of(HANDLED, quoted)["seconds"]) == (None, 1, 0.123457)


# --- logging ---


def test_log_line_of_handler_carries_its_message(lines: io.StringIO) -> None:
    log = logging.getLogger("app.video")

    log.warning("before")
    with around(LoggingInstrumentation(), MESSAGE):
        log.warning("working")
    log.warning("after")

    assert lines.getvalue().splitlines() == [
        "before queue=- key=- id=- attempt=-",
        "working queue=video key=video.upload id=m-1 attempt=2",
        "after queue=- key=- id=- attempt=-",
    ]


def test_message_cannot_forge_a_log_line(lines: io.StringIO) -> None:
    """A line break in a routing key and a field in a message id are quoted."""
    with around(LoggingInstrumentation(), FORGED):
        logging.getLogger("app").warning("working")

    assert lines.getvalue().splitlines() == [
        r"working queue=video key='a\nCRITICAL root' id='m-1 attempt=9' attempt=1",
    ]


def test_record_keeps_a_field_it_already_has(lines: io.StringIO) -> None:
    """A field of the log call goes before the field of the message."""
    with around(LoggingInstrumentation(), MESSAGE):
        logging.getLogger("app").warning("working", extra={"queue": "mine"})

    assert lines.getvalue().startswith("working queue=mine key=video.upload")


def test_tasks_of_one_loop_each_log_their_own_message(lines: io.StringIO) -> None:
    instrumentation = LoggingInstrumentation()
    barrier = asyncio.Barrier(2)

    async def handle(message_id: str) -> None:
        with around(instrumentation, Message(body=b"", routing_key="k", queue="q", message_id=message_id)):
            await barrier.wait()
            logging.getLogger("app").warning("by %s", message_id)

    async def main() -> None:
        await asyncio.gather(handle("a"), handle("b"))

    asyncio.run(main())

    assert sorted(line.split(" attempt")[0] for line in lines.getvalue().splitlines()) == [
        "by a queue=q key=k id=a",
        "by b queue=q key=k id=b",
    ]


def test_message_is_not_logged_after_its_handler_raises(lines: io.StringIO) -> None:
    with pytest.raises(ValueError, match="mine"), around(LoggingInstrumentation(), MESSAGE):
        raise ValueError("mine")

    logging.getLogger("app").warning("after")

    assert lines.getvalue() == "after queue=- key=- id=- attempt=-\n"


def test_event_is_logged_as_a_line_of_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    instrumentation = LoggingInstrumentation()

    for event in (HANDLED, DEAD, CONNECTED):
        instrumentation.on_event(event)

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "INFO",
            (
                "handled queue=video exchange=media routing_key=video.upload message_id=m-1 attempt=2 "
                "handler=app.transcode seconds=0.123457"
            ),
        ),
        (
            "DEBUG",
            (
                r"dead_lettered queue=video exchange=media routing_key='a\nCRITICAL root' message_id=- attempt=1 "
                "handler=- reason=no_handler error=\"no handler of queue 'video' takes this routing key\" "
                "error_text='' seconds=0.0 to=video.dead"
            ),
        ),
        ("DEBUG", "connected session=w generation=1"),
    ]
    assert {record.name for record in caplog.records} == {"taskroute.instrumentation.logging"}


def test_levels_and_logger_are_configurable(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    mine = logging.getLogger("mine")
    instrumentation = LoggingInstrumentation(mine, {Handled: logging.DEBUG, Connected: logging.WARNING})

    instrumentation.on_event(HANDLED)
    instrumentation.on_event(CONNECTED)

    assert [(record.name, record.levelname) for record in caplog.records] == [("mine", "WARNING")]


def test_returned_and_failed_publishes_are_logged_as_warnings(caplog: pytest.LogCaptureFixture) -> None:
    """No other line of the log tells of them."""
    caplog.set_level(logging.INFO)
    instrumentation = LoggingInstrumentation()

    instrumentation.on_event(Returned(exchange="media", routing_key="k", message_id="m", seconds=0.1))
    instrumentation.on_event(
        PublishFailed(exchange="media", routing_key="k", message_id="m", seconds=0.1, error="PublishTimeoutError")
    )

    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


# --- structlog ---


def logger_into(written: io.StringIO, renderer: Any) -> Any:
    return structlog.wrap_logger(
        structlog.PrintLogger(written),
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, renderer],
    )


def test_structlog_entry_of_handler_carries_its_message() -> None:
    """After the handler the caller's context is bound again."""
    written = io.StringIO()
    log = logger_into(written, structlog.processors.JSONRenderer())

    with structlog.contextvars.bound_contextvars(queue="the caller's"):
        with around(StructlogInstrumentation(log), MESSAGE):
            log.info("working", n=1)
        log.info("after")

    working, after = map(json.loads, written.getvalue().splitlines())
    assert working == {
        "event": "working",
        "level": "info",
        "n": 1,
        "queue": "video",
        "routing_key": "video.upload",
        "message_id": "m-1",
        "attempt": 2,
    }
    assert after == {"event": "after", "level": "info", "queue": "the caller's"}


def test_structlog_event_has_its_fields_and_level() -> None:
    written = io.StringIO()
    instrumentation = StructlogInstrumentation(logger_into(written, structlog.processors.JSONRenderer()))

    instrumentation.on_event(HANDLED)
    instrumentation.on_event(DEAD)

    handled, dead = map(json.loads, written.getvalue().splitlines())
    assert (handled["event"], handled["level"], handled["seconds"]) == ("handled", "info", 0.123457)
    assert (dead["event"], dead["level"], dead["reason"], dead["to"]) == (
        "dead_lettered",
        "error",
        "no_handler",
        "video.dead",
    )


@pytest.mark.parametrize(
    ("levels", "expected"),
    [(None, ["warning", "debug"]), ({Disconnected: logging.ERROR}, ["error", "error"])],
)
def test_structlog_logs_requested_disconnect_at_debug_by_default(levels: Levels | None, expected: list[str]) -> None:
    """A level that the caller gives for disconnects applies to requested ones as well."""
    with structlog.testing.capture_logs() as entries:
        instrumentation = StructlogInstrumentation(levels=levels)
        instrumentation.on_event(Disconnected(session="w", error="ConnectionResetError"))
        instrumentation.on_event(Disconnected(session="w", error=None))

    assert [entry["log_level"] for entry in entries] == expected


def test_structlog_line_cannot_be_forged_if_renderer_quotes_nothing() -> None:
    written = io.StringIO()

    def render(logger: object, method: str, entry: Any) -> str:
        return " ".join(f"{name}={value}" for name, value in entry.items())

    log = logger_into(written, render)
    instrumentation = StructlogInstrumentation(log, {DeadLettered: logging.INFO})

    instrumentation.on_event(DEAD)
    with around(instrumentation, FORGED):
        log.info("working")

    first, second = written.getvalue().splitlines()
    assert r"routing_key='a\nCRITICAL root'" in first
    assert "level=info" in first
    assert r"routing_key='a\nCRITICAL root'" in second


def test_structlog_without_logger_uses_its_default_logger() -> None:
    with structlog.testing.capture_logs() as entries:
        StructlogInstrumentation().on_event(CONNECTED)

    assert entries == [{"event": "connected", "log_level": "info", "session": "w", "generation": 1}]


# --- both ---


@pytest.mark.parametrize("kind", [LoggingInstrumentation, StructlogInstrumentation])
def test_log_instrumentation_adds_no_headers_to_a_publish(kind: type[Instrumentation]) -> None:
    listeners = Listeners([kind()])

    assert listeners.publishing is None
    assert listeners.on_event is not None
    assert listeners.handling is not None


def test_received_event_is_logged_at_its_configured_level(caplog: pytest.LogCaptureFixture) -> None:
    instrumentation = LoggingInstrumentation(levels=dict.fromkeys(get_args(Event), logging.CRITICAL))
    received = Received(queue="q", exchange="", routing_key="k", message_id=None, attempt=1, redelivered=False)

    instrumentation.on_event(received)

    assert caplog.records[0].levelno == logging.CRITICAL

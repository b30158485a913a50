"""Log fields: what a line says is in its record by name, and nothing in it ends the line or is a password."""

from __future__ import annotations

import ast
import logging
import re
from pathlib import Path

import pytest

import taskroute
from taskroute.foreign import Log
from taskroute.log_fields import fields_of_line
from taskroute.raised import Raised

SOURCE = Path(taskroute.__file__).parent
FORGED = "x\nERROR forged\r\x1b[31m\u2028\u202e\x00"
log = Log("taskroute.a_test")


def line_of(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    (record,) = caplog.records
    return record


def test_facts_of_a_line_are_fields_with_the_names_of_opentelemetry(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("it_failed queue=%s key=%s message_id=%s attempt=%d waited=%.1f s", "work", "a.b", None, 2, 0.25)

    record = line_of(caplog)
    assert record.getMessage() == "it_failed queue=work key='a.b' message_id=- attempt=2 waited=0.2 s"
    assert record.__dict__.items() >= {
        ("taskroute.event", "it_failed"),
        ("messaging.destination.name", "work"),
        ("messaging.rabbitmq.destination.routing_key", "a.b"),
        ("messaging.message.id", None),
        ("taskroute.attempt", 2),
        ("taskroute.waited", 0.25),
    }


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (LookupError("no"), {"error.type": "LookupError", "exception.message": "no"}),
        ("ConnectionError", {"error.type": "ConnectionError", "taskroute.error": "ConnectionError"}),
        ("orm.Error('no')", {"error.type": "orm.Error", "taskroute.error": "orm.Error('no')"}),
        ("KeyError at shop.py:3", {"error.type": "KeyError", "taskroute.error": "KeyError at shop.py:3"}),
        ("total: int_parsing", {"taskroute.error": "total: int_parsing"}),
    ],
    ids=str,
)
def test_class_of_an_error_is_a_field_however_it_is_told(error: object, fields: dict[str, object]) -> None:
    assert fields_of_line("%s error=%s", ("it_failed", error)) == {"taskroute.event": "it_failed", **fields}


@pytest.mark.parametrize(
    ("error", "written"),
    [
        ("KeyError", "KeyError"),
        (OSError("the disk is full"), "'the disk is full'"),
        ("KeyError('a')", "KeyError('a')"),
        ("total: int_parsing", "'total: int_parsing'"),
        ("no handler of queue 'video'", "\"no handler of queue 'video'\""),
        ("a=1", "'a=1'"),
        ("", "''"),
        ("'not packed yet'", "'not packed yet'"),  # it is quoted already
        ("'a' is not 'b'", "\"'a' is not 'b'\""),
        ("'cut'...", "'cut'..."),
        ("two\nlines", "'two\\nlines'"),
    ],
    ids=str,
)
def test_error_of_more_than_a_word_is_quoted(error: object, written: str, caplog: pytest.LogCaptureFixture) -> None:
    log.warning("it_failed error=%s to=%s", error, "there")

    assert line_of(caplog).getMessage() == f"it_failed error={written} to=there"


def test_what_was_raised_is_fields_and_its_traceback_is_below(caplog: pytest.LogCaptureFixture) -> None:
    log.error("it_failed", raised=Raised("KeyError", "shop.py:3", "'a'", "Traceback\n  File 100%"))

    record = line_of(caplog)
    assert record.getMessage() == "it_failed\n    Traceback\n      File 100%"
    assert record.exc_info is None
    assert record.__dict__.items() >= {
        ("error.type", "KeyError"),
        ("taskroute.place", "shop.py:3"),
        ("exception.message", "'a'"),
        ("exception.stacktrace", "Traceback\n  File 100%"),
    }


def test_no_value_ends_a_line_or_a_field(caplog: pytest.LogCaptureFixture) -> None:
    args = (FORGED, FORGED, ValueError(FORGED), FORGED, FORGED)
    log.warning("it_failed queue=%s key=%s error=%s session=%s %s", *args, raised=Raised("KeyError", "", FORGED))

    record = line_of(caplog)
    fields = [value for name, value in record.__dict__.items() if "." in name]
    assert record.getMessage().isprintable()
    assert all(str(value).isprintable() for value in fields)


def test_no_line_has_the_password_of_a_url(caplog: pytest.LogCaptureFixture) -> None:
    url = "amqp://app:secret@host/"
    log.warning("it_failed url=%s error=%s reason=%s", url, ValueError(url), url)

    assert "secret" not in line_of(caplog).getMessage() + str(line_of(caplog).__dict__)


def test_line_that_nobody_takes_costs_no_fields() -> None:
    class Unasked:
        def __str__(self) -> str:
            raise AssertionError("nobody has asked")

    log.debug("it_went queue=%s", Unasked())


def lines() -> list[str]:
    """Return the texts of the lines of the library."""
    calls = [
        node
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and re.match(r"(log|tell)\b", ast.unparse(node.func)) and node.args
    ]
    texts = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    return [text for text in texts if isinstance(text, str) and "%" in text]


def test_every_line_names_its_facts() -> None:
    """A value without a name would be no field. What follows a value, or a colon, is a remark."""
    assert len(lines()) > 30

    for text in lines():
        unnamed = re.findall(r"(?<![=\w])%[sdf]", text.removeprefix("%s "))
        assert not [place for place in unnamed if not re.search(r": [^=]*%[sdf]", text)], text

"""Raised: what is told of an exception is bounded, safe for a line, and without what nobody may read."""

from __future__ import annotations

from typing import Any

import pytest

from taskroute import ConfigurationError
from taskroute.raised import MAX_TEXT, TELL_ALL, Disclosure, checked_detail
from taskroute.traceback_text import MAX_SIZE

FORGED = "x\nERROR forged\r\x1b[31m\u2028\u202e\x00"
TELL_PLACE = Disclosure("place")


def raised(error: BaseException) -> BaseException:
    """Give an exception a traceback."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


def test_error_text_and_traceback_of_an_exception() -> None:
    told = TELL_ALL.of(raised(KeyError("total")))

    assert told.error.startswith("KeyError at test_raised.py:")
    assert told.text == "'total'"
    assert told.traceback.splitlines()[0] == "Traceback (most recent call last):"
    assert told.traceback.splitlines()[1:] == [
        f'  File "{__file__}", line {told.place.partition(":")[2]}, in raised',
        "    raise error",
        "KeyError: 'total'",
    ]


def test_no_text_of_an_exception_forges_a_line_of_its_traceback() -> None:
    error = ExceptionGroup(FORGED, [ValueError(FORGED), type(FORGED.strip("\0"), (Exception,), {})(FORGED)])
    error.add_note(FORGED)
    error.__cause__ = LookupError(FORGED)

    lines = TELL_ALL.of(raised(error)).traceback.split("\n")

    assert sum(r"x\nERROR forged" in line for line in lines) >= 4
    assert all(line.isprintable() for line in lines)


def test_place_alone_tells_nothing_that_an_exception_says() -> None:
    error = ExceptionGroup("secret", [ValueError("secret")])
    error.add_note("secret")
    error.__cause__ = LookupError("secret")

    told = TELL_PLACE.of(raised(error))

    assert (told.text, told.traceback) == ("", "")
    assert told.error.startswith("ExceptionGroup at test_raised.py:")
    assert TELL_PLACE.text(error) == ""


def recursing(depth: int = 10_000) -> None:
    recursing(depth - 1)


def chained(count: int) -> BaseException:
    error: BaseException = ValueError("first")
    for number in range(count):
        following = ValueError(str(number))
        following.__context__ = error
        error = following
    return error


def circle() -> BaseException:
    error, other = ValueError("one"), ValueError("other")
    error.__cause__, other.__cause__ = other, error
    return error


def nested(depth: int) -> Exception:
    return ExceptionGroup("group", [nested(depth - 1)] * 3) if depth else ValueError("x" * 2000)


def recursion() -> BaseException:
    with pytest.raises(RecursionError) as caught:
        recursing()
    return caught.value


@pytest.mark.parametrize(
    "error",
    [ValueError("ä" * 10_000_000), chained(1000), circle(), nested(12), recursion(), KeyError(*range(100_000))],
    ids=["text", "chain", "circle", "groups", "recursion", "arguments"],
)
def test_what_is_told_of_an_exception_is_bounded(error: BaseException) -> None:
    told = TELL_ALL.of(raised(error))

    assert len(told.text) <= MAX_TEXT
    assert 0 < len(told.traceback.encode()) <= MAX_SIZE
    assert told.traceback.splitlines()[-1]


class HostileError(Exception):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__

    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise SystemExit


def test_exception_whose_own_methods_raise_is_told() -> None:
    told = TELL_ALL.of(raised(HostileError()))

    assert told.error.startswith("tests.unit.test_raised.HostileError at test_raised.py:")
    assert told.text == ""


@pytest.mark.parametrize("shown", ["amqp://app:s3cr@t/x@host/", "s3cr@t/x", "s3cr%40t%2Fx", "s3cr%40t/x"])
def test_password_is_replaced_in_text_and_traceback(shown: str) -> None:
    """As a URL shows it, encoded or not, and by itself."""
    hides = Disclosure(passwords=lambda: ["s3cr@t/x", "s3cr%40t%2Fx", "s3cr%40t/x"])
    error = ValueError(f"cannot use {shown} now")
    error.__cause__ = LookupError(shown)

    told = hides.of(raised(error))

    assert "***" in told.text
    assert "s3cr" not in told.text + told.traceback


def test_password_of_any_url_is_replaced() -> None:
    told = TELL_ALL.of(ValueError("postgresql://app:secret@db/shop and http://host:8080/a@b"))

    assert told.text == "postgresql://app:***@db/shop and http://host:***@b"


def test_password_is_replaced_where_a_long_text_is_cut() -> None:
    hides = Disclosure(passwords=lambda: ["p" * 3000])

    for length in range(3900, 4100, 7):
        assert "pppp" not in hides.of(ValueError("p" * 3000 + "-" * (length - 3000) + "p" * 3000)).text


def test_errors_of_a_worker_are_text_or_place() -> None:
    assert (checked_detail("text"), checked_detail("place")) == ("text", "place")
    for wrong in ("all", None, True, ["text"]):
        with pytest.raises(ConfigurationError, match="neither 'text' nor 'place'"):
            checked_detail(wrong)

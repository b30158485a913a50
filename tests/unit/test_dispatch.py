"""Dispatch: what a handler is called with, and the outcome of each message, good or bad."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from taskroute import Depends, HandlerRegistry, HandlerSignatureError, Header, Message, Reject, Retry, RetryPolicy
from taskroute.handling.dispatch import Dispatcher
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Outcome

UNSET: Any = object()


class Video(BaseModel):
    id: int
    file: str = "f"


class Recorder:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __call__(self, *call: Any) -> None:
        self.calls.append(call)


def dispatch(
    function: Callable[..., object],
    pattern: str = "video.{action}",
    *,
    key: str = "video.upload",
    body: bytes = b'{"id": 1}',
    headers: dict[str, object] | None = None,
    limit: int = 1000,
    **properties: object,
) -> Outcome:
    registry = HandlerRegistry()
    registry.add(pattern, function, queue="q", retry=properties.pop("retry", None))  # type: ignore[arg-type]
    if headers is not None:
        properties["application_headers"] = headers
    delivery = Delivery(queue="q", exchange="media", routing_key=key, body=body, properties=properties)
    outcome = Dispatcher(registry.resolve, limit).dispatch(delivery)
    assert isinstance(outcome, Handled | Failed)
    return outcome


def failure(function: Callable[..., object], pattern: str = "video.{action}", **options: Any) -> Failed:
    outcome = dispatch(function, pattern, **options)
    assert isinstance(outcome, Failed)
    return outcome


# --- what a handler is called with ---


def test_captures_body_headers_and_the_envelope() -> None:
    seen = Recorder()

    def handle(
        task: Video, action: str, tenant: Annotated[int, Header("x-tenant")], message: Message, extra: str = "kept"
    ) -> None:
        seen(task, action, tenant, message.routing_key, message.exchange, message.attempt, extra)

    outcome = dispatch(handle, headers={"x-tenant": "7"})
    assert isinstance(outcome, Handled)
    assert seen.calls == [(Video(id=1), "upload", 7, "video.upload", "media", 1, "kept")]


@pytest.mark.parametrize(
    ("annotation", "body", "expected"),
    [
        (bytes, b"\xff\x00", b"\xff\x00"),
        (str, "ü".encode(), "ü"),
        (dict, b'{"a": 1}', {"a": 1}),
        (list[int], b"[1, 2]", [1, 2]),
        (Any, b"null", None),
        (Video | None, b"null", None),
        (UNSET, b'"x"', "x"),
    ],
)
def test_the_body_is_what_its_annotation_says(annotation: Any, body: bytes, expected: object) -> None:
    seen = Recorder()

    def handle(body: object) -> None:
        seen(body)

    if annotation is UNSET:
        del handle.__annotations__["body"]
    else:
        handle.__annotations__["body"] = annotation
    assert isinstance(dispatch(handle, "#", body=body), Handled)
    assert seen.calls == [(expected,)]


def test_captures_are_validated_and_many_words_are_a_tuple_or_joined() -> None:
    seen = Recorder()

    def handle(number: int, rest: tuple[str, ...], body: bytes) -> None:
        seen(number, rest)

    def joined(number: int, rest: str) -> None:
        seen(number, rest)

    dispatch(handle, "order.{number}.{rest:#}", key="order.7.a.b")
    dispatch(joined, "order.{number}.{rest:#}", key="order.7.a.b")
    assert seen.calls == [(7, ("a", "b")), (7, "a.b")]


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "application/json",
        "application/octet-stream",
        "text/json",
        "application/x+json",
        "application/json; charset=utf-8",
    ],
)
def test_what_counts_as_json(kind: str | None) -> None:
    assert isinstance(dispatch(lambda task: None, "#", body=b"{}", content_type=kind), Handled)


# --- what does not fit ---


@pytest.mark.parametrize(
    ("options", "reason", "error"),
    [
        ({"body": b'{"id": "secret"}'}, "invalid_body", "id: int_parsing"),
        ({"body": b"{}"}, "invalid_body", "id: missing"),
        ({"body": b"not json"}, "invalid_body", "body: json_invalid"),
        ({"body": b""}, "invalid_body", "body: json_invalid"),
        ({"body": b"[" * 900}, "invalid_body", "body: json_invalid"),
        ({"content_type": "application/x-python-serialize"}, "unsupported_content", "content_type"),
        ({"content_encoding": "utf-7"}, "unsupported_content", "content_encoding"),
        ({"headers": {"x-tenant": "7", "compression": "application/x-gzip"}}, "unsupported_content", "compression"),
        ({"headers": {}}, "invalid_header", "x-tenant: missing"),
        ({"headers": {"x-tenant": "secret"}}, "invalid_header", "x-tenant: int_parsing"),
        ({"key": "video.secret"}, "invalid_key", "number: int_parsing"),
        ({"key": "audio.7"}, "no_handler", "'q'"),
        ({"body": b" " * 1001}, "too_large", "1001 bytes, the limit is 1000"),
    ],
)
def test_a_message_that_does_not_fit_is_never_handled(options: dict[str, Any], reason: str, error: str) -> None:
    seen = Recorder()

    def handle(number: int, task: Video, tenant: Annotated[int, Header("x-tenant")]) -> None:
        seen()

    failed = failure(handle, "video.{number}", **{"key": "video.7", "headers": {"x-tenant": 7}} | options)
    assert failed.reason == reason
    assert error in failed.error
    assert "secret" not in failed.error
    assert not failed.retryable
    assert seen.calls == []


# --- what a handler does ---


def test_an_exception_can_be_tried_again_and_shows_no_text() -> None:
    def handle(action: str) -> None:
        raise ValueError("secret")

    failed = failure(handle)
    assert (failed.reason, failed.retryable, failed.asked_for_retry) == ("handler_error", True, False)
    assert failed.error.startswith("ValueError at test_dispatch.py:")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), RecursionError()])
def test_whatever_a_handler_raises_becomes_an_outcome(error: BaseException) -> None:
    def handle(action: str) -> None:
        raise error

    assert failure(handle).reason == "handler_error"


def test_reject_and_retry_say_what_they_mean() -> None:
    def reject(action: str) -> None:
        raise Reject("no such customer")

    def retry(action: str) -> None:
        raise Retry(delay=3)

    rejected, asked = failure(reject), failure(retry)
    assert (rejected.reason, rejected.retryable) == ("rejected", False)
    assert "no such customer" in rejected.error
    assert (asked.reason, asked.retryable, asked.asked_for_retry) == ("handler_error", True, True)
    assert asked.delay == timedelta(seconds=3)


def test_the_text_of_a_retry_is_told_as_that_of_a_reject_is() -> None:
    def retry(action: str) -> None:
        raise Retry("not packed yet,\n" + "x" * 300)

    def silent(action: str) -> None:
        raise Retry(delay=3)

    error = failure(retry).error
    assert error.startswith(r"'not packed yet,\nxxx")
    assert len(error) < 220
    assert failure(silent).error.startswith("taskroute.Retry at test_dispatch.py:")


class Unprintable:
    def __str__(self) -> str:
        raise SystemExit(1)


@pytest.mark.parametrize(("verdict", "reason"), [(Reject, "rejected"), (Retry, "handler_error")])
def test_a_verdict_whose_text_cannot_be_made_is_told_by_its_type_and_place(verdict: Any, reason: str) -> None:
    def handle(action: str) -> None:
        raise verdict(Unprintable())

    failed = failure(handle)
    assert failed.reason == reason
    assert failed.error.startswith(f"taskroute.{verdict.__name__} at test_dispatch.py:")


def test_a_retry_of_ones_own_may_say_nothing_about_its_delay() -> None:
    class NotYet(Retry):
        def __init__(self, order: int) -> None: ...

    def handle(action: str) -> None:
        raise NotYet(7)

    failed = failure(handle)
    assert (failed.asked_for_retry, failed.delay) == (True, None)


@pytest.mark.parametrize("delay", [Decimal("0.1"), "5", float("nan"), float("inf"), [1]])
def test_a_delay_that_is_none_is_an_error_of_the_handler_which_does_not_quote_it(delay: Any) -> None:
    def handle(action: str) -> None:
        raise Retry(delay=delay)

    failed = failure(handle)
    assert (failed.reason, failed.retryable, failed.asked_for_retry) == ("handler_error", True, False)
    assert failed.error == f"Retry: delay must be a number of seconds or a timedelta, not {type(delay).__name__}"


class Proxy:
    @property  # type: ignore[misc]  # Python's own can be written
    def __class__(self) -> Any:
        raise RuntimeError("nothing is behind it")


def test_a_result_that_cannot_be_looked_at_is_an_error_of_the_handler() -> None:
    assert failure(lambda action: Proxy()).error.startswith("RuntimeError at test_dispatch.py:")


@pytest.mark.parametrize(
    ("retry", "delays"),
    [(None, None), (False, ()), (RetryPolicy(delays=(1, 2)), (timedelta(seconds=1), timedelta(seconds=2)))],
)
def test_a_handlers_own_retry_comes_along(retry: Any, delays: Any) -> None:
    def handle(action: str) -> None:
        raise ValueError

    assert failure(handle, retry=retry).delays == delays


def test_an_ambiguous_key_is_not_guessed() -> None:
    registry = HandlerRegistry()
    for pattern in ("a.*", "*.b"):
        registry.add(pattern, lambda body: None, queue="q")
    delivery = Delivery(queue="q", exchange="", routing_key="a.b", body=b"", properties={})
    outcome = Dispatcher(registry.resolve).dispatch(delivery)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "no_handler"


# --- signatures that cannot be ---


def marked(annotation: Any, default: Any = inspect.Parameter.empty) -> Callable[..., None]:
    """A handler with a body and a parameter `s`."""

    def on_message(body: bytes, s: Any) -> None: ...

    on_message.__annotations__["s"] = annotation
    if default is not inspect.Parameter.empty:
        on_message.__defaults__ = (default,)
    return on_message


def two_bodies(one: dict, other: dict) -> None: ...  # type: ignore[type-arg]
def positional(body: bytes, /) -> None: ...
def variable(*bodies: bytes) -> None: ...
def keywords(**options: bytes) -> None: ...
def unknown(body: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unvalidatable(body: Recorder) -> None: ...
async def later(body: bytes, other: bytes) -> None: ...
def generator(body: bytes) -> Any:
    yield body


def stranger() -> Any:
    """A function that makes a mark, as fastapi.Header is one."""


stranger.__name__, stranger.__module__ = "Header", "fastapi.params"


class Foreign:
    """What a mark of another library looks like."""

    Depends = type("Depends", (), {"__module__": "fastapi.params"})
    Header = type("Header", (), {"__module__": "fastapi.params"})


def of_another(kind: str) -> str:
    return rf"parameter 's' is marked with fastapi.params.{kind}: import {kind} from taskroute"


async def later_generator(body: bytes) -> Any:
    yield body


class Service:
    def unbound(self, task: bytes) -> None: ...
    def takes_only_captures(self, x: str) -> None: ...

    @classmethod
    def of_the_class(cls, task: bytes) -> None: ...

    def bound(self, task: bytes, x: str) -> None: ...


BRACKETS = r"parameter 's' is marked with {0}: write {0}\(\.\.\.\), with brackets"


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (two_bodies, r"one, other remain .* mark them Header\(...\) or Depends\(...\), or give them defaults"),
        (Service.unbound, r"takes self, as a method .* registry.add\(pattern, object.unbound\)"),
        (Service.takes_only_captures, r"registry.add\(pattern, object.takes_only_captures\)"),
        (
            vars(Service)["of_the_class"].__func__,
            r"takes cls, as a method .* registry.add\(pattern, object.of_the_class\)",
        ),
        (positional, "body"),
        (variable, "bodies"),
        (keywords, "options"),
        (unknown, "Nowhere"),
        (unvalidatable, "body"),
        (later, "body, other"),
        (generator, "generator"),
        (later_generator, "generator"),
        ("no function", "str"),
        (marked(Annotated[str, Header]), BRACKETS.format("Header")),
        (marked(Annotated[str, Depends]), BRACKETS.format("Depends")),
        (marked(str, Depends), BRACKETS.format("Depends")),
        (marked(Annotated[str, Foreign.Depends()]), of_another("Depends")),
        (marked(Annotated[str, Foreign.Header()], "d"), of_another("Header")),
        (marked(Annotated[str, stranger], "d"), of_another("Header")),
        (marked(str, Foreign.Depends()), of_another("Depends")),
        (marked(Annotated[int, Depends(marked(str, Foreign.Depends()))]), of_another("Depends")),
    ],
)
def test_a_signature_that_nothing_can_feed_is_refused_when_registered(function: Any, problem: str) -> None:
    registry = HandlerRegistry()
    with pytest.raises(HandlerSignatureError, match=problem):
        registry.add("a.{x}", function)
    assert registry.handlers == ()


def test_a_type_that_cannot_be_validated_is_one_line() -> None:
    with pytest.raises(HandlerSignatureError) as refused:
        HandlerRegistry().add("#", unvalidatable)
    assert "has an annotation that cannot be validated: Unable to generate" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_method_of_an_object_is_a_handler() -> None:
    registry = HandlerRegistry()
    registry.add("a.{x}", Service().bound)
    assert registry.resolve("q", "a.b") is not None

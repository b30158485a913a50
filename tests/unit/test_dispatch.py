"""Dispatch: the arguments that a handler is called with, and the outcome of each message."""

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


# --- arguments of a handler ---


def test_handler_is_called_with_body_captures_header_and_message() -> None:
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
def test_body_is_converted_to_its_annotation(annotation: Any, body: bytes, expected: object) -> None:
    seen = Recorder()

    def handle(body: object) -> None:
        seen(body)

    if annotation is UNSET:
        del handle.__annotations__["body"]
    else:
        handle.__annotations__["body"] = annotation

    assert isinstance(dispatch(handle, "#", body=body), Handled)
    assert seen.calls == [(expected,)]


def test_captures_are_converted_to_their_annotations() -> None:
    """Several words are a tuple, or are joined by dots for a str."""
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
def test_json_body_needs_no_exact_content_type(kind: str | None) -> None:
    assert isinstance(dispatch(lambda task: None, "#", body=b"{}", content_type=kind), Handled)


# --- messages that do not fit ---


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
def test_unfit_message_fails_without_a_call_of_its_handler(options: dict[str, Any], reason: str, error: str) -> None:
    """The error names the place and the kind of the fault, and quotes no value of the message."""
    seen = Recorder()

    def handle(number: int, task: Video, tenant: Annotated[int, Header("x-tenant")]) -> None:
        seen()

    failed = failure(handle, "video.{number}", **{"key": "video.7", "headers": {"x-tenant": 7}} | options)

    assert failed.reason == reason
    assert error in failed.error
    assert "secret" not in failed.error
    assert not failed.retryable
    assert seen.calls == []


# --- outcomes of a handler ---


def test_exception_of_a_handler_is_retryable_and_not_quoted() -> None:
    def handle(action: str) -> None:
        raise ValueError("secret")

    failed = failure(handle)
    assert (failed.reason, failed.retryable, failed.asked_for_retry) == ("handler_error", True, False)
    assert failed.error.startswith("ValueError at test_dispatch.py:")


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), RecursionError()])
def test_base_exception_of_a_handler_is_a_handler_error(error: BaseException) -> None:
    def handle(action: str) -> None:
        raise error

    assert failure(handle).reason == "handler_error"


def test_reject_is_final_and_retry_asks_for_another_attempt() -> None:
    def reject(action: str) -> None:
        raise Reject("no such customer")

    def retry(action: str) -> None:
        raise Retry(delay=3)

    rejected, asked = failure(reject), failure(retry)

    assert (rejected.reason, rejected.retryable) == ("rejected", False)
    assert "no such customer" in rejected.error
    assert (asked.reason, asked.retryable, asked.asked_for_retry) == ("handler_error", True, True)
    assert asked.delay == timedelta(seconds=3)


def test_text_of_a_retry_is_quoted_in_one_short_line() -> None:
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
def test_reject_or_retry_with_unreadable_text_has_type_and_place(verdict: Any, reason: str) -> None:
    def handle(action: str) -> None:
        raise verdict(Unprintable())

    failed = failure(handle)

    assert failed.reason == reason
    assert failed.error.startswith(f"taskroute.{verdict.__name__} at test_dispatch.py:")


def test_subclass_of_retry_without_a_delay_has_none() -> None:
    """A subclass may leave out the call of its parent's `__init__`."""

    class NotYet(Retry):
        def __init__(self, order: int) -> None: ...

    def handle(action: str) -> None:
        raise NotYet(7)

    failed = failure(handle)
    assert (failed.asked_for_retry, failed.delay) == (True, None)


@pytest.mark.parametrize("delay", [Decimal("0.1"), "5", float("nan"), float("inf"), [1]])
def test_retry_with_an_invalid_delay_is_a_handler_error(delay: Any) -> None:
    """The error names the type of the delay, and does not quote its value."""

    def handle(action: str) -> None:
        raise Retry(delay=delay)

    failed = failure(handle)
    assert (failed.reason, failed.retryable, failed.asked_for_retry) == ("handler_error", True, False)
    assert failed.error == f"Retry: delay must be a number of seconds or a timedelta, not {type(delay).__name__}"


class Proxy:
    @property  # type: ignore[misc]  # typeshed declares it writable
    def __class__(self) -> Any:
        raise RuntimeError("nothing is behind it")


def test_unreadable_result_is_a_handler_error() -> None:
    assert failure(lambda action: Proxy()).error.startswith("RuntimeError at test_dispatch.py:")


@pytest.mark.parametrize(
    ("retry", "delays"),
    [(None, None), (False, ()), (RetryPolicy(delays=(1, 2)), (timedelta(seconds=1), timedelta(seconds=2)))],
)
def test_failure_carries_the_retry_policy_of_its_handler(retry: Any, delays: Any) -> None:
    def handle(action: str) -> None:
        raise ValueError

    assert failure(handle, retry=retry).delays == delays


def test_ambiguous_key_fails_as_no_handler() -> None:
    registry = HandlerRegistry()
    for pattern in ("a.*", "*.b"):
        registry.add(pattern, lambda body: None, queue="q")
    delivery = Delivery(queue="q", exchange="", routing_key="a.b", body=b"", properties={})

    outcome = Dispatcher(registry.resolve).dispatch(delivery)

    assert isinstance(outcome, Failed)
    assert outcome.reason == "no_handler"


# --- signatures that are refused ---


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


def foreign_header() -> Any:
    """A function that makes a marker, as fastapi.Header does."""


foreign_header.__name__, foreign_header.__module__ = "Header", "fastapi.params"


class Foreign:
    """Markers that come from another library."""

    Depends = type("Depends", (), {"__module__": "fastapi.params"})
    Header = type("Header", (), {"__module__": "fastapi.params"})


def marked_by_another_library(kind: str) -> str:
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
        (
            two_bodies,
            r"one, other remain .* mark them Header\(...\), .* or Resource\(\), or give them defaults",
        ),
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
        (marked(Annotated[str, Foreign.Depends()]), marked_by_another_library("Depends")),
        (marked(Annotated[str, Foreign.Header()], "d"), marked_by_another_library("Header")),
        (marked(Annotated[str, foreign_header], "d"), marked_by_another_library("Header")),
        (marked(str, Foreign.Depends()), marked_by_another_library("Depends")),
        (marked(Annotated[int, Depends(marked(str, Foreign.Depends()))]), marked_by_another_library("Depends")),
    ],
)
def test_unusable_signature_is_refused_when_registered(function: Any, problem: str) -> None:
    registry = HandlerRegistry()

    with pytest.raises(HandlerSignatureError, match=problem):
        registry.add("a.{x}", function)
    assert registry.handlers == ()


def test_unvalidatable_annotation_is_refused_in_one_line() -> None:
    with pytest.raises(HandlerSignatureError) as refused:
        HandlerRegistry().add("#", unvalidatable)

    assert "has an annotation that cannot be validated: Unable to generate" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_bound_method_is_a_handler() -> None:
    registry = HandlerRegistry()
    registry.add("a.{x}", Service().bound)
    assert registry.resolve("q", "a.b") is not None

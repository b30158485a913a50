"""Check: what a handler returns although nobody takes an answer."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Never, NoReturn, TypeVar

import pytest
from pydantic import BaseModel

from taskroute import Finding, HandlerRegistry, QueueSpec, Routes, Topology

if TYPE_CHECKING:
    from decimal import Decimal

T = TypeVar("T")


class Quote(BaseModel):
    price: int


def one(body: bytes) -> Quote: ...  # type: ignore[empty-body]
async def awaited(body: bytes) -> Quote | None: ...
def later(body: bytes) -> Awaitable[dict[str, int]]: ...  # type: ignore[empty-body]
def flag(body: bytes) -> bool: ...  # type: ignore[empty-body]
def hidden(body: bytes) -> Decimal: ...  # type: ignore[empty-body]
def marked(body: bytes) -> Annotated[Quote, "mark"]: ...  # type: ignore[empty-body]


class Called:
    def __call__(self, body: bytes) -> Quote: ...  # type: ignore[empty-body]


def missing(body: bytes): ...  # type: ignore[no-untyped-def]
def nothing(body: bytes) -> None: ...
async def nothing_awaited(body: bytes) -> None: ...
def anything(body: bytes) -> Any: ...
def thing(body: bytes) -> object: ...
def never(body: bytes) -> NoReturn: ...  # type: ignore[empty-body]
def not_ever(body: bytes) -> Never: ...  # type: ignore[empty-body]
def nothing_later(body: bytes) -> Coroutine[Any, Any, None]: ...  # type: ignore[empty-body]
def unknown(body: bytes) -> T: ...  # type: ignore[empty-body, type-var]


@functools.wraps(one)
def wrapper(body: bytes) -> None: ...


def findings(function: Callable[..., object], *middleware: Any) -> list[Finding]:
    registry = HandlerRegistry(middleware=middleware)
    registry.add(["a.*", "b.*"], function, queue="q")
    found = Routes(Topology(queues=[QueueSpec(name="q")]), registry).check()
    return [finding for finding in found if finding.code == "unused_answer"]


@pytest.mark.parametrize(
    ("function", "named"),
    [(one, "Quote"), (awaited, "Quote"), (later, "dict"), (flag, "bool"), (hidden, "Decimal"), (Called(), "Quote"),
     (marked, "Quote"), (functools.partial(one), "Quote")],
)  # fmt: skip
def test_answer_that_nobody_takes_is_a_warning_once(function: Any, named: str) -> None:
    (finding,) = findings(function)

    assert (finding.severity, finding.witness) == ("warning", "a.x")
    assert named in finding.message
    assert "-> None" in finding.message


@pytest.mark.parametrize(
    "function",
    [missing, nothing, nothing_awaited, anything, thing, never, not_ever, nothing_later, unknown, wrapper],
)
def test_function_that_promises_no_answer_is_fine(function: Any) -> None:
    assert findings(function) == []


def test_answer_may_be_for_middleware() -> None:
    assert findings(one, lambda message, call_next: call_next(message)) == []

"""Signatures: what a handler or a provider may not be, and the full text of each refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any

import pytest

from taskroute import Depends, HandlerRegistry, HandlerSignatureError, Header, Message, RoutingPattern
from taskroute.handlers.arguments import plan_arguments
from taskroute.message.delivery import Delivery


class Service:
    def on_order(self, task: bytes) -> None: ...


def provides_with_body(body: bytes) -> None: ...
def provides_by(it: Annotated[None, Depends(provides_with_body)]) -> None: ...
async def provides_later() -> None: ...


def ends_at_itself(it: Any) -> None: ...


ends_at_itself.__annotations__["it"] = Annotated[None, Depends(ends_at_itself)]


def two_bodies(one: dict, other: dict) -> None: ...  # type: ignore[type-arg]
def positional(body: bytes = b"", /) -> None: ...
def variable(*bodies: bytes) -> None: ...
def keywords(**options: bytes) -> None: ...
def unresolved(body: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def unreadable(body: 1 / 0) -> None: ...  # type: ignore[valid-type]
def marked_twice(body: bytes, tenant: str = Header("x")) -> None: ...  # type: ignore[assignment]
def not_called(body: bytes, tenant: Annotated[str, Header]) -> None: ...
def with_body_in_provider(it: Annotated[None, Depends(provides_with_body)]) -> None: ...
def with_nested_provider(it: Annotated[None, Depends(provides_by)]) -> None: ...
def with_circle(it: Annotated[None, Depends(ends_at_itself)]) -> None: ...
def with_async_provider(it: Annotated[None, Depends(provides_later)]) -> None: ...
def with_text(it: Annotated[None, Depends("text")]) -> None: ...
def with_list(it: Annotated[None, Depends([])]) -> None: ...
def generator(body: bytes) -> Iterator[bytes]:
    yield body


NO_BODY = (
    "nothing feeds parameter 'body'; a provider takes what the pattern captures, Message, Header(...), "
    "Depends(...) and Resource(), and not the body"
)
REFUSALS: dict[Callable[..., Any], str] = {
    two_bodies: "only one parameter can take the body, but one, other remain ('a.{x}' captures x); capture them, "
    "mark them Header(...), Depends(...) or Resource(), or give them defaults",
    positional: "parameter 'body' cannot be passed by name; name each parameter and leave out '/', * and **",
    variable: "parameter '*bodies' cannot be passed by name; name each parameter and leave out '/', * and **"
    "; above a decorator's wrapper write @functools.wraps(function)",
    keywords: "parameter '**options' cannot be passed by name; name each parameter and leave out '/', * and **"
    "; above a decorator's wrapper write @functools.wraps(function)",
    unresolved: "parameter 'body' has an annotation that names 'Nowhere', which its module does not have: define or "
    "import it at module level, not in a function and not under `if TYPE_CHECKING`",
    unreadable: "its signature cannot be read: division by zero",
    marked_twice: "parameter 'tenant' has Header(...) as its default; it belongs in the annotation: "
    "tenant: Annotated[..., Header(...)]",
    not_called: "parameter 'tenant' is marked with Header: write Header(...), with brackets",
    Service.on_order: "it takes self, as a method does that belongs to no object yet: register it from its object, "
    "registry.add(pattern, object.on_order)",
    with_body_in_provider: f"provider {__name__}.provides_with_body: {NO_BODY}",
    with_nested_provider: f"provider {__name__}.provides_by: provider {__name__}.provides_with_body: {NO_BODY}",
    with_circle: f"provider {__name__}.ends_at_itself: providers depend on each other in a circle: "
    f"{__name__}.ends_at_itself -> {__name__}.ends_at_itself",
    with_async_provider: f"it is a plain function, and its provider {__name__}.provides_later is async; "
    "make both plain, or both async",
    with_text: "Depends('text') needs a function",
    with_list: "Depends([]) has no hash, which identifies a provider; pass a bound method, for example its "
    "__call__, or make its class a frozen dataclass",
    generator: "it is a generator function, and calling it would run nothing; write a plain or an async function",
}


@pytest.mark.parametrize("function", REFUSALS, ids=lambda function: function.__name__)
def test_refusal_names_handler_problem_and_way_out(function: Callable[..., Any]) -> None:
    with pytest.raises(HandlerSignatureError) as refused:
        HandlerRegistry().add("a.{x}", function)

    assert str(refused.value) == f"handler {__name__}.{function.__qualname__}: {REFUSALS[function]}"


def test_capture_is_read_before_envelope_header_and_body() -> None:
    def on_message(a: Message, b: Annotated[str, Header("x")], c: Message, d: bytes) -> None: ...

    plan = plan_arguments(on_message, RoutingPattern("{b}.{d}"))
    headers = {"application_headers": {"x": "header"}}
    delivery = Delivery(queue="q", exchange="", routing_key="1.2", body=b"body", properties=headers)

    bound = plan.bind(delivery, {"b": "1", "d": "2"})

    assert plan.body is None
    assert (bound["b"], bound["d"]) == ("1", b"2")
    assert bound["a"] == bound["c"] == delivery.message()


def test_plan_with_one_parameter_more_keeps_its_body() -> None:
    def on_message(body: bytes) -> None: ...

    plan = plan_arguments(on_message, RoutingPattern("#"))
    wider = plan.also("more", lambda *_: 1)

    assert wider.body is plan.body
    delivery = Delivery(queue="q", exchange="", routing_key="", body=b"body", properties={})
    assert wider.bind(delivery, {}) == {"body": b"body", "more": 1}

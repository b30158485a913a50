"""Annotations: names that only a type checker has are named where they matter, and do no harm where they do not.

A name may stand in quotes, in a module that defers its annotations, or, from Python 3.14 on, as it is.
"""

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Annotated, Any, get_args
from unittest.mock import call

import pytest

from taskroute import ConfigurationError, HandlerRegistry, HandlerSignatureError, QueueSpec, Topology
from taskroute.handlers.signature import parameters_of
from taskroute.testing import Harness

MODULE = """
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel

from taskroute import Depends, Header

if TYPE_CHECKING:
    import shapes
    from shapes import Round


class Order(BaseModel):
    id: int


def provided(): ...


def as_body(body: 'Round'): ...
def of_module(body: 'shapes.Round'): ...
def beside_others(body: 'Order | Round'): ...
def inside(body: list['Round']): ...
def as_header(body: bytes, header: Annotated['Round', Header("x")]): ...
def provides(it: 'Round'): ...
def by_provider(body: bytes, it: Annotated[None, Depends(provides)]): ...


def returned(body: 'Order') -> 'Round': ...
def made(body: bytes, it: Annotated['Round', Depends(provided)]): ...
def listed(body: list['Order']): ...
def optional(body: 'list[Order] | None'): ...


class Service:
    def __init__(self, body: 'Round'): ...
    def __call__(self, body: 'Round'): ...
    def method(self, body: list['Order']) -> 'Round': ...


def around(message: 'Round', call_next: 'Round') -> 'Round':
    return call_next(message)


def local():
    class Local(BaseModel):
        id: int

    def handler(body: 'Local'): ...

    return handler
"""
BARE = MODULE.replace("'", "")
FUTURE = "from __future__ import annotations\n"
WAYS = {"in quotes": MODULE, "deferred": FUTURE + BARE, "deferred, in quotes": FUTURE + MODULE}
if sys.version_info >= (3, 14):  # before, Python evaluates annotations at once
    WAYS["lazy"] = BARE


@pytest.fixture(params=WAYS)
def names(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The names of a module that writes its annotations in one of the ways."""
    made: dict[str, Any] = {"__name__": "made"}
    exec(WAYS[request.param], made)
    return made


REFUSED = {
    "as_body": "body",
    "of_module": "body",
    "beside_others": "body",
    "inside": "body",
    "as_header": "header",
    "by_provider": "it",
}


@pytest.mark.parametrize("name", REFUSED)
def test_name_that_is_absent_is_refused_with_the_way_out(names: dict[str, Any], name: str) -> None:
    with pytest.raises(HandlerSignatureError) as refused:
        HandlerRegistry().add("a", names[name])

    error = str(refused.value)
    assert f"parameter {REFUSED[name]!r} has an annotation that names '" in error
    assert "Round', which its module does not have: define or import it at module level, not in a function" in error


@pytest.mark.parametrize("name", ["returned", "made", "listed", "optional"])
def test_name_that_is_absent_does_no_harm_where_no_type_is_needed(names: dict[str, Any], name: str) -> None:
    HandlerRegistry().add("a", names[name])


def test_name_in_quotes_inside_of_a_type_is_read(names: dict[str, Any]) -> None:
    for function in (names["listed"], partial(names["listed"]), wrapped(names["listed"]), method_of(names["Service"])):
        (parameter,) = parameters_of(function)
        assert get_args(parameter.annotation) == (names["Order"],)


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*positional: Any, **named: Any) -> Any: ...

    return wrapper


def method_of(service: Any) -> Any:
    return object.__new__(service).method


@pytest.mark.parametrize("make", [lambda service: service, object.__new__], ids=["class", "object"])
def test_absent_name_of_a_class_or_an_object_is_refused(names: dict[str, Any], make: Callable[[Any], Any]) -> None:
    with pytest.raises(HandlerSignatureError, match="Round', which its module does not have"):
        parameters_of(make(names["Service"]))


def test_class_of_a_function_is_read_or_refused_by_name(names: dict[str, Any]) -> None:
    """It is there at registration, and no text can name it."""
    handler = names["local"]()

    if isinstance(handler.__annotations__["body"], str):
        with pytest.raises(HandlerSignatureError, match=r"'Local', which its module does not have: .* not in a func"):
            HandlerRegistry().add("a", handler)
    else:
        HandlerRegistry().add("a", handler)


def test_function_with_absent_names_is_wrapped_and_recorded(names: dict[str, Any]) -> None:
    """Its parameters have names, whatever their annotations say."""
    queue = QueueSpec(name="q")
    registry = HandlerRegistry(middleware=[names["around"]])
    registry.add("q", names["returned"], queue=queue)

    with Harness(Topology(queues=[queue]), registry) as harness:
        harness.publish({"id": 1}, "q", exchange="")
        harness.drain()

        assert harness.handled(names["returned"]) == [call(names["Order"](id=1))]


def test_middleware_with_absent_names_is_checked(names: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"returned.* cannot be called with a message and what comes next"):
        HandlerRegistry(middleware=[names["returned"]])


def test_text_beside_a_type_is_no_annotation() -> None:
    def handler(body: Annotated[str, "1/0"]) -> None: ...

    (parameter,) = parameters_of(handler)

    assert parameter.annotation == Annotated[str, "1/0"]

"""Code place: which frame of a traceback is the user's, and where it is."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from pydantic import BaseModel

from taskroute.code_place import place_of, place_of_function


def failing(file: str, globals_: dict[str, Any] | None = None, body: str = "raise ValueError") -> Callable[..., Any]:
    """Make a function that raises in line 2, or calls what it is given, as if it stood in a file."""
    namespace: dict[str, Any] = {"__name__": "shop.handlers", "__file__": file} if globals_ is None else globals_
    exec(compile(f"def fail(inner=None):\n    inner() if inner else None\n    {body}", file, "exec"), namespace)
    function: Callable[..., Any] = namespace["fail"]
    return function


def trace_of(function: Callable[..., Any], *arguments: Any) -> TracebackType | None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any
        function(*arguments)
    trace = caught.value.__traceback__
    return None if trace is None else trace.tb_next  # without this file, which is a user's as well


STDLIB = sysconfig.get_path("stdlib")
INSTALLED = "/venv/lib/python3.13/site-packages/shop/handlers.py"


def test_place_is_in_the_code_that_called_a_library() -> None:
    handler = failing("/app/shop.py")

    for library in (INSTALLED, f"{STDLIB}/decoder.py", "/usr/lib/python3/dist-packages/orm.py"):
        assert place_of(trace_of(handler, failing(library, {"__name__": "orm", "__file__": library}))) == "shop.py:2"


def test_place_of_a_call_into_installed_code_is_the_callers() -> None:
    """Real ones: of pydantic, which raises in C for a model and in Python for a field that is missing, and of json."""

    class Order(BaseModel):
        id: int

    order: Any = Order(id=1)
    for call in (lambda: order.total, lambda: Order.model_validate({}), lambda: json.loads("no")):
        assert place_of(trace_of(call)).startswith("test_code_place.py:")


def test_place_in_an_installed_handler_is_in_its_own_package() -> None:
    handler = failing(INSTALLED)
    library = failing("/venv/lib/python3.13/site-packages/orm.py", {"__name__": "orm", "__file__": ""})

    assert place_of(trace_of(handler, library), "shop") == "handlers.py:2"
    assert place_of(trace_of(handler, library), "other") == "orm.py:3"


def test_place_is_innermost_of_the_users_files() -> None:
    """One that is editable is the user's, wherever it is; so is what begins like the path of a library."""
    outer = failing("/app/shop.py")

    for file in ("/home/me/src/mine/tools.py", f"{STDLIB}-mine/tools.py", "/app/my-site-packages/tools.py"):
        assert place_of(trace_of(outer, failing(file))) == "tools.py:3"


def test_place_in_what_was_typed_in_is_the_users() -> None:
    typed_in = failing("<stdin>", {"__name__": "__main__"})

    assert place_of(trace_of(typed_in)) == "<stdin>:3"


def test_place_is_not_in_generated_code() -> None:
    """The methods of a dataclass have no file, and their module has one; other generated code has no module."""
    outer = failing("/app/shop.py")

    for generated in (
        failing("<string>"),
        failing("<attrs generated init Order>", {}),
        failing("<frozen runpy>", {"__name__": "runpy"}),
    ):
        assert place_of(trace_of(outer, generated)) == "shop.py:2"


def test_exception_without_a_traceback_has_no_place() -> None:
    assert place_of(None) == ""


def test_place_of_a_function_is_where_it_begins() -> None:
    def handler() -> None: ...

    class Called:
        def __call__(self) -> None: ...

    lines = Path(__file__).read_text().splitlines()
    first = lines.index("    def handler() -> None: ...") + 1
    name = Path(__file__).name
    assert place_of_function(handler) == f"{name}:{first}"
    assert place_of_function(Called()) == f"{name}:{first + 3}"
    assert place_of_function(len) == ""

"""Functions: the name that errors and logs have for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from taskroute import ConfigurationError, HandlerRegistry
from taskroute.handlers.function import describe


def function() -> None: ...


class Callee:
    def __call__(self) -> None: ...
    @staticmethod
    def static() -> None: ...


@pytest.mark.parametrize(
    ("named", "name"),
    [
        (function, f"{__name__}.function"),
        (partial(partial(function)), f"{__name__}.function"),
        (partial(Callee()), f"{__name__}.Callee"),
        (Callee, f"{__name__}.Callee"),
        (Callee().__call__, f"{__name__}.Callee.__call__"),
        (Callee.__dict__["static"], f"{__name__}.Callee.static"),
        (staticmethod(partial(function)), f"{__name__}.function"),
        (len, "builtins.len"),
        ([].append, "?.list.append"),
    ],
)
def test_name_is_that_of_the_innermost_function(named: Callable[..., Any], name: str) -> None:
    assert describe(named) == name


def test_error_names_the_function_of_a_partial_middleware() -> None:
    def around(log: object, message: object) -> None: ...

    with pytest.raises(ConfigurationError, match=r"^middleware .*<locals>\.around\(message: 'object'\)"):
        HandlerRegistry(middleware=[partial(around, None)])

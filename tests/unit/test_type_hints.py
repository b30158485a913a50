"""Type hints: those of public data classes resolve wherever the class says that it is from."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from taskroute import Depends, Explanation, Finding, Handler, HandlerMatch, Header
from taskroute.graph.explanation import Arrival, Hop


@pytest.mark.parametrize("data", [Arrival, Depends, Explanation, Finding, Handler, HandlerMatch, Header, Hop])
def test_hints_resolve_under_the_name_of_the_package(data: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "__module__", "taskroute")

    hints = get_type_hints(data, include_extras=True)

    assert hints.keys() == {field.name for field in fields(data)}

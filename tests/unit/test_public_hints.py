"""Type hints of public data classes resolve in the package that users import them from."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from taskroute import (
    BindingSpec,
    Event,
    EventSpec,
    ExchangeSpec,
    Message,
    QueueSpec,
    Retry,
    RetryPolicy,
    Topology,
)

DATA_CLASSES = [BindingSpec, Event, EventSpec, ExchangeSpec, Message, QueueSpec, Retry, RetryPolicy, Topology]


@pytest.mark.parametrize("public", DATA_CLASSES, ids=lambda public: public.__name__)
def test_hints_resolve_without_names_of_the_defining_module(public: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "__module__", "taskroute")

    assert get_type_hints(public, include_extras=True).keys() >= set(public.__annotations__)

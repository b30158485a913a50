"""Extras: what a module of an extra says where the extra is not installed."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("extra", "library"),
    [
        ("structlog", "structlog"),
        ("prometheus", "prometheus_client"),
        ("opentelemetry", "opentelemetry"),
    ],
)
def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, extra: str, library: str) -> None:
    module = f"taskroute.instrumentation.{extra}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError) as raised:
        importlib.import_module(module)
    assert str(raised.value) == f"{module} needs {library}: pip install 'taskroute[{extra}]'"
    assert raised.value.name == library

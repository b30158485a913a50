"""Extras: the module of an extra that is not installed names the command that installs it."""

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
def test_missing_extra_is_named_with_its_install_command(
    monkeypatch: pytest.MonkeyPatch, extra: str, library: str
) -> None:
    module = f"taskroute.instrumentation.{extra}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(ModuleNotFoundError) as raised:
        importlib.import_module(module)

    assert str(raised.value) == f"{module} needs {library}: pip install 'taskroute[{extra}]'"
    assert raised.value.name == library

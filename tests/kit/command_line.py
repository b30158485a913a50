"""The command line inside the test's process, in a folder with modules that the test writes."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from taskroute.cli.main import main

WIRING = """
from taskroute import ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology

shop = ExchangeSpec(name="shop")
packing = QueueSpec(name="packing", bindings=[shop.bind("order.*.paid")])
topology = Topology(exchanges=[shop], queues=[packing])
registry = HandlerRegistry()

@registry.handler("order.{number}.paid", queue=packing)
def pack(order: dict, number: int) -> None: ...

routes = Routes(topology, registry)
"""
"""A service without a finding. Its target is `wiring:routes`."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs commands in a folder of their own, which is left as it was found by the interpreter."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys = capsys
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "path", list(sys.path))
        logger = logging.getLogger("taskroute")
        monkeypatch.setattr(logger, "handlers", list(logger.handlers))
        monkeypatch.delenv("TASKROUTE_URL", raising=False)
        self.write("wiring.py", WIRING)

    def write(self, file: str, source: str) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        importlib.invalidate_caches()

    def run(self, *words: str) -> Ended:
        self._capsys.readouterr()
        try:
            code = main(words)
        finally:
            for name, module in list(sys.modules.items()):
                if self._has(module):
                    del sys.modules[name]  # as each process loads them anew
        out, err = self._capsys.readouterr()
        return Ended(code, out, err)

    def _has(self, module: ModuleType) -> bool:
        """Return whether a module is one of the folder. A package may have no file, and folders elsewhere as well."""
        file = getattr(module, "__file__", None)
        places = [file] if file else [*getattr(module, "__path__", ())]
        return bool(places) and all(str(place).startswith(f"{self.folder}/") for place in places)

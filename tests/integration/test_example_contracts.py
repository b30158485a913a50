"""The contracts of the examples, as `taskroute lock` writes them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from taskroute import Contract, Routes

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("example", ["fastapi_service", "flask_service", "media_pipeline", "service"])
def test_contract_of_an_example_is_up_to_date(example: str) -> None:
    """To renew one: taskroute lock EXAMPLE:routes --app-dir examples --file examples/EXAMPLE.lock.json."""
    module = importlib.import_module(f"examples.{example}")

    contract = Contract.of(Routes(module.topology, module.registry))

    assert (EXAMPLES / f"{example}.lock.json").read_text() == contract.text

"""What is public: where it says that it is from, what that costs, and what still works under that name."""

from __future__ import annotations

import ast
import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints, is_typeddict

import pytest
from pydantic import BaseModel, TypeAdapter

import taskroute
import taskroute.instrumentation
import taskroute.testing
from taskroute import CircuitBreaker, Health, Receipt, Stats

PACKAGES = (taskroute, taskroute.instrumentation, taskroute.testing)
ROOT = ast.parse(Path(taskroute.__file__).read_text())


def public_classes() -> Iterator[Any]:
    for package in PACKAGES:
        for name in package.__all__:
            kind = getattr(package, name)
            if isinstance(kind, type):
                yield pytest.param(package, kind, id=f"{package.__name__}.{name}")


@pytest.mark.parametrize(("package", "kind"), list(public_classes()))
def test_public_class_names_the_package_that_it_is_imported_from(package: Any, kind: type) -> None:
    assert f"{kind.__module__}.{kind.__qualname__}" == f"{package.__name__}.{kind.__name__}"


@pytest.mark.parametrize(("package", "kind"), list(public_classes()))
def test_type_hints_of_public_data_resolve_under_that_name(package: Any, kind: type) -> None:
    if is_dataclass(kind) or is_typeddict(kind) or issubclass(kind, BaseModel):
        assert get_type_hints(kind, include_extras=True).keys() >= set(kind.__annotations__)


@pytest.mark.parametrize(
    "value",
    [
        Receipt("media", "video.upload", "m"),
        Health(live=True, ready=True, reasons=()),
        CircuitBreaker(failures=2),
        taskroute.UnroutableError("no queue"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_public_value_can_be_pickled_and_copied(value: Any) -> None:
    for again in (pickle.loads(pickle.dumps(value)), copy.deepcopy(value)):
        assert type(again) is type(value)
        assert repr(again) == repr(value)


@pytest.mark.parametrize("kind", [Health, Stats, Receipt])
def test_pydantic_reads_the_fields_of_public_data(kind: type) -> None:
    """As a web framework does with what an endpoint returns."""
    assert TypeAdapter(kind).json_schema()["title"] == kind.__name__


def test_lazy_names_are_those_that_type_checkers_see() -> None:
    (checked,) = (node for node in ROOT.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    assigned = {ast.unparse(node.targets[0]): node.value for node in ROOT.body if isinstance(node, ast.Assign)}
    lazy = ast.literal_eval(assigned["_DEFINED_IN"])
    imports = {
        (str(node.module).removeprefix("taskroute."), alias.name)
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {(module, name) for module, names in lazy.items() for name in names} == imports
    assert {name for _, name in imports} | {"__version__"} == set(taskroute.__all__)


def test_unknown_name_is_an_attribute_error_and_dir_has_the_others() -> None:
    with pytest.raises(AttributeError, match="module 'taskroute' has no attribute 'Wroker'"):
        taskroute.Wroker  # type: ignore[attr-defined]  # noqa: B018
    assert set(taskroute.__all__) | {"testing", "instrumentation"} <= set(dir(taskroute))


PROGRAM = """
import importlib, os, sys, traceback
import taskroute

failed = []
for name, *_ in taskroute._DEFINED_IN.values():  # each module once: the names of one load the same
    child = os.fork()
    if child == 0:
        try:
            getattr(taskroute, name)
            from taskroute import HandlerRegistry, QueueSpec, Routes, Topology
            jobs = QueueSpec(name="jobs", retry=False)
            assert jobs.retry is False
            Routes(Topology(queues=[jobs]), HandlerRegistry())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        failed.append(name)
print(",".join(failed))
"""


def test_any_public_name_may_be_the_first_that_a_program_asks_for() -> None:
    """The order of imports decides, for example, in which order `typing` keeps the members of a union."""
    done = python(PROGRAM)
    assert done.stdout.strip() == "", done.stderr


def test_import_of_the_package_loads_no_dependency() -> None:
    done = python("import sys, taskroute; print({'pydantic', 'kombu', 'amqp'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


def python(program: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=240, check=True
    )

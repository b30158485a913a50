"""Every example in a docstring runs, in the namespace of a small service, and prints what it says."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

import taskroute
from taskroute import ExchangeSpec, HandlerRegistry, QueueSpec, Topology, Worker, instrumentation
from taskroute.broker.embedded.transport import drop
from taskroute.instrumentation.prometheus import PrometheusInstrumentation
from taskroute.testing import Harness

SOURCE = Path(taskroute.__file__).parent
OPTIONS = doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS


class Video(BaseModel):
    """The body that examples speak of."""

    id: str


media = ExchangeSpec(name="media")
topology = Topology(exchanges=[media], queues=[QueueSpec(name="video", bindings=[media.bind("video.#")])])


def docstrings() -> Iterator[Any]:
    for file in sorted(SOURCE.rglob("*.py")):
        module = ".".join(("taskroute", *file.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node)
                if text and ">>>" in text:
                    name = getattr(node, "name", "module")
                    yield pytest.param(module, text, id=f"{module}.{name}")


@pytest.fixture
def namespace(taskroute_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What examples may take for granted: the public names, and a service whose handler is `transcode`."""
    monkeypatch.setattr(prometheus_client, "REGISTRY", CollectorRegistry())  # nobody else's
    registry = HandlerRegistry()

    @registry.handler("video.{action}", queue="video")
    def transcode(task: Video, action: str) -> None: ...

    public = {name: getattr(taskroute, name) for name in taskroute.__all__}
    public |= {name: getattr(instrumentation, name) for name in instrumentation.__all__ if name not in public}
    with ExitStack() as stack:
        service = {"topology": topology, "registry": registry, "url": taskroute_url, "media": media, "time": time}
        yield public | service | {"Video": Video, "transcode": transcode, "stack": stack}


@pytest.mark.parametrize(("module", "text"), list(docstrings()))
def test_example_in_a_docstring_runs_and_prints_what_it_says(module: str, text: str, namespace: dict[str, Any]) -> None:
    stack: ExitStack = namespace.pop("stack")
    names = namespace | vars(importlib.import_module(module))
    for name in re.findall(r"memory://(\w*)", text):
        stack.callback(drop, name or "default")  # the documentation uses the same names
    if "harness." in text and "with Harness" not in text:
        harness = stack.enter_context(Harness(topology, namespace["registry"]))
        harness.publish(Video(id="1"), "video.upload", exchange=media)
        names["harness"] = harness
    if re.search(r">>>.*\bworker[.)]", text) and "Worker(" not in text:
        names["worker"] = stack.enter_context(Worker(namespace["url"], topology, namespace["registry"]))
    # In a registry of its own: the default one is the process's, and takes each metric once.
    names["PrometheusInstrumentation"] = partial(PrometheusInstrumentation, CollectorRegistry())
    test = doctest.DocTestParser().get_doctest(inspect.cleandoc(text), names, module, None, 0)
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=failures.append)
    assert not failures, "".join(failures)

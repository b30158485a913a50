"""A topology of ten thousand bindings: built, drawn, written as a contract, compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from benchmarks.contestants.task import EXCHANGE, Task
from taskroute import Contract, ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology
from taskroute.graph.drawing.html import as_html
from taskroute.graph.drawing.picture import picture_of
from taskroute.graph.drawing.rendering import as_text
from taskroute.graph.drawing.svg import as_svg

T = TypeVar("T")


def large(task: Task) -> dict[str, float]:
    """Seconds of processor time for each of what the commands do, without starting and importing. Nothing waits in it.

    `changed` is the worst that a comparison can meet: every binding has another key, and an alternate exchange takes
    what no binding does, so that each flow into its queue has every key as an exception.
    """
    seconds: dict[str, float] = {}

    def timed(name: str, function: Callable[[], T]) -> T:
        began = time.process_time()
        result = function()
        seconds[name] = time.process_time() - began
        return result

    queues = min(int(task.options["queues"]), task.count)
    routes = timed("build", lambda: _routes(queues, task.count))
    title = f"{task.count} bindings"
    timed("text", lambda: as_text(picture_of(routes.topology, routes.handlers)))
    timed("svg", lambda: as_svg(picture_of(routes.topology, routes.handlers)))
    timed("html", lambda: _page(routes, title))
    text = timed("lock", lambda: Contract.of(routes).text)
    timed("unchanged", lambda: Contract.of(routes).differences(Contract.read(text)))
    before, now = (_routes(queues, task.count, word=word, alternate=True) for word in ("made", "sold"))
    written = Contract.of(before).text
    found = timed("changed", lambda: Contract.of(now).differences(Contract.read(written)))
    if not any(difference.code == "lost" for difference in found):
        raise RuntimeError("nothing is lost, so this is not what was to be measured")
    return seconds


def _page(routes: Routes, title: str) -> str:
    drawn = picture_of(routes.topology, routes.handlers)
    return as_html(drawn, routes.topology, routes.handlers, routes.check(), title)


def _routes(queues: int, bindings: int, *, word: str = "made", alternate: bool = False) -> Routes:
    """Return that many bindings of that many queues, each with one handler."""
    rest = ExchangeSpec(name="rest", type="fanout")
    exchange = ExchangeSpec(name=EXCHANGE, alternate_exchange=rest if alternate else None)
    registry = HandlerRegistry()
    specs = [
        QueueSpec(
            name=f"queue-{number}",
            bindings=[exchange.bind(f"team-{number}.{word}-{each}.*") for each in range(bindings // queues)],
        )
        for number in range(queues)
    ]
    if alternate:
        specs.append(QueueSpec(name="rest", bindings=[rest.bind()]))
    for spec in specs:
        registry.add("#", _handle, queue=spec)
    return Routes(Topology(exchanges=[exchange, rest] if alternate else [exchange], queues=specs), registry)


def _handle(body: bytes) -> None: ...

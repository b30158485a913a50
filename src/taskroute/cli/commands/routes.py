"""`taskroute routes`: what feeds each queue, which handler takes what of it, and where failed messages go."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.suggestion import known_or_suggest
from taskroute.cli.target import add_target, load_target
from taskroute.cli.terminal import show

if TYPE_CHECKING:
    from taskroute import Handler, QueueSpec, Routes


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_format(parser)
    parser.add_argument("--queue", metavar="NAME", action="append", help="only this queue; may be repeated")


def run(arguments: Namespace) -> int:
    """Print the queues."""
    routes = load_target(arguments).routes()
    names = [queue.name for queue in routes.topology.queues]
    chosen = (
        names if arguments.queue is None else [known_or_suggest("--queue", name, names) for name in arguments.queue]
    )
    queues = [_fields(queue, routes) for queue in routes.topology.queues if queue.name in chosen]
    if arguments.format == "json":
        show_document(queues=queues)
    else:
        _show_text(queues)
    return Exit.OK


def _fields(queue: QueueSpec, routes: Routes) -> dict[str, Any]:
    from taskroute.topology.queue import wait_queues_of

    taking = [handler for handler in routes.handlers if handler.queue in (queue.name, None)]
    return {
        "name": queue.name,
        "type": queue.queue_type,
        "bindings": [
            {"exchange": each.exchange, "binding_key": each.binding_key, "headers": dict(each.headers)}
            for each in queue.bindings
        ],
        "handlers": [_handler(handler) for handler in taking],
        "wait_queues": list(wait_queues_of(queue)),
        "dead_letter_queue": queue.dead_letter_queue,
    }


def _handler(handler: Handler) -> dict[str, object]:
    return {
        "pattern": None if handler.is_fallback else str(handler.pattern),
        "fallback": handler.is_fallback,
        "any_queue": handler.queue is None,
        "handler": handler.name,
    }


def _show_text(queues: Sequence[dict[str, Any]]) -> None:
    for queue in queues:
        show(f"{queue['name']} ({queue['type']})", first_word="bold")
        for binding in queue["bindings"]:
            headers = ", ".join(f"{name}={value!r}" for name, value in binding["headers"].items())
            show(f"from {binding['exchange']}: {headers or binding['binding_key'] or 'everything'}", indent=2)
        for handler in queue["handlers"]:
            what = "fallback" if handler["fallback"] else handler["pattern"]
            show(f"{what} -> {handler['handler']}{' (any queue)' if handler['any_queue'] else ''}", indent=2)
        if not queue["handlers"]:
            show("no handler here", indent=2)
        last = queue["dead_letter_queue"] or "dropped"
        show(f"failed: {' -> '.join([*queue['wait_queues'], last])}", indent=2)
    if not queues:
        show("the topology has no queue")

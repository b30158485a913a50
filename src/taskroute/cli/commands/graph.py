"""`taskroute graph`: the topology with its handlers as a picture, in text, drawn, or for programs that draw."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from taskroute.cli.broker import check_url, nodes_of, note_memory, quieten_log, tls_of, url_of
from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.target import Target, add_target, load_target
from taskroute.cli.terminal import complain, show
from taskroute.cli.uncounted import uncounted

if TYPE_CHECKING:
    from taskroute.graph.drawing.counts import Counts
    from taskroute.graph.drawing.picture import Picture

_PATIENCE: Final = 10.0
"""Seconds for each answer of the broker."""


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    parser.add_argument(
        "--url", metavar="URL", help="of a broker: also show how many messages and consumers its queues have now"
    )
    add_format(parser, *(name for name in _PRINTERS if name not in ("text", "json")))


def run(arguments: Namespace) -> int:
    """Print the picture; 1 if a queue is to be counted and cannot be."""
    from taskroute.graph.drawing import picture

    check_url(arguments.url)
    target = load_target(arguments)
    drawn = picture.picture_of(target.topology, target.handlers)
    if arguments.url is not None:
        drawn = replace(drawn, counts=_count(arguments.url, target))
    _PRINTERS[arguments.format](drawn, target)
    return _told_missing(drawn.counts) if drawn.counts is not None else Exit.OK


def _count(url: str, target: Target) -> Counts:
    """Ask the broker, once. It creates nothing."""
    from taskroute.broker.depths import ask_depths
    from taskroute.graph.drawing.counts import Count, Counts

    nodes = nodes_of(url_of(url, target), tls_of(url, target))
    quieten_log()
    queues = [queue.name for queue in target.topology.all_queues]
    depths = ask_depths(nodes, queues, name="taskroute-graph", timeout=_PATIENCE)
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    note_memory(nodes)
    counts = {
        name: Count(depth) if isinstance(depth, str) else Count("there", depth.ready, depth.consumers)
        for name, depth in depths.items()
    }
    return Counts(at, counts)


def _told_missing(counts: Counts) -> int:
    missing = {name: count.state for name, count in counts.queues.items() if count.state != "there"}
    if not missing:
        return Exit.OK
    complain("graph", uncounted(missing, of=len(counts.queues)))
    return Exit.FINDINGS


def _show_json(picture: Picture, _: Target) -> None:
    from taskroute.graph.drawing.rendering import as_data

    show_document(**as_data(picture))


def _show_text(picture: Picture, _: Target) -> None:
    from taskroute.graph.drawing.rendering import as_text

    for line in as_text(picture).splitlines():
        is_way = line.startswith(" ")
        show(line.lstrip(), indent=2 * is_way, first_word=None if is_way else "bold")


def _show_mermaid(picture: Picture, _: Target) -> None:
    from taskroute.graph.drawing.rendering import as_mermaid

    print(as_mermaid(picture))


def _show_dot(picture: Picture, _: Target) -> None:
    from taskroute.graph.drawing.rendering import as_dot

    print(as_dot(picture))


def _show_svg(picture: Picture, _: Target) -> None:
    from taskroute.graph.drawing.svg import as_svg

    print(as_svg(picture))


def _show_html(picture: Picture, target: Target) -> None:
    from taskroute.graph.drawing.html import as_html

    print(as_html(picture, target.topology, target.handlers, target.check(None), target.text))


_PRINTERS: Final[Mapping[str, Callable[[Picture, Target], None]]] = {
    "text": _show_text,
    "json": _show_json,
    "mermaid": _show_mermaid,
    "dot": _show_dot,
    "svg": _show_svg,
    "html": _show_html,
}

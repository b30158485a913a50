"""`taskroute graph`: the topology with its handlers as a picture, in text, drawn, or for programs that draw."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.target import Target, add_target, load_target
from taskroute.cli.terminal import show

if TYPE_CHECKING:
    from taskroute.graph.drawing.picture import Picture


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_format(parser, *(name for name in _PRINTERS if name not in ("text", "json")))


def run(arguments: Namespace) -> int:
    """Print the picture."""
    from taskroute.graph.drawing import picture

    target = load_target(arguments)
    _PRINTERS[arguments.format](picture.picture_of(target.topology, target.handlers), target)
    return Exit.OK


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

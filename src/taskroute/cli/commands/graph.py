"""`taskroute graph`: the topology with its handlers as a picture, in text, drawn, or for programs that draw."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.target import add_target, load_target
from taskroute.cli.terminal import show

if TYPE_CHECKING:
    from taskroute.graph.drawing.picture import Picture


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_format(parser, *_PRINTERS)


def run(arguments: Namespace) -> int:
    """Print the picture."""
    from taskroute.graph.drawing import picture

    target = load_target(arguments)
    drawn = picture.picture_of(target.topology, target.handlers)
    if arguments.format == "json":
        _show_json(drawn)
    elif arguments.format == "text":
        _show_text(drawn)
    else:
        print(_PRINTERS[arguments.format](drawn))
    return Exit.OK


def _show_json(picture: Picture) -> None:
    from taskroute.graph.drawing.rendering import as_data

    show_document(**as_data(picture))


def _show_text(picture: Picture) -> None:
    from taskroute.graph.drawing.rendering import as_text

    for line in as_text(picture).splitlines():
        is_way = line.startswith(" ")
        show(line.lstrip(), indent=2 * is_way, first_word=None if is_way else "bold")


def _mermaid(picture: Picture) -> str:
    from taskroute.graph.drawing.rendering import as_mermaid

    return as_mermaid(picture)


def _dot(picture: Picture) -> str:
    from taskroute.graph.drawing.rendering import as_dot

    return as_dot(picture)


def _svg(picture: Picture) -> str:
    from taskroute.graph.drawing.svg import as_svg

    return as_svg(picture)


_PRINTERS: Final[Mapping[str, Callable[[Picture], str]]] = {"mermaid": _mermaid, "dot": _dot, "svg": _svg}

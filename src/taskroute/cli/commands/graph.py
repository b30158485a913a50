"""`taskroute graph`: the topology with its handlers as a picture, in text or for programs that draw."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.target import add_target, load_target
from taskroute.cli.terminal import show


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_format(parser, "mermaid", "dot")


def run(arguments: Namespace) -> int:
    """Print the picture."""
    from taskroute.graph.drawing import picture, rendering

    target = load_target(arguments)
    drawn = picture.picture_of(target.topology, target.handlers)
    if arguments.format == "json":
        show_document(**rendering.as_data(drawn))
    elif arguments.format == "text":
        for line in rendering.as_text(drawn).splitlines():
            is_way = line.startswith(" ")
            show(line.lstrip(), indent=2 * is_way, first_word=None if is_way else "bold")
    else:
        print(rendering.as_dot(drawn) if arguments.format == "dot" else rendering.as_mermaid(drawn))
    return Exit.OK

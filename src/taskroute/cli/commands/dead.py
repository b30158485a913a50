"""`taskroute dead`: look at dead letters, send them again, remove, move, export and import them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from taskroute.cli.dead.verbs import VERBS


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes: a verb, each with arguments of its own."""
    choice = parser.add_subparsers(title="what to do", metavar="VERB", dest="verb", required=True)
    for verb in VERBS:
        child = choice.add_parser(
            verb.name,
            help=verb.help,
            description=f"{verb.help.capitalize()}.",
            epilog=parser.epilog,
            allow_abbrev=False,
        )
        verb.add_arguments(child)
        child.set_defaults(do=verb.run, refuse=getattr(child, "refuse", None))


def run(arguments: Namespace) -> int:
    """Do what the verb says."""
    code: int = arguments.do(arguments)
    return code

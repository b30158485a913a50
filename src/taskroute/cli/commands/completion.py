"""`taskroute completion`: what a shell needs to complete commands and options. Needs the extra `completion`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from taskroute.cli.exits import Exit, UsageError


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def run(arguments: Namespace) -> int:
    """Print the script for a shell."""
    try:
        import shtab
    except ImportError:
        raise UsageError("completion needs shtab: pip install shtab") from None
    print(shtab.complete(arguments.make_whole_parser(), shell=arguments.shell))
    return Exit.OK

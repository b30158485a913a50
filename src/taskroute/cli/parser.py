"""Parser: the arguments of the command line. Loads the file of the command that is asked for, and no other."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from typing import Final, NoReturn

from taskroute import __version__
from taskroute.cli.exits import UsageError
from taskroute.cli.suggestion import hint
from taskroute.cli.table import COMMANDS, Command
from taskroute.cli.typed import typed

_PROGRAM: Final = "taskroute"
_EXIT_CODES: Final = (
    "exit codes: 0 fine; 1 findings, or not everything was done; 2 an argument is wrong, or the target cannot be "
    "imported; 3 the broker is away, denies it, or has something else"
)
_MAYBE_URL: Final = re.compile(r"\S*:\S*@\S*")


class Parser(ArgumentParser):
    """A parser that raises `UsageError` where another one would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the command and the way out."""
        told = _MAYBE_URL.sub("(not repeated: it may hold a password)", message.removeprefix("argument "))
        raise UsageError(f"{told}; see {self.prog} --help")

    def refuse(self, words: Sequence[str]) -> NoReturn:
        """Raise UsageError for words that are none of its arguments."""
        option = next((word.partition("=")[0] for word in words if word.startswith("-") and word != "-"), None)
        if option is None:
            self.error(f"unrecognized arguments: {' '.join(words)}")
        known = [known for action in self._actions for known in action.option_strings if known.startswith("--")]
        self.error(f"there is no option {typed(option)}{hint(option, known)}")


def make_parser(commands: Sequence[Command]) -> Parser:
    """Return the parser with the arguments of some commands; the others have none."""
    parser = Parser(
        prog=_PROGRAM, description="Check, explain and run a service on RabbitMQ.", allow_abbrev=False, add_help=False
    )
    parser.add_argument("-h", "--help", action="help", help="show this help, or that of a command, and exit")
    parser.add_argument(
        "--version", action="version", version=f"{_PROGRAM} {__version__}", help="show the version and exit"
    )
    parser.set_defaults(make_whole_parser=partial(make_parser, COMMANDS))  # for completion
    choice = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for command in COMMANDS:
        child = choice.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help.capitalize()}.",
            epilog=_EXIT_CODES,
            allow_abbrev=False,
        )
        if command in commands:
            module = command.load()
            module.add_arguments(child)
            child.set_defaults(run=module.run, refuse=child.refuse)
    return parser


def check_command(name: str) -> None:
    """Raise UsageError for the first word of a command line if it is neither a command nor an option."""
    names = [command.name for command in COMMANDS]
    if name.startswith("-") and name not in ("-h", "--help", "--version"):
        make_parser([]).refuse([name])
    if not name.startswith("-") and name not in names:
        raise UsageError(f"there is no command {typed(name)}{hint(name, names)}; see {_PROGRAM} --help")

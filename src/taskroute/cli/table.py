"""The table of commands. A command's file is loaded when the command is asked for, and by completion."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from importlib import import_module
from keyword import iskeyword
from typing import Final, Protocol


class Module(Protocol):
    """A command's file."""

    def add_arguments(self, parser: ArgumentParser, /) -> None:
        """Say what the command takes."""

    def run(self, arguments: Namespace, /) -> int:
        """Do it, and return an exit code; see `exits`."""


@dataclass(frozen=True, slots=True)
class Command:
    """A row of the table.

    Attributes:
        name: as it is typed.
        help: one line.
    """

    name: str
    help: str

    def load(self) -> Module:
        """Return its file, which has its name; no module can be named by a keyword."""
        file = f"{self.name}_" if iskeyword(self.name) else self.name
        module: Module = import_module(f"taskroute.cli.commands.{file}")
        return module


COMMANDS: Final = (
    Command("check", "find what is wrong with a topology and its handlers"),
    Command("explain", "show where a routing key goes, and which handler takes it"),
    Command("routes", "list the queues, what feeds them and who handles what"),
    Command("graph", "draw the topology with its handlers"),
    Command("run", "run a service, in one process or several, until a signal"),
    Command("health", "ask a running service whether it is ready"),
    Command("publish", "publish a message, and print its id once it is confirmed"),
    Command("stats", "count the messages in the queues"),
    Command("new", "make a folder with a service that runs at once"),
    Command("lock", "write what the service does into a file, or check what changed since"),
    Command("dead", "look at dead letters, send them again, remove, move, export and import them"),
    Command("completion", "print the completion script of a shell"),
    Command("schema", "describe the topology with its handlers for other tools"),
    Command("import", "print the Python of a topology that a broker has already"),
    Command("plan", "compare topologies with a broker, and show what has to be done"),
    Command("apply", "create and bind what topologies declare and a broker lacks"),
    Command("prune", "unbind and delete what is retired or stale, once it is empty"),
)


def command_named(name: str) -> Command | None:
    """Return the command of that name."""
    return next((command for command in COMMANDS if command.name == name), None)

"""The table of verbs of `taskroute dead`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from taskroute.cli.dead import counting, exporting, importing, listing, moving, removing, retrying, showing


@dataclass(frozen=True, slots=True)
class Verb:
    """A row of the table: the name, a line of help, what it takes, and what does it."""

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


VERBS: Final = (
    Verb("list", "list letters, those of workers first", listing.add_arguments, listing.run),
    Verb("show", "show letters with body, headers, traceback and history", showing.add_arguments, showing.run),
    Verb("stats", "count letters by what they have in common", counting.add_arguments, counting.run),
    Verb("retry", "send letters back to the queue that they failed in", retrying.add_arguments, retrying.run),
    Verb("remove", "write letters to a file, and then remove them", removing.add_arguments, removing.run),
    Verb("move", "move letters to another queue of the target", moving.add_arguments, moving.run),
    Verb("export", "write letters as lines of JSON, and leave them", exporting.add_arguments, exporting.run),
    Verb("import", "put letters of a file back where they lay", importing.add_arguments, importing.run),
)

"""Document: what a command says to a program, as JSON with a version."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Final

VERSION: Final = 1
"""Of every JSON output. Fields may come; one that goes or changes its meaning has another version."""


def add_format(parser: ArgumentParser, *others: str) -> None:
    """Give a command the option --format."""
    formats = ("text", "json", *others)
    parser.add_argument("--format", choices=formats, default="text", help="text, for people, if left out")


def show_document(**fields: object) -> None:
    """Print a document with these fields after its version."""
    print(json.dumps({"version": VERSION, **fields}, indent=2))

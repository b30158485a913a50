"""`taskroute new`: a folder with a service that runs at once, its test, and what it is deployed with."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import taskroute
from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.terminal import show

_FILES: Final = {
    "$package/__init__.py": "package/__init__.py.txt",
    "$package/topology.py": "package/topology.py.txt",
    "$package/handlers.py": "package/handlers.py.txt",
    "$package/service.py": "package/service.py.txt",
    "tests/test_$package.py": "test.py.txt",
    "deploy/$name.service": "unit.txt",
    "Containerfile": "Containerfile.txt",
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
}
"""Where in the new folder each file of `cli/project` goes. They end in .txt, as they are no modules of this package."""

_TAKEN: Final = frozenset(
    {"amqp", "deploy", "kombu", "pydantic", "pytest", "taskroute", "tests", *sys.stdlib_module_names}
)
"""Names that a package would hide from others, or from itself."""


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("folder", metavar="FOLDER", help="to make; its last part is the name of the service")


def run(arguments: Namespace) -> int:
    """Write the files, and say what can be done with them."""
    folder = Path(arguments.folder)
    try:
        name = folder.resolve().name
        words = {"name": name, "package": _package(name), "version": taskroute.__version__}
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"FOLDER {arguments.folder!r} has files in it: name one that is empty, or not there yet")
        for place, source in _FILES.items():
            path = folder / Template(place).substitute(words)
            path.parent.mkdir(parents=True, exist_ok=True)
            text = files("taskroute.cli").joinpath("project", source).read_text(encoding="utf-8")
            path.write_text(Template(text).substitute(words), encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"FOLDER {arguments.folder!r} cannot be written: {why}") from None
    for line in _next_steps(arguments.folder, words):
        show(line)
    return Exit.OK


def _package(name: str) -> str:
    """Return the name of the package for a folder.

    >>> _package("my-shop")
    'my_shop'
    """
    package = re.sub(r"[.-]+", "_", name).lower()
    if not re.fullmatch(r"[A-Za-z][\w.-]*[A-Za-z0-9]|[A-Za-z]", name, re.ASCII) or keyword.iskeyword(package):
        raise UsageError(f"FOLDER: {name!r} cannot be the name of a package: use letters, digits and -")
    if package in _TAKEN:
        raise UsageError(f"FOLDER: a package named {package!r} would hide another one: choose another name")
    return package


def _next_steps(folder: str, words: Mapping[str, str]) -> list[str]:
    package, is_here = words["package"], Path(folder) == Path()
    return [
        f"{words['name'] if is_here else folder} has a service of two handlers, with a test. Try:",
        *([] if is_here else [f"  cd {shlex.quote(folder)}"]),
        f"  taskroute check {package}.service:service",
        f"  taskroute run {package}.service:service",
        "  pytest",
        "It runs without a server until TASKROUTE_URL names one.",
    ]

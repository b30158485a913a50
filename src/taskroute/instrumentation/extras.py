"""Extras: an error that says what to install where a library is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Enter around the imports of an extra, so that an error names the extra.

    Raises:
        ModuleNotFoundError: one of them is not installed.

    Example:
        >>> with extra("structlog"):
        ...     import structlog
    """
    try:
        yield
    except ModuleNotFoundError as error:
        # Without this, the error seems to come from a file that shadows the library, as both have the same name.
        text = f"taskroute.instrumentation.{name} needs {error.name}: pip install 'taskroute[{name}]'"
        raise ModuleNotFoundError(text, name=error.name) from error

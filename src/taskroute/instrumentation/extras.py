"""Extras: what to install where a library of an instrumentation is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Around the imports of what only an extra installs: an error names it.

    Raises:
        ModuleNotFoundError: one of them is not installed.

    Example:
        >>> with extra("structlog"):
        ...     import structlog
    """
    try:
        yield
    except ModuleNotFoundError as error:
        # By itself it would come from a file named as the library is, and look as if that one were in the way.
        text = f"taskroute.instrumentation.{name} needs {error.name}: pip install 'taskroute[{name}]'"
        raise ModuleNotFoundError(text, name=error.name) from error

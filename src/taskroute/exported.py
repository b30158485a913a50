"""Exported: a public class names the package that users import it from, wherever it is defined.

So that name is what a repr, a traceback, a pickle and the documentation show. Modules that define public data classes
have no `from __future__ import annotations`: type hints are looked up in the module that a class names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Kind = TypeVar("Kind", bound=type)


def exported_by(package: str) -> Callable[[Kind], Kind]:
    """Have the decorated class name `package` as its module.

    Example:
        >>> @exported_by("taskroute")
        ... class Receipt: ...
        >>> Receipt
        <class 'taskroute.Receipt'>
    """

    def name(kind: Kind) -> Kind:
        kind.__module__ = package
        return kind

    return name

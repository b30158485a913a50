"""Places: in which lines of its file the entries of a contract stand. Pure."""

from __future__ import annotations

from taskroute.graph.contract.difference import Difference
from taskroute.graph.contract.entries import SECTIONS
from taskroute.graph.contract.lines import Lines
from taskroute.graph.contract.naming import name_of


class Places:
    """The lines of a contract's file. Immutable.

    Args:
        contract: what was read from the file.
        text: of the file. Where something else has formatted it, nothing has a line.
    """

    def __init__(self, contract: Lines, text: str) -> None:
        numbers = {line.strip().removesuffix(","): number for number, line in enumerate(text.splitlines(), 1)}
        self._by_name: dict[str, int] = {}
        for section in SECTIONS:
            for entry in getattr(contract, section):
                if section not in ("retired", "allowed") and entry.line in numbers:
                    self._by_name.setdefault(name_of(entry), numbers[entry.line])

    def line_of(self, difference: Difference) -> int | None:
        """Return the line of the entry that a difference is about, or else that of its queue; None if there is none."""
        queue = difference.queue or ""
        for_any_queue = f"*:{difference.name.removeprefix(f'{queue}:')}"
        lines = (self._by_name.get(name) for name in (difference.name, for_any_queue, queue))
        return next((line for line in lines if line is not None), None)

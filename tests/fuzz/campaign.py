"""Campaign: many sequences against one broker; what differs is shrunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from tests.fuzz.brokers import embedded_client
from tests.fuzz.client import Client
from tests.fuzz.comparison import PATIENCE, Difference, Undecided, compare, names_of
from tests.fuzz.generation import Generation
from tests.fuzz.known import Known, explanation
from tests.fuzz.operations import Operation
from tests.fuzz.shrinking import shrunk

from taskroute.broker.embedded.rules import Rules

_CERTAINLY = 5
"""How many times as patient the last look at a difference is."""


class Campaign:
    """Sequences on embedded brokers, each new, and on one other broker.

    Args:
        rules: what the embedded brokers follow.
        other: a client of the other broker.
        patience: seconds without news after which nothing more is expected of it.

    Attributes:
        tally: how the sequences ended; those of shrinking are not among them.
    """

    def __init__(self, rules: Rules, other: Client, *, patience: float = PATIENCE) -> None:
        self.tally: Counter[str] = Counter()
        self._rules = rules
        self._other = other
        self._patience = patience
        self._number = 0

    def run(self, seed: int, number: int) -> Difference | None:
        """Try the sequence of that number; return the difference that nobody knows."""
        result = self.follow(Generation(Random(f"{seed}.{number}")).sequence())
        self.tally[self._ending(result)] += 1
        return result if isinstance(result, Difference) and not self._explanation(result) else None

    def shrink(self, difference: Difference) -> Difference | None:
        """Return a small sequence's difference, None if there is none at a last and patient look."""
        found = self.follow(shrunk(difference.done, self._is_different), patience=self._patience * _CERTAINLY)
        return found if isinstance(found, Difference) else None

    def follow(self, sequence: Sequence[Operation], *, patience: float | None = None) -> Difference | Undecided | None:
        """Compare one sequence."""
        self._number += 1
        self._other.begin(names_of(self._number))
        try:
            with embedded_client(self._rules) as embedded:
                return compare(sequence, embedded, self._other, self._patience if patience is None else patience)
        finally:
            self._other.end()

    def _explanation(self, difference: Difference) -> Known | None:
        return explanation(difference, self._rules.release)

    def _is_different(self, sequence: Sequence[Operation]) -> bool:
        result = self.follow(sequence)
        return isinstance(result, Difference) and not self._explanation(result)

    def _ending(self, result: Difference | Undecided | None) -> str:
        if result is None:
            return "same"
        if isinstance(result, Undecided):
            return f"undecided: {result.value}"
        known = self._explanation(result)
        return f"known: {known.id}" if known else "different"

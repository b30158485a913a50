"""Finding: one hole in the graph."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

from dataclasses import dataclass
from typing import Literal

from taskroute.exported import exported_by
from taskroute.graph.check.code import Code
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec

Severity = Literal["error", "warning", "info"]


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Finding:
    """One hole in the graph.

    Attributes:
        code: what kind of hole.
        severity: ``error``: cannot work as written; ``warning``: works, and surely not as meant; ``info``: worth
            knowing.
        subject: the queue, exchange, handler or event.
        witness: a routing key that shows it, None where no key can (nothing reaches the subject at all).
        message: what is wrong, and what to do.
    """

    code: Code
    severity: Severity
    subject: str
    witness: str | None
    message: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code}: {self.message}"


def name_of(subject: object) -> str:
    """Return what findings call a queue, an exchange, a handler or an event."""
    if isinstance(subject, QueueSpec):
        return f"queue {subject.name!r}"
    if isinstance(subject, ExchangeSpec):
        return f"exchange {subject.name!r}"
    return str(subject)

"""Difference: one thing that a contract says otherwise than an earlier one."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from taskroute.exported import exported_by

DifferenceCode = Literal["lost", "refused", "replace", "undecided", "compatible"]
_SEVERITIES: Final[Mapping[str, Literal["error", "warning", "info"]]] = {
    "lost": "error",
    "refused": "error",
    "replace": "error",
    "undecided": "warning",
    "compatible": "info",
}
_NOTHING: Final[Mapping[str, str | int | bool]] = MappingProxyType({})


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a contract says otherwise than an earlier one.

    Attributes:
        code: ``lost``: messages that were handled, or brought to a queue, are not any more; ``refused``: a body that
            was read is not any more, or one that is written now is not read by what still runs; ``replace``: a queue or
            an exchange cannot be changed as it is; ``undecided``: too hard to decide; ``compatible``: harms nobody.
        name: what it is about; ``CODE:NAME`` allows it.
        message: what is wrong, and what to do.
        exchange: where the message that shows it is published; empty is the default exchange.
        key: its routing key, None where no message shows it.
        queue: the queue that it is about, if it is one.
        headers: its headers.
        body: its body.
        declared: what a queue or an exchange that is to be replaced is declared with.
        allowed: whether the contract allows it.
    """

    code: DifferenceCode
    name: str
    message: str
    exchange: str | None = None
    key: str | None = None
    queue: str | None = None
    headers: Mapping[str, str | int | bool] = field(default_factory=lambda: _NOTHING)
    body: str | None = None
    declared: Mapping[str, str | int | bool] = field(default_factory=lambda: _NOTHING)
    allowed: bool = False

    @property
    def severity(self) -> Literal["error", "warning", "info"]:
        """``error`` for what is lost, refused or to be replaced, unless it is allowed."""
        return "info" if self.allowed else _SEVERITIES[self.code]

    @property
    def allowance(self) -> str:
        """What allows it."""
        return f"{self.code}:{self.name}"

    def __str__(self) -> str:
        return f"{'allowed ' if self.allowed else ''}{self.code}: {self.message}"

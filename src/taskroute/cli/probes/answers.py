"""Answers: what is said to those who probe a service, of one process or of several. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

from taskroute.cli.document import VERSION
from taskroute.cli.report import Report

SILENT_AFTER: Final = 30.0
"""Seconds after which a process that says nothing is taken for one that hangs."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of several processes: what it said last, and how many seconds ago."""

    number: int
    pid: int
    phase: str
    report: Report
    silent_for: float

    @property
    def is_silent(self) -> bool:
        """Whether it hangs."""
        return self.silent_for >= SILENT_AFTER


class Answering(Protocol):
    """Whoever can be probed. Called on the threads of a server."""

    def health(self) -> dict[str, Any]:
        """Return what `/live` and `/ready` show, with `live` and `ready` in it."""
        ...

    def metrics(self) -> str:
        """Return what `/metrics` shows.

        Raises:
            NoMetricsError: there is nothing to show.
        """
        ...


def of_one(report: Report) -> dict[str, Any]:
    """Return the health of a process that is alone."""
    return {"version": VERSION, **_shown(report)}


def of_several(members: Sequence[Member], wanted: int, *, is_ending: bool) -> dict[str, Any]:
    """Return the health of several processes that share the work of one service.

    It is ready when as many as there are to be do their work. It lives unless one of them hangs or can work no more,
    which is not mended by starting others beside it; one that has died is started again, and is no reason.
    """
    doing = [member for member in members if member.phase == "ready" and member.report.ready and not member.is_silent]
    reasons = ["draining"] if is_ending else []
    for member in members:
        if member.is_silent:
            reasons.append(f"process {member.number}: says nothing for {member.silent_for:.0f} s")
        elif member.phase != "draining":
            reasons += [f"process {member.number}: {reason}" for reason in member.report.reasons]
    if not is_ending and len(doing) < wanted:
        reasons.append(f"{len(doing)} of {wanted} processes are ready")
    return {
        "version": VERSION,
        "live": all(member.report.live and not member.is_silent for member in members),
        "ready": not is_ending and len(doing) >= wanted,
        "reasons": reasons,
        "warnings": [f"process {each.number}: {warning}" for each in members for warning in each.report.warnings],
        "processes": [
            {"number": each.number, "pid": each.pid, "state": each.phase, **_shown(each.report)} for each in members
        ],
    }


def _shown(report: Report) -> dict[str, Any]:
    fields = asdict(report)
    return {name: value for name, value in fields.items() if name not in ("waiting", "drain_seconds")}

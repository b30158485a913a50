"""Answers: what a server of probes asks of the parent, for all its processes. Called on the server's threads."""

from __future__ import annotations

import time
from typing import Any, Final

from taskroute.cli.exposition import NoMetricsError, merged
from taskroute.cli.probes.answers import Member, of_several
from taskroute.cli.supervisor.supervisor import Supervisor

_METRICS_TIMEOUT: Final = 5.0


class Answers:
    """What the parent knows of its children, and asks of them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def health(self) -> dict[str, Any]:
        """Return what `/live` and `/ready` show: what the children said last."""
        now, supervisor = time.monotonic(), self._supervisor
        members = [
            Member(child.number, child.pid, child.phase, child.report, now - child.reported_at)
            for child in supervisor.children
        ]
        return of_several(members, supervisor.wanted, is_ending=supervisor.is_ending)

    def metrics(self) -> str:
        """Return what `/metrics` shows. A child that does not answer in time is left out."""
        scrape = self._supervisor.scrapes.ask(_METRICS_TIMEOUT)
        texts, problems = scrape.texts, scrape.problems
        if problems and not texts:
            raise NoMetricsError(problems[0])
        return merged(texts)

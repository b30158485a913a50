"""Exposition: metrics of several processes, one text for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BACKLOG: Final = "taskroute_queue_messages_ready"
DEAD_LETTERS: Final = "taskroute_dead_letter_queue_messages"
SHARED: Final = frozenset({BACKLOG, DEAD_LETTERS})
"""The metrics of what all processes see alike. Their samples come with their times, and without a process."""

_HELP: Final = "# HELP "


class NoMetricsError(Exception):
    """There are no metrics to show; the text says the way out."""


def merged(texts: Iterable[str]) -> str:
    r"""Return one text of several, in which the samples of a metric stand together, as the format asks for.

    >>> print(merged(["# HELP a b\na{process=\"1\"} 1\n", "# HELP a b\na{process=\"2\"} 5\n"]), end="")
    # HELP a b
    a{process="1"} 1
    a{process="2"} 5
    """
    metrics: dict[str, list[str]] = {}
    for text in texts:
        lines, is_first = metrics.setdefault("", []), True
        for line in text.splitlines():
            if line.startswith(_HELP):
                name = line.split(" ", 3)[2]
                is_first = name not in metrics
                lines = metrics.setdefault(name, [])
            if is_first or not line.startswith("#"):  # the heading of another process may be of another release
                lines.append(line)
    return "".join(
        f"{line}\n" for name, lines in metrics.items() for line in (_newest(lines) if name in SHARED else lines)
    )


def _newest(lines: Iterable[str]) -> list[str]:
    """Return the heading, and each sample once: the one with the latest time, and without that."""
    heading: list[str] = []
    newest: dict[str, tuple[int, str]] = {}
    for line in lines:
        if line.startswith("#"):
            heading.append(line)
        else:
            sample, _, time = line.rpartition(" ")
            series = sample.rpartition(" ")[0]
            newest[series] = max(newest.get(series, (0, "")), (int(time), sample))
    return heading + [sample for _, sample in newest.values()]

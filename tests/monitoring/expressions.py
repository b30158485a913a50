"""Which metrics an expression of PromQL reads, and how it is tried without Grafana."""

from __future__ import annotations

import re
from typing import Final

_NO_METRIC: Final = re.compile(
    r'"(?:[^"\\]|\\.)*"'  # a string
    r"|\{[^}]*\}"  # labels that are looked for
    r"|\[[^\]]*\]"  # a range
    r"|\b(?:\w+\s+)?(?:by|without)\s*\([^)]*\)"  # with the aggregation before it
    r"|\b(?:on|ignoring|group_left|group_right)\s*\([^)]*\)"
    r"|\boffset\s+\w+"
    r"|\b(?:and|or|unless|bool)\b"
    r"|\b\w+\s*\("  # a function
    r"|\b[0-9][\w.]*"
)

_VARIABLES: Final = {"$__rate_interval": "1m", "$job": ".+"}


def metrics_in(expression: str) -> frozenset[str]:
    """Return the names of the metrics.

    >>> sorted(metrics_in('sum by (job) (rate(a_total{b="c"}[5m])) > 0.1 * d or up == 0 unless e offset 5m'))
    ['a_total', 'd', 'e', 'up']
    """
    without_strings = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)  # as they may hold a bracket
    return frozenset(re.findall(r"[a-zA-Z_:][\w:]*", _NO_METRIC.sub(" ", without_strings)))


def without_variables(expression: str) -> str:
    """Return an expression with what Grafana would put for its variables."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression

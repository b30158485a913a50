"""HTML: the picture as one page that answers questions, in a file that asks nobody for anything. Pure.

The page has a strict policy: only its own scripts and styles run, known by their hashes, and nothing is loaded. What
comes from outside is text of the drawing or JSON that its script reads; the script makes elements of it, never markup.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape
from typing import Final

from taskroute.graph.check.finding import Finding
from taskroute.graph.drawing.facts import facts_of, places_of
from taskroute.graph.drawing.picture import Picture
from taskroute.graph.drawing.svg import drawn, page_file, summary
from taskroute.handlers.handler import Handler
from taskroute.quoting import escaped
from taskroute.topology.topology import Topology

_SEVERITIES: Final = ("error", "warning", "info")
_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")


def as_html(
    picture: Picture, topology: Topology, handlers: Sequence[Handler], findings: Sequence[Finding], title: str
) -> str:
    """Return the page.

    Args:
        picture: what is drawn.
        topology: what it was made of, for the answers.
        handlers: the same.
        findings: what is wrong with both.
        title: what the page is of.
    """
    places = places_of(topology, handlers, findings)
    drawing = drawn(picture, {node: told(found) for node, found in places.items()})
    style = page_file("drawing.css") + page_file("page.css")
    scripts = page_file("routing.js"), page_file("page.js")
    size = f'viewBox="0 0 {drawing.width:.1f} {drawing.height:.1f}" width="{drawing.width:.0f}"'
    parts = {
        "title": escape(escaped(title)),
        "summary": escape(summary(picture)),
        "time": f"Queues as they were at {escape(picture.counts.at)}." if picture.counts else "",
        "policy": _policy(style, scripts),
        "style": style,
        "drawing": f'<svg id="drawing" {size} height="{drawing.height:.0f}">\n{drawing.body}\n</svg>',
        "facts": _json(facts_of(picture, topology, handlers, findings)),
        "routing": scripts[0],
        "page": scripts[1],
    }
    return _PLACE.sub(lambda place: parts[place[1]], page_file("page.html"))


def told(findings: Iterable[Finding]) -> str:
    """Return how many findings of each severity there are, the worst first.

    >>> told([])
    ''
    """
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(
        f"{counts[severity]} {severity}{'s' * (counts[severity] > 1 and severity != 'info')}"
        for severity in _SEVERITIES
        if counts[severity]
    )


def _policy(style: str, scripts: Iterable[str]) -> str:
    """Return the policy: scripts and styles by their hashes, no other source of anything."""
    hashes = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; img-src data:; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _json(data: object) -> str:
    """Return JSON that can end no element, whatever names are in it."""
    text = json.dumps(data, separators=(",", ":"))  # ASCII: what is not is escaped
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

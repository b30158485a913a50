"""The page of a picture, as far as it can be read without a browser: tests/browser has the rest."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser

from taskroute import ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology
from taskroute.graph.drawing.html import as_html, told
from taskroute.graph.drawing.picture import picture_of

shop = ExchangeSpec(name="</script><script>alert(1)</script>\u2028{{facts}}")
packing = QueueSpec(name='"><img src=x onerror=alert(1)>', bindings=[shop.bind("order.#")])
topology = Topology(queues=[packing])
ROUTES = Routes(topology, HandlerRegistry())
PAGE = as_html(picture_of(topology, ()), topology, (), ROUTES.check(), "<i>{{policy}}")


def attributes_of(page: str) -> set[str]:
    """Return the names of all attributes of a page's elements."""
    names: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            names.update(name for name, _ in attrs)

    Reader().feed(page)
    return names


def test_policy_names_each_script_and_style_and_nothing_else() -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)">', PAGE)
    blocks = re.findall(r"<(script|style)>(.*?)</\1>", PAGE, re.DOTALL)

    hashes = {f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for _, text in blocks}
    assert len(blocks) == 3
    assert set(re.findall(r"'sha256-.*?'", policy)) == hashes
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert [name for name in attributes_of(PAGE) if name == "style" or name.startswith("on")] == []


def test_names_cannot_leave_their_place_in_the_page() -> None:
    assert "<img" not in PAGE
    assert "<i>" not in PAGE
    assert "alert(1)</script>" not in PAGE
    assert PAGE.count("</script>") == 3
    assert "\u2028" not in PAGE
    assert "&lt;i&gt;{{policy}}" in PAGE


def test_facts_are_json_with_every_name_as_it_is() -> None:
    (text,) = re.findall(r'<script id="facts" type="application/json">(.*?)</script>', PAGE, re.DOTALL)

    facts = json.loads(text)

    assert facts["exchanges"][0]["name"] == shop.name
    assert facts["bindings"][0]["to"] == packing.name
    assert facts["findings"][0]["node"] == facts["queues"][0]["node"]


def test_findings_are_counted_by_severity_with_the_worst_first() -> None:
    findings = ROUTES.check()

    assert told(findings) == "1 info"
    assert told([*findings, *findings]) == "2 info"

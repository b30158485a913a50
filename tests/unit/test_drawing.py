"""The route graph as a picture, and its forms."""

from __future__ import annotations

import json

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, RetryPolicy, Topology
from taskroute.graph.drawing.picture import Edge, Node, Picture, picture_of
from taskroute.graph.drawing.rendering import as_data, as_dot, as_mermaid, as_text

late = ExchangeSpec(name="late", type="fanout")
shop = ExchangeSpec(name="shop", alternate_exchange=late)
audit = ExchangeSpec(name="audit", type="headers", bindings=[shop.bind("#")])
paid = EventSpec(pattern="order.{number}.paid", exchange=shop, body=dict)
packing = QueueSpec(name="packing", bindings=[paid], retry=RetryPolicy(delays=(1, 0.5)))
leftover = QueueSpec(name="leftover", bindings=[late.bind()], retry=False, dead_letter=packing)
log = QueueSpec(name="log", bindings=[audit.bind(headers={"level": "high"})], retry=False, dead_letter=False)
topology = Topology(exchanges=[shop, late, audit], queues=[packing, leftover, log], events=[paid])
registry = HandlerRegistry()


@registry.handler("order.{number}.paid", queue=packing)
def pack(order: dict[str, object], number: int) -> None: ...


@registry.fallback(queue=log)
def keep(body: bytes) -> None: ...


@registry.fallback()
def wonder(body: bytes) -> None: ...


def test_picture_has_every_way_that_a_message_can_go() -> None:
    picture = picture_of(topology, registry.handlers)

    assert {(edge.source, edge.target, edge.kind, edge.label) for edge in picture.edges} == {
        ("event:shop:order.{number}.paid", "exchange:shop", "publishes", ""),
        ("exchange:shop", "exchange:audit", "binds", "#"),
        ("exchange:shop", "queue:packing", "binds", "order.*.paid"),
        ("exchange:late", "queue:leftover", "binds", ""),
        ("exchange:audit", "queue:log", "binds", "all: level='high'"),
        ("exchange:shop", "exchange:late", "alternate", "otherwise"),
        ("queue:packing", f"handler:{__name__}.pack", "handles", "order.{number}.paid"),
        ("queue:log", f"handler:{__name__}.keep", "handles", "everything else"),
        ("queue:packing", f"handler:{__name__}.wonder", "handles", "everything else"),
        ("queue:log", f"handler:{__name__}.wonder", "handles", "everything else"),
        ("queue:packing", "queue:packing.dead", "dead_letters", "failed, retried after 1 s, 0.5 s"),
        ("queue:leftover", "queue:packing", "dead_letters", "failed"),
    }
    assert [node.name for node in picture.nodes if node.kind == "queue"] == [
        "packing",
        "leftover",
        "log",
        "packing.dead",
    ]


def test_event_to_the_default_exchange_leads_to_its_queue() -> None:
    jobs = QueueSpec(name="jobs", retry=False, dead_letter=False)
    event = EventSpec(pattern="jobs", exchange="", body=dict)

    picture = picture_of(Topology(queues=[jobs], events=[event]), ())

    assert as_text(picture).splitlines() == [
        "event jobs (dict)",
        "  -> exchange the default exchange",
        "exchange the default exchange (default)",
        "  jobs -> queue jobs",
    ]


def test_text_tells_what_leads_on_from_each_node() -> None:
    lines = as_text(picture_of(topology, registry.handlers)).splitlines()

    place = lines.index("exchange shop (topic)")
    assert lines[place : place + 4] == [
        "exchange shop (topic)",
        "  # -> exchange audit",
        "  order.*.paid -> queue packing",
        "  otherwise -> exchange late",
    ]


def test_names_cannot_leave_their_place_in_a_drawing() -> None:
    """A quote would end a label, and what follows it would be read as the drawing's own."""
    name = 'a"]; end <b> `c` \\ #35;\n'
    picture = Picture(
        (Node("1", "queue", name, "quorum"), Node("2", "handler", "h")), (Edge("1", "2", "handles", name),)
    )

    mermaid, dot = as_mermaid(picture).splitlines(), as_dot(picture).splitlines()

    escaped = "a#34;]#59; end #60;b#62; #96;c#96; #92; #35;35#59;#10;"
    assert mermaid[1] == f'  n0[("{escaped}<br/>quorum")]'
    assert mermaid[3] == f'  n0 -->|"{escaped}"| n1'
    assert dot[4] == r'  n0 -> n1 [label="a\"]; end <b> `c` \\ #35;\\a"];'


def test_data_of_a_picture_is_json() -> None:
    picture = picture_of(topology, registry.handlers)

    data = json.loads(json.dumps(as_data(picture)))

    assert data["nodes"][1] == {"id": "exchange:shop", "kind": "exchange", "name": "shop", "detail": "topic"}
    assert len(data["edges"]) == len(picture.edges)
    (waiting,) = (node for node in data["nodes"] if node["name"] == "packing")
    assert waiting["waits"] == [
        {"name": "packing.retry.1000", "seconds": 1.0},
        {"name": "packing.retry.500", "seconds": 0.5},
    ]

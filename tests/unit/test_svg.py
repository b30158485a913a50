"""The drawing of a picture: its layers, its layout, and what stands in the file."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

from hypothesis import given, settings
from hypothesis import strategies as st

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, RetryPolicy, Topology
from taskroute.graph.drawing.blocks import blocks_of, duration
from taskroute.graph.drawing.layers import Slot, in_layers
from taskroute.graph.drawing.layout import lay_out
from taskroute.graph.drawing.picture import Edge, Node, Picture, picture_of
from taskroute.graph.drawing.svg import as_svg

SVG = "{http://www.w3.org/2000/svg}"

late = ExchangeSpec(name="late", type="fanout")
shop = ExchangeSpec(name="shop", alternate_exchange=late)
inner = ExchangeSpec(name="inner", bindings=[shop.bind("order.#")])
packing = QueueSpec(name="packing", bindings=[inner.bind("#")], retry=RetryPolicy(delays=(5, 60)))
leftover = QueueSpec(name="leftover", bindings=[late.bind()], retry=False, dead_letter=False)
paid = EventSpec(pattern="order.{number}.paid", exchange=shop, body=dict)
topology = Topology(exchanges=[shop, late, inner], queues=[packing, leftover], events=[paid])
registry = HandlerRegistry()


@registry.handler("order.{number}.paid", queue=packing)
def pack(order: dict[str, object], number: int) -> None: ...


PICTURE = picture_of(topology, registry.handlers)


def layers_of(picture: Picture) -> dict[str, int]:
    return {block.rows[0].text: block.layer for block in blocks_of(picture).blocks}


def test_layers_follow_a_message_from_left_to_right() -> None:
    layers = layers_of(PICTURE)

    way = ["order.{number}.paid", "shop", "order.#", "inner", "#", "packing", "again after 5 s, 1 min", "packing.dead"]
    assert [layers[name] for name in way] == sorted({layers[name] for name in way})
    assert layers["pack"] == layers["again after 5 s, 1 min"]
    assert layers["leftover"] == layers["packing"]


def test_circles_of_exchanges_and_dead_letters_have_layers() -> None:
    """Each is laid out all the same: a way back is drawn from right to left."""
    nodes = [Node(f"exchange:{name}", "exchange", name, "fanout") for name in "abc"]
    nodes += [Node(f"queue:{name}", "queue", name, "classic") for name in "xyz"]
    circle = [Edge(f"exchange:{one}", f"exchange:{other}", "binds") for one, other in ("ab", "bc", "ca")]
    circle += [Edge(f"queue:{one}", f"queue:{other}", "dead_letters", "failed") for one, other in ("xy", "yz", "zx")]
    picture = Picture(tuple(nodes), tuple(circle))

    layers = layers_of(picture)

    assert layers["a"] < layers["b"] < layers["c"] < layers["x"] < layers["y"] < layers["z"]
    assert as_svg(picture).count('<path class="line dead_letters"') == 3


def test_line_between_two_of_one_layer_goes_around() -> None:
    """A queue may be another one's dead-letter queue, and be bound itself."""
    both = [QueueSpec(name=name, bindings=[late.bind()], retry=False, dead_letter=False) for name in "ab"]
    other = QueueSpec(name="c", bindings=[late.bind()], retry=False, dead_letter="a")
    picture = picture_of(Topology(exchanges=[late], queues=[*both, other]), ())

    layers = layers_of(picture)

    assert layers["a"] == layers["b"] == layers["c"]
    (way,) = re.findall(r'class="line dead_letters".* d="(.*?)"', as_svg(picture))
    assert "L" in way


@settings(max_examples=60)
@given(st.data())
def test_boxes_of_a_layer_never_overlap_and_lines_meet_them(data: st.DataObject) -> None:
    sizes = st.builds(Slot, st.integers(0, 3), st.floats(10, 90), st.floats(10, 60))
    slots = data.draw(st.lists(sizes, min_size=1, max_size=12))
    ends = st.tuples(st.integers(0, len(slots) - 1), st.integers(0, len(slots) - 1)).filter(
        lambda line: line[0] != line[1]
    )
    lines = data.draw(st.lists(ends, max_size=16))

    layout = lay_out(slots, lines)

    for layer in range(4):
        column = [(layout.corners[at][1], slot.height) for at, slot in enumerate(slots) if slot.layer == layer]
        for (top, height), (following, _) in pairwise(sorted(column)):
            assert top + height <= following + 1e-6
    for (x, y), slot in zip(layout.corners, slots, strict=True):
        assert 0 <= x <= layout.width - slot.width + 1e-6
        assert -1e-6 <= y <= layout.height - slot.height + 1e-6
    for (source, target), way in zip(lines, layout.ways, strict=True):
        for number, (x, y) in ((source, way[0]), (target, way[-1])):
            left, top = layout.corners[number]
            assert min(abs(x - left), abs(x - left - slots[number].width)) < 1e-6
            assert abs(y - top - slots[number].height / 2) < 1e-6
    assert lay_out(slots, lines) == layout


def test_order_of_a_layer_has_no_crossing_that_can_be_spared() -> None:
    slots = [Slot(at // 10, 10, 10) for at in range(30)]
    lines = [(at, 19 - at) for at in range(10)] + [(10 + at, 20 + (at * 7) % 10) for at in range(10)]

    layers = in_layers(slots, lines)

    places = [{number: at for at, number in enumerate(order)} for order in layers.order]
    for layer in range(2):
        ends = [(places[layer][one], places[layer + 1][other]) for one, other in lines if one // 10 == layer]
        assert [other for _, other in sorted(ends)] == list(range(10))


def test_file_is_well_formed_and_refers_to_nothing() -> None:
    root = ET.fromstring(as_svg(PICTURE))

    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        *("svg", "title", "style", "rect", "defs", "marker", "path", "g", "text", "tspan"),
    }
    values = [value for element in root.iter() for value in element.attrib.values()]
    assert not [value for value in values if "//" in value or (value.startswith("url(") and value != "url(#head)")]
    assert "prefers-color-scheme: dark" in as_svg(PICTURE)
    assert "url(" not in "".join(element.text or "" for element in root.iter(f"{SVG}style"))


def test_each_kind_of_box_has_its_own_words_and_its_own_shape() -> None:
    """Colour is not the only sign."""
    root = ET.fromstring(as_svg(PICTURE))
    groups = {group.attrib["class"]: group for group in root.iter(f"{SVG}g")}

    shapes = {kind: re.sub(r"-?[\d.]+", "", group[1].attrib.get("d", group[1].tag)) for kind, group in groups.items()}
    assert set(groups) == {"event", "exchange", "bindings", "queue", "handler", "waits"}
    assert len({shapes[kind] for kind in ("event", "exchange", "queue", "handler")}) == 4
    assert {group.findtext(f"{SVG}title", "").split()[0] for group in root.iter(f"{SVG}g")} == {
        *("event", "exchange", "binding,", "alternate", "queue", "handler", "what"),
    }


def test_long_name_is_cut_and_stands_in_the_title() -> None:
    name = "customer." + "very-" * 30 + "long"
    picture = picture_of(Topology(queues=[QueueSpec(name=name, retry=False, dead_letter=False)]), ())

    (group,) = ET.fromstring(as_svg(picture)).iter(f"{SVG}g")

    (shown, _) = group.iter(f"{SVG}text")
    assert shown.text is not None
    assert len(shown.text) == 40
    assert (shown.text[:9], shown.text[-4:]) == ("customer.", "long")
    assert name in group.findtext(f"{SVG}title", "")


def test_many_bindings_are_counted_and_stand_in_the_title() -> None:
    queue = QueueSpec(name="q", bindings=[shop.bind(f"order.{number}") for number in range(40)])

    blocks = blocks_of(picture_of(Topology(exchanges=[shop, late], queues=[queue]), ())).blocks

    (bindings,) = (block for block in blocks if block.kind == "bindings" and block.title.startswith("binding,"))
    assert [row.text for row in bindings.rows[-2:]] == ["order.10", "and 29 more bindings"]
    assert len(bindings.rows[-1].edges) == 29
    assert "order.39" in bindings.title


def test_names_cannot_leave_their_place_in_the_file() -> None:
    name = "<b>\"'&]]>\u2028\ud800\x00\u202e"
    picture = Picture(
        (Node("1", "queue", name, name), Node("2", "handler", f"m.{name}"), Node("3", "exchange", name, "topic")),
        (Edge("1", "2", "handles", name), Edge("3", "1", "binds", name)),
    )

    root = ET.fromstring(as_svg(picture).encode("utf-8"))

    shown = "<b>\"'&]]>\\u2028\\ud800\\x00\\u202e"
    assert [text.text for text in root.iter(f"{SVG}text")].count(shown) == 5
    assert not list(root.iter(f"{SVG}b"))


def test_durations_are_told_in_the_largest_whole_unit() -> None:
    assert [duration(seconds) for seconds in (0.2, 5, 90, 600, 7200, 86400)] == [
        "0.2 s",
        "5 s",
        "90 s",
        "10 min",
        "2 h",
        "1 d",
    ]

"""The page as somebody uses it: with a mouse, with keys, with a screen reader, on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from tests.browser.graphs import named, page_of, shop

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, Topology
from taskroute.graph.drawing.counts import Count, Counts

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open = Callable[..., "Page"]


def lit(page: Page) -> set[str]:
    """Return what is written first in each box that is lit."""
    first = "(boxes) => boxes.map((box) => box.querySelector('text').firstChild.textContent)"
    return set(page.eval_on_selector_all(".dim .box.lit", first))


def box(page: Page, name: str) -> str:
    """Return the selector of a node's box."""
    number = page.evaluate(
        """(name) => [...document.querySelectorAll("g.box")].findIndex((box) =>
             box.querySelector("text").firstChild.textContent === name)""",
        name,
    )
    assert number >= 0, name
    return f"g.box >> nth={number}"


def ask(page: Page, key: str, exchange: str = "orders") -> str:
    page.select_option("#exchange", exchange)
    page.fill("#key", key)
    page.press("#key", "Enter")
    return str(page.inner_text("#answer"))


def test_key_lights_its_way_and_says_why(opened: Open) -> None:
    page = opened(page_of(*shop()))

    answer = ask(page, "order.7.paid")

    module = named("x").__module__
    assert lit(page) == {"orders", "order.*.paid", "packing", "pack"}
    assert page.eval_on_selector_all("text.lit", "(rows) => rows.map((row) => row.textContent)") == [
        "order.{number}.paid",
        "order.*.paid",
    ]
    assert f"Handled by {module}.pack ('order.{{number}}.paid' of queue 'packing') with number=\"7\"" in answer
    assert "If that fails: packing.retry.5000 \u2192 packing.retry.60000 \u2192 packing.dead" in answer
    assert (
        f"Not by {module}.remind ('order.#' of queue 'packing'): is less specific than 'order.{{number}}.paid'"
        in answer
    )
    assert f"Not by {module}.leftover (fallback of any queue): is a fallback" in answer
    assert "It is of the event order.{number}.paid with a body of dict." in answer
    assert page.inner_text("#said") == f"The message reaches 1 queue: packing, handled by {module}.pack."


def test_key_that_nothing_takes_goes_to_the_alternate_exchange(opened: Open) -> None:
    page = opened(page_of(*shop()))

    answer = ask(page, "nothing")

    assert {"orders", "otherwise", "unrouted", "every message", "lost"} <= lit(page)
    assert "as nothing else takes it, to its alternate exchange unrouted" in answer
    assert "exchange unrouted takes every message to queue lost" in answer


def test_headers_decide_where_a_headers_exchange_sends(opened: Open) -> None:
    page = opened(page_of(*shop()))
    page.select_option("#exchange", "reports")
    assert "looks at headers" in page.inner_text("#key-hint")

    page.fill("#headers", '{"format": "pdf"}')
    page.fill("#key", "report.daily")
    page.click("text=Show its way")

    assert "binding by headers all: format='pdf', to queue pdf" in page.inner_text("#answer")
    page.fill("#headers", '{"format": "html"}')
    page.click("text=Show its way")
    assert "It reaches no queue" in page.inner_text("#answer")
    page.fill("#headers", "{format")
    page.click("text=Show its way")
    assert "The headers are no JSON object" in page.inner_text("#answer")


def test_default_exchange_and_wildcards_are_told(opened: Open) -> None:
    page = opened(page_of(*shop()))

    assert "by its name to queue jobs" in ask(page, "jobs", "")
    page.fill("#key", "order.#")
    assert "no wildcards" in page.inner_text("#key-hint")
    page.click("text=Clear")
    assert (page.inner_text("#answer"), lit(page)) == ("", set())


def test_pointing_at_a_box_shows_what_is_beside_it(opened: Open) -> None:
    page = opened(page_of(*shop()))

    page.hover(box(page, "pdf"))

    shown = lit(page)
    assert {"pdf", "reports", "all: format='pdf'", "pdf.dead"} <= shown
    assert not {"packing", "commands", "lost"} & shown
    page.hover("h1")
    assert lit(page) == set()


def test_box_that_is_chosen_tells_what_leads_to_it_and_on(opened: Open) -> None:
    page = opened(page_of(*shop()))

    page.click(box(page, "packing"))

    about = page.inner_text("#chosen")
    assert about.startswith("queue packing")
    assert "Comes from" in about
    assert "exchange orders order.*.late" in " ".join(about.split())
    page.click("#about >> text=queue packing.dead")
    assert page.inner_text("#chosen-title") == "queue packing.dead"
    assert page.evaluate("document.activeElement.querySelector('text').textContent") == "packing.dead"


def test_keys_walk_along_the_lines_and_tell_more(opened: Open) -> None:
    page = opened(page_of(*shop()))
    page.focus(box(page, "reports"))

    def at() -> str:
        return str(page.evaluate("document.activeElement.querySelector('text').firstChild.textContent"))

    walked = []
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
        walked.append(at())

    assert walked[:2] == ["all: format='pdf'", "pdf"]
    assert walked[2] in ("print_it", "leftover", "pdf.dead")
    assert walked[4] == "all: format='pdf'"
    assert walked[6] == walked[4] != walked[5]
    assert page.eval_on_selector_all("g.box[tabindex='0']", "(boxes) => boxes.length") == 1
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert page.inner_text("#said") == "event order.{number}.paid is chosen; more about it stands beside the drawing"
    assert page.eval_on_selector_all("g[aria-pressed=true]", "(boxes) => boxes.length") == 1
    page.keyboard.press("Escape")
    assert page.is_hidden("#chosen")


def test_every_control_is_reached_by_tab_in_the_order_of_the_page(opened: Open) -> None:
    page = opened(page_of(*shop()))

    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))

    assert reached[:4] == ["Skip to the drawing", "exchange", "key", "Headers"]
    wanted = ["Show its way", "Clear", "name", "smaller", "fit", "larger"]
    assert [each for each in reached if each in wanted] == wanted


def test_search_finds_by_part_of_a_name(opened: Open) -> None:
    page = opened(page_of(*shop()))

    page.fill("#name", "PACK")

    assert page.inner_text("#found").split("\n") == [
        "queue packing",
        "queue packing.dead",
        f"handler {named('x').__module__}.pack",
    ]
    assert page.inner_text("#said") == "3 names found"
    page.press("#name", "Enter")
    assert page.inner_text("#chosen-title") == "queue packing"
    page.fill("#name", "nowhere")
    assert (page.inner_text("#found"), page.inner_text("#said")) == ("", "0 names found")


def test_findings_stand_at_their_place_and_in_a_list(opened: Open) -> None:
    topology, registry = shop()
    registry.add("never.{id}", named("idle"), queue="packing")
    page = opened(page_of(topology, registry))

    (mark,) = page.eval_on_selector_all(".handler .mark", "(marks) => marks.map((mark) => mark.textContent)")

    assert mark == "\u26a0 1 error"
    assert "error unfed_handler" in page.inner_text("#findings li >> nth=0")
    page.click("#findings li >> nth=0 >> button")
    assert page.inner_text("#chosen-title").endswith(".idle")
    assert "error" in page.inner_text("#about .error")


def test_counts_are_shown_with_their_time(opened: Open) -> None:
    counts = {
        "packing": Count("there", 3, 1),
        "packing.dead": Count("there", 7),
        "packing.retry.5000": Count("there", 2),
    }
    page = opened(page_of(*shop(), counts=Counts("2026-11-30 12:00:00 UTC", {**counts, "pdf": Count("absent")})))

    shown = page.eval_on_selector_all(".full", "(rows) => rows.map((row) => row.textContent)")

    assert {"3 ready, 1 consumer", "7 ready, 0 consumers", "2 waiting", "absent"} <= set(shown)
    assert "Queues as they were at 2026-11-30 12:00:00 UTC." in page.inner_text("header")


HOSTILE = "<script>alert(1)</script>\u2028'\"&</script><img src=x onerror=alert(2)>{{page}}__proto__\u202e"


def test_hostile_names_are_text(opened: Open) -> None:
    exchange = ExchangeSpec(name=HOSTILE)
    event = EventSpec(pattern="constructor", exchange=exchange, body=dict)
    queue = QueueSpec(name=f"q{HOSTILE}", bindings=[exchange.bind("<b>.#"), event])
    named_so = QueueSpec(name="__proto__", bindings=[exchange.bind("toString")])
    registry = HandlerRegistry()
    registry.add("<b>.#", named(HOSTILE), queue=queue)
    registry.add("constructor", named("hasOwnProperty"), queue=queue)
    topology = Topology(queues=[queue, named_so], events=[event])
    page = opened(page_of(topology, registry, title=HOSTILE))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))

    answer = ask(page, "<b>.x", HOSTILE)

    assert HOSTILE in str(page.text_content("#answer h3 code >> nth=1"))
    assert "to queue q<script>alert(1)</script>" in answer
    assert "to queue __proto__" in ask(page, "toString", HOSTILE)
    page.fill("#name", "<script>")
    page.press("#name", "Enter")
    assert "<script>alert(1)</script>" in page.inner_text("#chosen-title")
    assert page.eval_on_selector_all("script", "(scripts) => scripts.length") == 3
    assert page.eval_on_selector_all("img, b, i", "(found) => found.length") == 0
    assert page.inner_text("h1").startswith("<script>alert(1)</script>\\u2028")


@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)], ids=["narrow and dark", "wide and light"])
def test_page_fits_its_width_and_is_accessible(opened: Open, width: int, dark: bool) -> None:
    """Axe looks at it with everything shown: no violation of its rules."""
    from axe_playwright_python.sync_playwright import Axe

    topology, registry = shop()
    registry.add("never.{id}", named("with_a_name_that_is_quite_long_as_names_of_functions_may_be"), queue="packing")
    page = opened(page_of(topology, registry, title="shop.service:" + "service" * 20), width=width, dark=dark)

    assert page.evaluate("document.documentElement.scrollWidth") == width
    ask(page, "order.7.paid")
    page.fill("#name", "p")
    page.click(box(page, "packing"))
    assert page.evaluate("document.documentElement.scrollWidth") == width
    results = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]})
    assert results.response["violations"] == [], results.generate_report()


def test_drawing_is_made_larger_smaller_and_fitting(opened: Open) -> None:
    page = opened(page_of(*shop()), width=390)

    def width() -> float:
        return float(page.get_attribute("#drawing", "width") or 0)

    first = width()
    page.click("#larger")
    larger = width()
    page.click("#fit")
    fitting = width()
    page.click("#smaller")

    assert larger > first > fitting > width()
    assert fitting <= page.evaluate("document.getElementById('paper').clientWidth")

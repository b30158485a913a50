"""The code of the page that routes and chooses, run in the browser, against the Python that it has to agree with."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from tests.browser.graphs import named, page_of, random_graph, random_message, shop
from tests.kit.strategies import accepts, all_keys
from tests.kit.vectors import HEADER_RULES, PATTERN_EXAMPLES

from taskroute import ExchangeSpec, Explanation, HandlerRegistry, QueueSpec, Routes, Topology
from taskroute.graph.drawing.facts import facts_of
from taskroute.graph.drawing.picture import picture_of
from taskroute.keys.pattern import RoutingPattern

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXPLAIN = """
(cases) => cases.map(({facts, messages}) => {
  const graph = routing.graphOf(JSON.parse(facts));
  return messages.map(({exchange, key, headers}) => {
    const way = routing.explain(graph, {exchange, key, headers: routing.parseHeaders(headers)});
    return {
      hops: way.hops.map((hop) => [
        hop.source, hop.kind, hop.to,
        hop.binding && hop.binding.key, hop.binding && (hop.binding.headers.get("x-match") ?? null),
      ]),
      events: way.events.map((event) => event.pattern),
      arrivals: way.arrivals.map((each) => ({
        queue: each.queue.name,
        handler: each.handler && each.handler.name,
        captures: each.captures,
        lost: each.lost.map(([handler, why]) => [handler.name, why]),
        waits: each.waits,
        dead: each.dead,
      })),
    };
  });
})
"""


@pytest.fixture
def page(opened: Callable[..., Page]) -> Page:
    return opened(page_of(*shop()))


def test_page_matches_the_examples_of_patterns(page: Page) -> None:
    found = page.evaluate(
        """(examples) => examples.map(([pattern, taken, refused]) => {
          const { automaton } = routing.parsePattern(pattern);
          return [taken, refused].map((keys) => keys.filter((key) => automaton.accepts(routing.splitWords(key))));
        })""",
        PATTERN_EXAMPLES,
    )

    assert found == [[taken, []] for _, taken, _ in PATTERN_EXAMPLES]


def test_page_matches_every_small_pattern_and_key(page: Page) -> None:
    patterns = [tokens for length in range(4) for tokens in product(("a", "b", "", "*", "#", "a*"), repeat=length)]
    patterns = [tokens for tokens in patterns if tokens != ("",)]
    keys = all_keys(4)

    found = page.evaluate(
        """([patterns, keys]) => patterns.map((tokens) => {
          const automaton = new routing.Automaton(routing.splitWords(tokens));
          return keys.flatMap((key, at) => (automaton.accepts(routing.splitWords(key)) ? [at] : []));
        })""",
        [[".".join(tokens) for tokens in patterns], [".".join(words) for words in keys]],
    )

    assert sum(map(len, found)) > 5_000
    for tokens, taken in zip(patterns, found, strict=True):
        assert taken == [at for at, words in enumerate(keys) if accepts(tokens, words)], tokens


def test_page_knows_which_pattern_is_inside_which(page: Page) -> None:
    tokens = [each for length in range(4) for each in product(("a", "", "*", "#"), repeat=length) if each != ("",)]
    patterns = [".".join(each) for each in tokens]

    found = page.evaluate(
        """(patterns) => {
          const parsed = patterns.map(routing.parsePattern);
          const isInside = (one, other) => routing.isSubset(one.tokens, other.automaton);
          return parsed.map((one) => parsed.flatMap((other, at) => (isInside(one, other) ? [at] : [])));
        }""",
        patterns,
    )

    compiled = [RoutingPattern(each) for each in patterns]
    for one, inside in zip(compiled, found, strict=True):
        assert inside == [at for at, other in enumerate(compiled) if one.is_subset(other)], one


def is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(is_json, value.values()))
    return (
        all(map(is_json, value)) if isinstance(value, list) else value is None or isinstance(value, str | int | float)
    )


def test_page_matches_headers_by_the_table_of_rules(page: Page) -> None:
    rules = [rule for rule in HEADER_RULES if is_json(rule[0]) and is_json(rule[1])]
    rules += [({"a": 2**62}, {"a": 2**62 + 1}, False), ({"a": 2**62}, {"a": 2**62}, True), ({"a": 1}, {"a": 1.0}, True)]
    rules += [({"constructor": "x"}, {}, False), ({"__proto__": "x"}, {"__proto__": "x"}, True)]

    found = page.evaluate(
        "(rules) => rules.map((pair) => routing.headersMatch(...pair.map(routing.parseHeaders)))",
        [[json.dumps(wanted), json.dumps(headers)] for wanted, headers, _ in rules],
    )

    assert len(rules) > 35
    assert [rule for rule, matches in zip(rules, found, strict=True) if matches != rule[2]] == []


def facts_text(routes: Routes) -> str:
    picture = picture_of(routes.topology, routes.handlers)
    return json.dumps(facts_of(picture, routes.topology, routes.handlers, ()))


def told(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation in the form in which the page's is asked for."""
    hops = []
    for hop in explanation.hops:
        key, match = (hop.binding.binding_key, hop.binding.arguments.get("x-match")) if hop.binding else (None, None)
        hops.append([hop.source, *hop.destination, key, match])
    return {
        "hops": hops,
        "events": [str(event.pattern) for event in explanation.events],
        "arrivals": [
            {
                "queue": arrival.queue,
                "handler": arrival.handler.name if arrival.handler else None,
                "captures": [
                    [name, [*value] if isinstance(value, tuple) else value] for name, value in arrival.captures.items()
                ],
                "lost": [[handler.name, why] for handler, why in arrival.lost],
                "waits": list(arrival.wait_queues),
                "dead": arrival.dead_letter_queue,
            }
            for arrival in explanation.arrivals
        ],
    }


def test_page_explains_random_graphs_as_the_library_does(page: Page) -> None:
    chance = random.Random(16)
    graphs = [random_graph(chance) for _ in range(400)]
    asked = [[random_message(chance, routes.topology) for _ in range(8)] for routes in graphs]
    cases = [
        {"facts": facts_text(routes), "messages": messages} for routes, messages in zip(graphs, asked, strict=True)
    ]

    answers = page.evaluate(EXPLAIN, cases)

    handled = lost = 0
    for routes, messages, ways in zip(graphs, asked, answers, strict=True):
        for message, way in zip(messages, ways, strict=True):
            headers = json.loads(message["headers"])
            expected = told(routes.explain(message["key"], exchange=message["exchange"], headers=headers))
            assert way == expected, (message, routes.topology, routes.handlers)
            handled += sum(arrival["handler"] is not None for arrival in expected["arrivals"])
            lost += sum(why != "does not match" for arrival in expected["arrivals"] for _, why in arrival["lost"])
    assert handled > 500
    assert lost > 100


def test_page_takes_the_patterns_of_one_function_for_one_handler(page: Page) -> None:
    """None of them is the most specific, and it makes no difference."""
    queue = QueueSpec(name="a.b", retry=False)
    registry = HandlerRegistry()
    registry.add(["a.*", "*.b", "#.b.#"], named("both"), queue=queue)
    routes = Routes(Topology(queues=[queue]), registry)
    message = {"exchange": "", "key": "a.b", "headers": "{}"}

    (way,) = page.evaluate(EXPLAIN, [{"facts": facts_text(routes), "messages": [message]}])[0]

    assert [arrival["handler"] for arrival in way["arrivals"]] == [f"{named('both').__module__}.both"]
    assert told(routes.explain("a.b", exchange=""))["arrivals"][0]["handler"] == way["arrivals"][0]["handler"]


def test_page_says_why_a_message_cannot_be_published(page: Page) -> None:
    inner = ExchangeSpec(name="inner", internal=True)
    topology = Topology(exchanges=[inner])
    problem = """([facts, message]) => {
      try {
        const headers = routing.parseHeaders(message.headers);
        routing.explain(routing.graphOf(JSON.parse(facts)), { ...message, headers });
      } catch (error) { return error.message; }
    }"""

    facts = facts_text(Routes(topology, HandlerRegistry()))

    def problem_of(exchange: str, headers: str = "{}") -> str:
        return str(page.evaluate(problem, [facts, {"exchange": exchange, "key": "a", "headers": headers}]))

    assert problem_of("inner") == "exchange 'inner' is internal: nobody can publish to it"
    assert problem_of("nowhere") == "there is no exchange 'nowhere'"
    assert problem_of("", '{"CC": "a"}') == "the header CC is a list of routing keys"
    assert "headers are an object" in problem_of("", "[1]")

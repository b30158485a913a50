"""The route graph as an AsyncAPI document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.kit.command_line import CommandLine

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, RoutingPattern, Topology
from taskroute.graph.asyncapi.address import address_of
from taskroute.graph.asyncapi.document import asyncapi_document

shop = ExchangeSpec(name="shop")
paid = EventSpec(pattern="order.{number}.paid", exchange=shop, body=dict)
packing = QueueSpec(name="packing", bindings=[paid])
registry = HandlerRegistry()


@registry.handler("order.*.paid", queue=packing)
def pack(order: dict[str, object]) -> None: ...


def document_of(topology: Topology, handlers: HandlerRegistry = registry) -> dict[str, Any]:
    return asyncapi_document(topology, handlers.handlers, title="shop", version="1.0")


def test_event_and_its_handler_meet_in_one_channel() -> None:
    document = document_of(Topology(queues=[packing], events=[paid]))

    (name,) = document["channels"]
    assert document["channels"][name]["address"] == "order.{number}.paid"
    assert {(operation["action"], operation["channel"]["$ref"]) for operation in document["operations"].values()} == {
        ("send", f"#/channels/{name}"),
        ("receive", f"#/channels/{name}"),
    }


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("order.{number}.paid", "order.{number}.paid"),
        ("log.{path:#}", "log.{path}"),
        ("*.*.#", "{word_1}.{word_2}.{words_1}"),
        ("*.{word_1}", "{word_2}.{word_1}"),
        ("a..b", "a..b"),
        ("", ""),
        ("why?", None),
    ],
)
def test_address_is_the_pattern_with_a_name_for_each_wildcard(pattern: str, text: str | None) -> None:
    assert address_of(RoutingPattern(pattern)).text == text


def test_names_of_channels_do_not_depend_on_their_order() -> None:
    one = QueueSpec(name="one", bindings=[shop.bind("a.number")])
    other = QueueSpec(name="other", bindings=[shop.bind("a.*")])
    handlers = HandlerRegistry()
    handlers.add("a.number", lambda: None, queue=one)
    handlers.add("a.{number}", lambda number: None, queue=other)

    documents = [document_of(Topology(queues=queues), handlers) for queues in ([one, other], [other, one])]

    assert documents[0] == documents[1]
    assert len(documents[0]["channels"]) == 2


def test_schema_command_prints_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = CommandLine(tmp_path, capsys, monkeypatch)

    ended = line.run("schema", "wiring:routes", "--format", "asyncapi", "--title", "Shop", "--api-version", "2.1")

    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["info"] == {"title": "Shop", "version": "2.1"}

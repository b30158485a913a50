"""The route graph as an AsyncAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.command_line import CommandLine
from tests.kit.services import services

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


FIELDS = {
    "exchange": {"name", "type", "durable", "autoDelete", "vhost"},
    "queue": {"name", "durable", "exclusive", "autoDelete", "vhost"},
}
"""What AMQP's bindings have. Their schema allows more than they say."""

OPERATION = {"send": {"deliveryMode", "bindingVersion"}, "receive": {"ack", "bindingVersion"}}


def looked_up(document: Any, reference: str) -> Any:
    found = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references_in(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        part = list(part.values())
    for inside in part if isinstance(part, list) else ():
        yield from references_in(inside)


@settings(max_examples=60)
@given(services())
def test_document_of_any_service_is_whole(service: tuple[Topology, HandlerRegistry]) -> None:
    """Every reference leads somewhere, names need no escaping, and bindings have what they define alone."""
    topology, handlers = service

    document = json.loads(json.dumps(document_of(topology, handlers), allow_nan=False))

    assert all(looked_up(document, reference) is not None for reference in references_in(document))
    parts = (document["channels"], document["operations"], *document["components"].values())
    assert all(re.fullmatch("[A-Za-z0-9._-]+", name) for names in parts for name in names)
    for channel in document["channels"].values():
        assert set(re.findall(r"{(.*?)}", channel["address"] or "")) == set(channel.get("parameters", ()))
        binding = channel["bindings"]["amqp"]
        kind = "queue" if binding["is"] == "queue" else "exchange"
        assert binding.keys() == {"is", kind, "bindingVersion"}
        assert binding[kind].keys() <= FIELDS[kind]
    for operation in document["operations"].values():
        assert operation["bindings"]["amqp"].keys() == OPERATION[operation["action"]]
        channel = looked_up(document, operation["channel"]["$ref"])
        assert operation["messages"]
        assert {each["$ref"].rpartition("/")[2] for each in operation["messages"]} <= channel["messages"].keys()


@settings(max_examples=30)
@given(st.data())
def test_document_does_not_depend_on_any_order(data: st.DataObject) -> None:
    topology, handlers = data.draw(services())
    shuffled = HandlerRegistry()
    for handler in data.draw(st.permutations(handlers.handlers)):
        if handler.is_fallback:
            shuffled.fallback(queue=handler.queue)(handler.function)
        else:
            shuffled.add(handler.pattern, handler.function, queue=handler.queue)
    other = Topology(
        exchanges=data.draw(st.permutations(topology.exchanges)),
        queues=data.draw(st.permutations(topology.queues)),
        events=data.draw(st.permutations(topology.events)),
    )

    assert json.dumps(document_of(other, shuffled)) == json.dumps(document_of(topology, handlers))

"""The route graph as an AsyncAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, computed_field
from tests.kit.command_line import CommandLine
from tests.kit.services import services

from taskroute import (
    Depends,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Header,
    QueueSpec,
    RetryPolicy,
    RoutingPattern,
    Topology,
)
from taskroute.graph.asyncapi.address import address_of
from taskroute.graph.asyncapi.document import asyncapi_document
from taskroute.graph.asyncapi.draft7 import draft7
from taskroute.graph.asyncapi.servers import Server, server_of

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


def test_names_of_events_with_types_of_one_name_do_not_depend_on_their_order() -> None:
    """Two of one channel, whose bodies are both called `tuple`."""
    one, other = (EventSpec[Any](pattern="a", exchange=shop, body=body) for body in (tuple[int, ...], tuple[int, str]))

    first, again = (document_of(Topology(events=events)) for events in ([one, other], [other, one]))

    assert json.dumps(first) == json.dumps(again)
    assert len(first["operations"]) == 2


def channels_of(queue: QueueSpec, pattern: str, *exchanges: ExchangeSpec) -> set[tuple[str, str | None]]:
    """Each channel of one handler, by its exchange or, without one, its queue."""
    handlers = HandlerRegistry()
    handlers.add(pattern, lambda: None, queue=queue)
    document = document_of(Topology(exchanges=exchanges, queues=[queue]), handlers)
    bindings = [(each["bindings"]["amqp"], each["address"]) for each in document["channels"].values()]
    return {((each.get("exchange") or each["queue"])["name"], address) for each, address in bindings}


@pytest.mark.parametrize(
    ("binding_keys", "pattern", "addresses"),
    [
        (["order.*.paid"], "order.{number}.{state}", {"order.{number}.paid"}),
        (["order.#"], "order.{number}.paid", {"order.{number}.paid"}),
        (["order.#", "#"], "order.*.paid", {"order.{word_1}.paid"}),
        (["order.7.*", "order.8.*"], "#", {"order.7.{word_1}", "order.8.{word_1}"}),
        (["order.*.eu"], "order.7.*", {"order.7.{word_1}"}),
        (["order.*.paid", "item.*"], "item.{name}", {"item.{name}"}),
    ],
)
def test_channel_has_the_keys_that_a_handler_gets(binding_keys: list[str], pattern: str, addresses: set[str]) -> None:
    """A publisher reads it: keys that no binding lets in are none of the handler's."""
    queue = QueueSpec(name="orders", bindings=[shop.bind(key) for key in binding_keys])

    assert channels_of(queue, pattern) == {("shop", address) for address in addresses}


def test_each_type_of_exchange_takes_its_own_keys() -> None:
    kinds = {kind: ExchangeSpec(name=kind, type=kind) for kind in ("direct", "fanout", "headers")}
    bindings = [kinds["direct"].bind("a.b"), kinds["fanout"].bind(), kinds["headers"].bind(headers={"x": 1})]

    channels = channels_of(QueueSpec(name="q", bindings=bindings), "a.{word}", *kinds.values())

    assert channels == {("direct", "a.b"), ("fanout", "a.{word}"), ("headers", "a.{word}")}


def test_handler_that_no_exchange_feeds_has_its_queue_as_channel() -> None:
    assert channels_of(QueueSpec(name="jobs"), "#") == {("jobs", "jobs")}
    assert channels_of(QueueSpec(name="jobs{1}"), "#") == {("jobs{1}", None)}
    assert channels_of(QueueSpec(name="jobs", bindings=[shop.bind("a")]), "b") == {("jobs", "jobs")}


def test_event_of_the_default_exchange_meets_the_handler_of_its_queue() -> None:
    jobs = QueueSpec(name="jobs", bindings=[shop.bind("#")])
    handlers = HandlerRegistry()
    handlers.add("jobs", lambda: None, queue=jobs)

    document = document_of(
        Topology(queues=[jobs], events=[EventSpec(pattern="jobs", exchange="", body=dict)]), handlers
    )

    used = [(each["action"], each["channel"]["$ref"]) for each in document["operations"].values()]
    assert sorted(used) == [
        ("receive", "#/channels/jobs"),
        ("receive", "#/channels/shop.jobs"),
        ("send", "#/channels/jobs"),
    ]


def test_event_that_only_a_queue_is_bound_with_is_not_sent() -> None:
    """What `events=` lists is published here; the others are another service's."""
    document = document_of(Topology(queues=[packing]))

    assert [each["action"] for each in document["operations"].values()] == ["receive"]


def tenant(header: Annotated[str, Header("tenant")]) -> str:
    return header


def test_message_has_the_headers_that_handler_and_provider_ask_for() -> None:
    def handle(
        body: bytes, priority: Annotated[int, Header("priority")] = 0, by: Annotated[str, Depends(tenant)] = ""
    ) -> None: ...

    handlers = HandlerRegistry()
    handlers.add("a", handle, queue=packing)

    document = document_of(Topology(queues=[packing]), handlers)

    assert document["components"]["messages"]["bytes"] == {
        "name": "bytes",
        "title": "bytes",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
        "headers": {
            "type": "object",
            "properties": {"priority": {"type": "integer"}, "tenant": {"type": "string"}},
            "required": ["tenant"],
        },
    }


class Order(BaseModel):
    """Written with a field that is not read."""

    number: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_odd(self) -> bool:
        return self.number % 2 == 1


def test_what_is_read_has_a_message_of_its_own_where_it_differs() -> None:
    event = EventSpec(pattern="order.{number}.paid", exchange=shop, body=Order)
    handlers = HandlerRegistry()

    @handlers.handler(event, queue=packing)
    def handle(order: Order) -> None: ...

    document = document_of(Topology(queues=[packing], events=[event]), handlers)

    messages = {each["action"]: each["messages"][0]["$ref"] for each in document["operations"].values()}
    channel = "#/channels/shop.order.number.paid/messages"
    assert messages == {"send": f"{channel}/Order", "receive": f"{channel}/Order.read"}
    fields = {name: list(schema["properties"]) for name, schema in document["components"]["schemas"].items()}
    assert fields == {"Order-Input": ["number"], "Order-Output": ["number", "is_odd"]}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (str, "text/plain"),
        (Annotated[str, Field(max_length=3)], "text/plain"),
        (Literal["a", "b"], "text/plain"),
        (Literal["a", 1], "application/json"),
        (StrEnum("Colour", ["RED"]), "text/plain"),
        (bytes, "application/octet-stream"),
        (dict, "application/json"),
        (datetime, "application/json"),
    ],
)
def test_content_type_is_that_of_what_is_published(body: Any, content_type: str) -> None:
    event = EventSpec[Any](pattern="a", exchange=shop, body=body)

    (message,) = document_of(Topology(events=[event]))["components"]["messages"].values()

    assert message["contentType"] == content_type


@pytest.mark.parametrize("body", ["a", b"a", {"a": 1}])
def test_content_type_agrees_with_the_publisher(body: Any) -> None:
    event = EventSpec[Any](pattern="a", exchange=shop, body=type(body))

    (message,) = document_of(Topology(events=[event]))["components"]["messages"].values()

    assert message["contentType"] == event(body).encode()[1]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (
            {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
            {"items": [{"type": "string"}], "additionalItems": {"type": "integer"}},
        ),
        (
            {"$ref": "#/components/schemas/A", "description": "an A"},
            {"description": "an A", "allOf": [{"$ref": "#/components/schemas/A"}]},
        ),
        (
            {"dependentRequired": {"a": ["b"]}, "properties": {"title": {"title": 1}}},
            {"dependencies": {"a": ["b"]}, "properties": {"title": {}}},
        ),
        ({"oneOf": [True, {"discriminator": {"propertyName": "a"}}]}, {"oneOf": [True, {}]}),
        ({"enum": [1, True, 1.0], "default": float("nan")}, {"enum": [1, True]}),
        ({"pattern": "(?P<a>b)", "minLength": True, "maxLength": 3}, {"maxLength": 3}),
        ({"default": {"$ref": "#/nowhere"}, "const": {"$ref": 1}}, {}),
        ({"$ref": "#/nowhere"}, {}),
    ],
)
def test_schema_says_the_same_in_draft_7(written: dict[str, Any], read: dict[str, Any]) -> None:
    assert draft7(written) == read


def test_handler_that_reads_nothing_gets_what_the_event_writes() -> None:
    handlers = HandlerRegistry()
    handlers.add(paid, lambda: None, queue=packing)

    document = document_of(Topology(queues=[packing], events=[paid]), handlers)

    assert list(document["components"]["messages"]) == ["dict"]


def test_queue_of_another_service_is_named_and_no_more() -> None:
    jobs = QueueSpec(name="jobs", passive=True)
    events = [EventSpec(pattern=name, exchange="", body=dict) for name in ("jobs", "theirs")]

    document = document_of(Topology(queues=[jobs], events=events))

    queues = {name: channel["bindings"]["amqp"]["queue"] for name, channel in document["channels"].items()}
    assert queues == {"jobs": {"name": "jobs"}, "theirs": {"name": "theirs"}}


def test_what_has_no_place_in_amqps_bindings_stands_beside() -> None:
    audit = ExchangeSpec(name="audit", bindings=[shop.bind("#")])
    queue = QueueSpec(
        name="packing", bindings=[audit.bind("order.*.paid")], retry=RetryPolicy(delays=(0.5,)), max_length=9
    )

    beside = document_of(Topology(queues=[queue]))["x-taskroute"]

    assert beside["exchanges"]["audit"]["bindings"] == [{"exchange": "shop", "binding_key": "#", "arguments": {}}]
    described = beside["queues"]["packing"]
    assert (described["type"], described["retry_delays"]) == ("quorum", [0.5])
    assert described["dead_letter_queue"] == "packing.dead"
    assert described["arguments"]["x-max-length"] == 9
    assert "packing.retry.500" in beside["queues"]


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("rabbit.example.com", Server("amqp", "rabbit.example.com")),
        ("amqps://rabbit.example.com:5671/shop", Server("amqps", "rabbit.example.com:5671", "shop")),
        ("[::1]:5672", Server("amqp", "[::1]:5672")),
        ("amqp://user:secret@rabbit/", None),
        ("user@rabbit", None),
        ("http://rabbit", None),
        ("rabbit?password=secret", None),
        ("{host}", None),
        ("", None),
    ],
)
def test_server_is_a_host_without_anybody_who_logs_in(text: str, server: Server | None) -> None:
    assert server_of(text) == server


def test_virtual_host_of_the_servers_is_that_of_each_binding() -> None:
    document = asyncapi_document(
        Topology(queues=[packing], events=[paid]),
        (),
        title="shop",
        version="1.0",
        servers=[Server("amqp", "one", "a%2Fb"), Server("amqp", "two", "a%2Fb")],
    )

    assert [each["pathname"] for each in document["servers"].values()] == ["/a%2Fb", "/a%2Fb"]
    (channel,) = document["channels"].values()
    assert channel["bindings"]["amqp"]["exchange"]["vhost"] == "a/b"


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capsys, monkeypatch)


def test_server_with_a_password_is_refused_and_not_repeated(line: CommandLine) -> None:
    ended = line.run("schema", "wiring:routes", "--format", "asyncapi", "--server", "amqp://user:secret@rabbit")

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "secret" not in ended.err


@pytest.mark.parametrize("option", ["--title", "--api-version", "--server"])
def test_option_of_asyncapi_is_refused_with_another_format(line: CommandLine, option: str) -> None:
    ended = line.run("schema", "wiring:routes", "--format", "definitions", option, "x")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"taskroute schema: {option} is for --format asyncapi: leave it out with --format definitions\n"


def test_schema_of_what_cannot_run_is_refused(line: CommandLine) -> None:
    line.write(
        "app.py",
        "from wiring import *\nregistry.add('a', lambda: None, queue='no')\nclass app: pass\n"
        "app.topology, app.registry = topology, registry\n",
    )

    ended = line.run("schema", "app:app", "--format", "asyncapi")

    assert (ended.code, ended.out) == (2, "")
    assert "the topology has no queue 'no'" in ended.err


def test_version_left_out_is_that_of_the_package(line: CommandLine) -> None:
    line.write("shop/__init__.py", "__version__ = '3.2'\n")
    line.write("shop/app.py", "from wiring import routes\n")

    ended = line.run("schema", "shop.app:routes", "--format", "asyncapi")

    assert json.loads(ended.out)["info"] == {"title": "shop", "version": "3.2"}


def test_schema_command_prints_the_document(line: CommandLine) -> None:
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


PAGE = (Path(__file__).parents[2] / "docs" / "asyncapi.md").read_text()
SHOWN = re.findall(r"^\$ taskroute (.*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("command", "prints"), SHOWN)
def test_page_shows_what_its_program_prints(line: CommandLine, command: str, prints: str) -> None:
    (program,) = re.findall(r"^```python shop.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    line.write("shop.py", program)

    ended = line.run(*command.split())

    pattern = re.escape(prints.strip()).replace("…", ".*")
    assert re.fullmatch(pattern, ended.out.strip(), re.DOTALL), ended.out + ended.err

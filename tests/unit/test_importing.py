"""From what a broker has to the Python of a topology, and back."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.topologies import topologies

from taskroute import QueueSpec, Topology
from taskroute.operate.importing.adopt import Adoption, adopt
from taskroute.operate.importing.found import FoundBinding, FoundExchange, FoundQueue
from taskroute.operate.importing.reading import read_definitions
from taskroute.operate.importing.source import source_of
from taskroute.quoting import shorten
from taskroute.topology.definitions import definitions_of

Definitions = dict[str, list[dict[str, Any]]]


def adopted(definitions: object) -> Adoption:
    return adopt(read_definitions(json.dumps(definitions).encode()))


def run(source: str) -> Topology:
    """Run a module that was printed, and return its topology."""
    module: dict[str, Any] = {}
    exec(compile(source, "printed.py", "exec"), module)
    topology: Topology = module["topology"]
    return topology


def sorted_texts(definitions: Definitions) -> dict[str, list[str]]:
    return {
        kind: sorted(json.dumps(each, sort_keys=True) for each in entities) for kind, entities in definitions.items()
    }


def queue(name: str = "jobs", **arguments: object) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return {"name": name, "durable": True, "auto_delete": False, "arguments": named}


def exchange(name: str = "shop", kind: str = "topic", **arguments: object) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return {"name": name, "type": kind, "durable": True, "auto_delete": False, "internal": False, "arguments": named}


def binding(source: str = "shop", destination: str = "jobs", key: str = "a.#", **more: object) -> dict[str, Any]:
    kind = {"destination_type": "queue", "arguments": {}}
    return {"source": source, "destination": destination, "routing_key": key, **kind, **more}


@settings(max_examples=60)
@given(topologies())
def test_printed_topology_exports_the_same_definitions_again(topology: Topology) -> None:
    definitions = definitions_of(topology)

    adoption = adopted(definitions)

    assert list(adoption.all_notes()) == []
    assert sorted_texts(definitions_of(run(source_of(adoption)))) == sorted_texts(definitions)


@pytest.mark.parametrize(
    ("found", "printed"),
    [
        (queue(), 'QueueSpec(name="jobs", type="classic", retry=False, dead_letter=False)'),
        (queue(x_queue_type="quorum", x_delivery_limit=20), 'QueueSpec(name="jobs", retry=False, dead_letter=False)'),
        (
            queue(x_message_ttl=1500.0, x_o=1) | {"durable": False},
            'QueueSpec(name="jobs", durable=False, message_ttl=1.5, arguments={"x-o": 1})',
        ),
        (queue() | {"auto_delete": True}, 'QueueSpec(name="jobs", auto_delete=True)'),
        (queue(x_queue_type="stream"), 'QueueSpec(name="jobs", type="stream")'),
    ],
)
def test_spec_says_only_what_differs_from_the_defaults(found: dict[str, Any], printed: str) -> None:
    source = source_of(adopted({"queues": [found]}))

    assert ast.dump(ast.parse(source).body[2].value) == ast.dump(ast.parse(printed).body[0].value)  # type: ignore[attr-defined]


HELPERS = definitions_of(Topology(queues=[QueueSpec(name="jobs")]))["queues"]


def test_helper_queues_are_folded_into_their_queue() -> None:
    assert [each.fields for each in adopted({"queues": HELPERS}).queues] == [{"name": "jobs"}]


@pytest.mark.parametrize(
    ("name", "change"),
    [("jobs.retry.5000", {"x-message-ttl": 5001}), ("jobs.retry.5000", {"x-max-length": 7}), ("jobs.dead", {})],
)
def test_helper_that_is_not_as_we_declare_it_is_a_queue_of_its_own(name: str, change: dict[str, Any]) -> None:
    """It is bound, or has other arguments: its queue goes without, or with what is there."""
    changed = [each | {"arguments": each["arguments"] | (change if each["name"] == name else {})} for each in HELPERS]
    bound = [binding("shop", name)] if not change else []

    adoption = adopted({"exchanges": [exchange()], "queues": changed, "bindings": bound})

    assert [each.name for each in adoption.queues] == ["jobs", name]
    assert list(adoption.all_notes()) == []
    assert len(definitions_of(run(source_of(adoption)))["queues"]) == len(HELPERS)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (queue(x_queue_type="quorum"), "passive: a spec would declare x-delivery-limit=20 where the broker has none"),
        (queue(x_dead_letter_exchange="dlx"), "passive: a spec would declare no x-dead-letter-exchange, where"),
        (queue(x_queue_type="quorum", x_delivery_limit=3, x_max_priority=5), "passive: max_priority: a quorum queue"),
        (queue(x_max_length=True), "passive: a spec would declare x-max-length=1 instead of True"),
        (queue(x_message_ttl="60000"), "passive: message_ttl: "),
        (queue(x_list=[1]), "passive: arguments.x-list."),
        (queue(x_overflow="reject-publish"), "passive: overflow: nothing overflows without a limit"),
        (queue(x_queue_type="delayed"), "passive: there is no spec of its type, 'delayed'"),
    ],
)
def test_queue_that_no_spec_declares_is_passive_with_the_reason(found: dict[str, Any], reason: str) -> None:
    adoption = adopted({"exchanges": [exchange()], "queues": [found], "bindings": [binding()]})
    topology = run(source_of(adoption))

    assert [note for note in adoption.all_notes() if note.startswith(f"queue 'jobs': {reason}")]
    assert (topology.queue("jobs").passive, len(topology.all_queues)) == (True, 1)
    assert topology.route("a.b", exchange="shop") == {"jobs"}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (binding(key="a.b*"), "a wildcard"),
        (binding(arguments={"x": 1}), "headers: only a headers exchange"),
        (binding("fan", key="a"), "binding_key: a fanout exchange ignores it"),
        (binding("marks", key="", arguments={"size": 1}), "a spec would declare x-match='all' where the broker has no"),
        (binding("marks", key="", arguments={"size": 1.5, "x-match": "all"}), "headers.size"),
        (binding("delayed"), "that exchange has no spec"),
        (binding("nowhere"), "that exchange has no spec"),
    ],
)
def test_binding_that_no_spec_declares_is_left_out_with_the_reason(found: dict[str, Any], reason: str) -> None:
    kinds = {"shop": "topic", "fan": "fanout", "marks": "headers", "delayed": "x-delayed-message"}
    exchanges = [exchange(name, kind) for name, kind in kinds.items()]

    adoption = adopted({"exchanges": exchanges, "queues": [queue()], "bindings": [found, binding(key="b")]})

    notes = [note for note in adoption.all_notes() if note.startswith("queue 'jobs': binding ")]
    assert len(notes) == 1
    assert reason in notes[0]
    assert [each["routing_key"] for each in definitions_of(run(source_of(adoption)))["bindings"]] == ["b"]


def test_exchange_that_no_spec_declares_is_passive_or_left_out() -> None:
    exchanges = [
        exchange("delayed", "x-delayed-message"),
        exchange("mixed", alternate_exchange="delayed"),
        exchange("listed", x=[1]),
        exchange("amq.topic"),
        exchange("plain", alternate_exchange="amq.fanout"),
    ]

    adoption = adopted({"exchanges": exchanges})
    topology = run(source_of(adoption))

    assert {each.name: each.passive for each in topology.exchanges} == {
        "mixed": True,
        "listed": True,
        "plain": False,
        "amq.fanout": True,
    }
    assert [note.partition(":")[0] for note in adoption.all_notes()] == [
        "exchange 'delayed' is left out",
        "exchange 'mixed'",
        "exchange 'listed'",
    ]


def test_exchanges_that_are_bound_in_a_circle_are_printed() -> None:
    between = {"destination_type": "exchange"}
    bindings = [binding("a", "b", "x", **between), binding("b", "a", "y", **between), binding("a", "a", "z", **between)]
    definitions = {"exchanges": [exchange("a"), exchange("b")], "queues": [], "bindings": bindings}

    printed = definitions_of(run(source_of(adopted(definitions))))

    assert sorted(each["routing_key"] for each in printed["bindings"]) == ["x", "y", "z"]


def test_what_no_topology_says_is_noted_without_secrets() -> None:
    shovel = {"component": "shovel", "name": "move", "vhost": "/", "value": {"src-uri": "amqp://a:hidden@b"}}
    limits = {"name": "limits", "pattern": "^a", "apply-to": "queues", "priority": 1, "definition": {"max-length": 7}}
    definitions = {
        "users": [{"name": "ops", "password_hash": "hidden"}],
        "permissions": [{"user": "ops", "vhost": "/"}, {"user": "ops", "vhost": "other"}],
        "parameters": [shovel, {"component": "operator_policy", "name": "op", "vhost": "/", "value": limits}],
        "policies": [{"vhost": "/", **limits}, {**limits, "vhost": "other"}],
        "queues": [queue() | {"vhost": "/"}],
    }

    adoption = adopted(definitions)
    source = source_of(adoption)

    assert list(adoption.notes) == [
        "policy 'limits' (queues like '^a', priority 1) is left out: {\"max-length\": 7}",
        "parameter 'move' of 'shovel' is left out",
        "operator policy 'limits' (queues like '^a', priority 1) is left out: {\"max-length\": 7}",
        "users are left out: 1",
        "permissions are left out: 1",
    ]
    assert "hidden" not in source
    for note in adoption.notes:
        assert note.partition(" (")[0] in source


def test_names_that_are_code_stay_names() -> None:
    name = 'a"""\\\'; import os; os.abort() #'
    definitions = {"queues": [queue(name), queue("x\nimport os")], "policies": [{"apply-to": "y\nimport os"}]}

    source = source_of(adopted(definitions))

    assert [each.name for each in run(source).queues] == [name]
    assert [type(each).__name__ for each in ast.parse(source).body] == ["Expr", "ImportFrom", "Assign", "Assign"]
    assert "import os" in source


HOSTILE = st.text(st.sampled_from("\"'\\\n\r\t#{}()=,;:.\u2028\x85\u202e\x00éЖ aq0*"), max_size=12) | st.sampled_from(
    (
        'x"""\nimport os\nos.abort()\n"""',
        "'''",
        "x\n__import__('os').abort()\n#",
        "{os.abort()}",
        "\\",
        "topology",
        "import",
        "ExchangeSpec",
        "QueueSpec",
        "None",
        "print",
        "amq.gen-x",
        "amq.topic",
        "\ud800",
        "a" * 300,
        "jobs.retry.1000",
        "jobs.dead",
        "jobs",
        "%s{0}",
    )
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**64) | st.floats(allow_nan=False, allow_infinity=False) | HOSTILE,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(HOSTILE, inner, max_size=2),
    max_leaves=3,
)
ARGUMENT_NAMES = HOSTILE | st.sampled_from(
    (
        "x-queue-type",
        "x-message-ttl",
        "x-expires",
        "x-max-length",
        "x-overflow",
        "x-delivery-limit",
        "x-dead-letter-exchange",
        "x-dead-letter-routing-key",
        "x-match",
        "alternate-exchange",
    )
)
ARGUMENTS = st.dictionaries(
    ARGUMENT_NAMES, JSON_VALUES | st.sampled_from(("quorum", "classic", "stream", "all", 1000, 20)), max_size=4
)


@st.composite
def foreign_definitions(draw: st.DrawFn) -> Definitions:
    names = draw(st.lists(HOSTILE, min_size=1, max_size=6))
    kinds = st.sampled_from(("topic", "direct", "fanout", "headers", "x-delayed-message")) | HOSTILE
    return {
        "exchanges": [
            exchange(name, draw(kinds)) | {"durable": draw(st.booleans()), "arguments": draw(ARGUMENTS)}
            for name in dict.fromkeys(draw(st.lists(st.sampled_from(names), max_size=4)))
        ],
        "queues": [
            queue(name) | {"durable": draw(st.booleans()), "arguments": draw(ARGUMENTS)}
            for name in dict.fromkeys(draw(st.lists(st.sampled_from(names), max_size=4)))
        ],
        "bindings": [
            binding(draw(st.sampled_from(names)), draw(st.sampled_from(names)), draw(HOSTILE))
            | {"destination_type": draw(st.sampled_from(("queue", "exchange"))), "arguments": draw(ARGUMENTS)}
            for _ in range(draw(st.integers(0, 4)))
        ],
        "policies": [{"name": draw(HOSTILE), "pattern": draw(HOSTILE), "definition": draw(JSON_VALUES)}],
    }


@settings(max_examples=60)
@given(foreign_definitions())
def test_nothing_in_a_file_gets_out_of_a_string_or_a_comment(definitions: Definitions) -> None:
    source = source_of(adopted(definitions))

    docstring, imported, *statements = ast.parse(source).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(imported, ast.ImportFrom)
    names = [each.targets[0].id for each in statements]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    for statement in statements:
        assert isinstance(statement, ast.Assign)
        for node in ast.walk(statement.value):
            assert not isinstance(node, ast.Call) or ast.unparse(node.func).partition(".")[0] in CALLED | set(names)
            assert isinstance(node, ALLOWED)
    assert all(line.isprintable() for line in source.split("\n"))
    assert "\ud800" not in source


CALLED = {"ExchangeSpec", "QueueSpec", "BindingSpec", "RetryPolicy", "Topology"}
ALLOWED = (
    ast.Call,
    ast.Name,
    ast.Attribute,
    ast.List,
    ast.Dict,
    ast.Constant,
    ast.UnaryOp,
    ast.USub,
    ast.keyword,
    ast.Load,
)


@settings(max_examples=60)
@given(foreign_definitions())
def test_foreign_definitions_are_exported_again_but_for_what_is_noted(definitions: Definitions) -> None:
    found = read_definitions(json.dumps(definitions).encode())
    adoption = adopt(found)

    exported = definitions_of(run(source_of(adoption)))

    notes = list(adoption.all_notes())
    there: dict[str, list[Any]] = {
        "exchanges": [each for each in found.exchanges if not each.name.startswith("amq.") and each.name],
        "queues": [replace(each, arguments={**each.arguments, "x-queue-type": each.type}) for each in found.queues],
        "bindings": [each for each in found.bindings if each.source],
    }
    for kind, entities in there.items():
        again = [_text({name: each[name] for name in NAMES[kind]}) for each in exported[kind]]
        known = [_text({name: getattr(each, name) for name in NAMES[kind]}) for each in entities]
        assert set(again) <= set(known)
        for each, text in zip(entities, known, strict=True):
            assert text in again or any(_is_about(note, each) for note in notes)


NAMES = {
    "exchanges": ("name", "type", "durable", "auto_delete", "internal", "arguments"),
    "queues": ("name", "durable", "auto_delete", "arguments"),
    "bindings": ("source", "destination", "destination_type", "routing_key", "arguments"),
}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _is_about(note: str, found: FoundExchange | FoundQueue | FoundBinding) -> bool:
    if isinstance(found, FoundBinding):
        of_queue = found.destination_type == "queue" and note.startswith(f"queue {shorten(found.destination)}: passive")
        return of_queue or f"binding {shorten(found.routing_key)} from exchange {shorten(found.source)}" in note
    kind = "queue" if isinstance(found, FoundQueue) else "exchange"
    return note.startswith((f"{kind} {shorten(found.name)} is left out", f"{kind} {shorten(found.name)}: passive"))

"""RabbitMQ definitions of a topology."""

from __future__ import annotations

import json

from hypothesis import given, settings
from tests.kit.topologies import topologies

from taskroute import ExchangeSpec, QueueSpec, Topology
from taskroute.topology.definitions import definitions_of, remarks_on

hub = ExchangeSpec(name="hub")
marks = ExchangeSpec(name="marks", type="headers", durable=False, alternate_exchange=hub, bindings=[hub.bind("a.#")])
jobs = QueueSpec(name="jobs", bindings=[marks.bind(headers={"size": 1}), hub.bind("b"), hub.bind("b")], retry=False)


def test_definitions_say_what_is_declared_with_helper_queues() -> None:
    found = definitions_of(Topology(exchanges=[hub, marks], queues=[jobs]), "shop")

    assert [each["name"] for each in found["exchanges"]] == ["hub", "marks"]
    assert found["exchanges"][1] == {
        "name": "marks",
        "vhost": "shop",
        "type": "headers",
        "durable": False,
        "auto_delete": False,
        "internal": False,
        "arguments": {"alternate-exchange": "hub"},
    }
    assert [(each["name"], each["durable"]) for each in found["queues"]] == [("jobs", True), ("jobs.dead", True)]
    assert found["queues"][0]["arguments"] == jobs.broker_arguments
    assert [(each["destination_type"], each["routing_key"], each["arguments"]) for each in found["bindings"]] == [
        ("exchange", "a.#", {}),
        ("queue", "", {"size": 1, "x-match": "all"}),
        ("queue", "b", {}),
    ]


def test_what_is_not_ours_to_declare_is_left_out_and_said() -> None:
    topic, theirs = ExchangeSpec(name="amq.topic"), ExchangeSpec(name="theirs", passive=True)
    own = QueueSpec(name="own", bindings=[topic.bind("a"), theirs.bind("b")], retry=False, dead_letter=False)
    foreign = QueueSpec(name="foreign", passive=True, bindings=[topic.bind("c")], retry=False)
    mine = QueueSpec(name="mine", exclusive=True, bindings=[topic.bind("d")])
    topology = Topology(queues=[own, foreign, mine])

    found = definitions_of(topology)

    assert found["exchanges"] == []
    assert [each["name"] for each in found["queues"]] == ["own", "foreign.dead"]
    assert [(each["source"], each["destination"]) for each in found["bindings"]] == [
        ("amq.topic", "own"),
        ("theirs", "own"),
    ]
    assert list(remarks_on(topology)) == [
        "exchange 'amq.topic' is left out: it is the broker's own, and must be there",
        "exchange 'theirs' is left out: it is somebody else's, and must be there",
        "queue 'foreign' is left out: it is somebody else's, and must be there",
        "queue 'mine' is left out: it is exclusive, its connection declares it",
    ]


def test_import_that_would_bind_two_queues_for_one_is_warned_of() -> None:
    (remark,) = remarks_on(Topology(queues=[QueueSpec(name="jobs.2", replaces="jobs")]))

    assert remark.startswith("queue 'jobs.2' replaces 'jobs', and an import binds it at once: while that is there")


@settings(max_examples=40)
@given(topologies())
def test_definitions_are_plain_json_and_name_each_thing_once(topology: Topology) -> None:
    found = definitions_of(topology)

    assert json.loads(json.dumps(found)) == found
    for kind in ("exchanges", "queues"):
        names = [each["name"] for each in found[kind]]
        assert len(set(names)) == len(names)
    bindings = [json.dumps(each, sort_keys=True) for each in found["bindings"]]
    assert len(set(bindings)) == len(bindings)

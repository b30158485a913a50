"""RabbitMQ definitions, imported into a RabbitMQ: they give what declaring gives."""

from __future__ import annotations

import base64
import json
import urllib.request
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.kit import rabbitmq as server
from tests.kit.command_line import CommandLine
from tests.kit.peer import looking
from tests.kit.topologies import topologies

from taskroute import ExchangeSpec, Publisher, QueueSpec, Topology
from taskroute.broker.url import BrokerUrl, parse_urls
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import Observed, observe_all
from taskroute.topology.definitions import definitions_of

PREFIXES = count()


@pytest.fixture
def other_url(request: pytest.FixtureRequest, rabbitmq_url: str) -> Any:
    """A second virtual host of the same broker."""
    from tests.kit import given as broker

    with (broker.broker() or request.getfixturevalue("rabbitmq")).vhost() as url:
        yield url


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_import_gives_exactly_what_declaring_gives(
    data: st.DataObject, rabbitmq_url: str, other_url: str, rabbitmq_api: str
) -> None:
    """Names are never used twice, so that the two virtual hosts serve all examples."""
    declared, imported = parse_urls(rabbitmq_url)[0], parse_urls(other_url)[0]
    topology = data.draw(topologies(f"{next(PREFIXES)}.", transient=False))

    with Publisher(rabbitmq_url, topology) as publisher:
        publisher.start()
    _post(rabbitmq_api, imported, definitions_of(topology, imported.virtual_host))

    assert _all_of(rabbitmq_api, imported) == _all_of(rabbitmq_api, declared)


def test_rabbitmqctl_imports_what_the_command_prints(rabbitmq: server.Node) -> None:
    hub = ExchangeSpec(name="hub")
    topology = Topology(queues=[QueueSpec(name="jobs", bindings=[hub.bind("a.#")])])

    with rabbitmq.vhost_name() as name:
        file = rabbitmq.home / "definitions.json"
        file.write_text(json.dumps(definitions_of(topology, name)))
        rabbitmq.ctl(
            "import_definitions", str(file if str(server.ROOT) == "/" else "/" / file.relative_to(server.ROOT))
        )
        found = observe_all(ManagementApi(rabbitmq.api, user="guest", password="guest"), name)

    assert {each: dict(queue.arguments) for each, queue in found.queues.items()} == {
        queue.name: dict(queue.broker_arguments) for queue in topology.all_queues
    }
    assert [each.routing_key for each in found.bindings] == ["a.#"]


def _entity(name: str, **fields: object) -> dict[str, Any]:
    return {"name": name, "durable": True, "auto_delete": False, "internal": False, "arguments": {}, **fields}


def _binding(source: str, destination: str, key: str, arguments: object = None) -> dict[str, Any]:
    ends = {"source": source, "destination": destination, "destination_type": "queue"}
    return {**ends, "routing_key": key, "arguments": arguments or {}}


OWNED = Topology(
    queues=[QueueSpec(name="jobs", bindings=[ExchangeSpec(name="hub").bind("a.#")]), QueueSpec(name="a / b")]
)


def test_live_virtual_host_is_imported_as_it_was_declared(
    line: CommandLine, rabbitmq_url: str, rabbitmq_api: str
) -> None:
    with looking(rabbitmq_url) as other, Publisher(rabbitmq_url, OWNED) as publisher:
        publisher.start()
        other.channel.queue_declare("mine", exclusive=True)
        ended = line.run("import", "--url", rabbitmq_url, "--api", rabbitmq_api)
    line.write("printed.py", ended.out)
    exported = json.loads(line.run("schema", "printed:topology", "--format", "definitions").out)

    assert ended.code == 0
    assert ended.err == "taskroute import: queue 'mine' is left out: it is exclusive, its connection declares it\n"
    assert {kind: sorted(map(str, entities)) for kind, entities in exported.items()} == {
        kind: sorted(map(str, entities)) for kind, entities in definitions_of(OWNED).items()
    }


FOREIGN = {
    "exchanges": [_entity("hub", type="topic"), _entity("dlx", type="fanout"), _entity("marks", type="headers")],
    "queues": [
        _entity("plain"),
        _entity("limitless", arguments={"x-queue-type": "quorum"}),
        _entity("lettered", arguments={"x-queue-type": "quorum", "x-dead-letter-exchange": "dlx"}),
        _entity("listed", arguments={"x-queue-type": "classic", "x-notes": [1, {"a": 1.5}]}),
        *definitions_of(OWNED)["queues"],
    ],
    "bindings": [
        _binding("hub", "plain", "a.b*"),
        _binding("hub", "limitless", "#"),
        _binding("dlx", "plain", "ignored"),
        _binding("marks", "plain", "", {"size": 1}),
        _binding("marks", "jobs", "", {"size": 1, "x-match": "any"}),
    ],
}
"""What no spec of ours declares, beside what one does."""


def test_plan_of_an_imported_topology_changes_nothing(line: CommandLine, rabbitmq_url: str, rabbitmq_api: str) -> None:
    _post(rabbitmq_api, parse_urls(rabbitmq_url)[0], FOREIGN)
    broker = ("--url", rabbitmq_url, "--api", rabbitmq_api)

    line.write("printed.py", line.run("import", *broker).out)
    planned = line.run("plan", "printed:topology", *broker)

    assert (planned.code, planned.err) == (0, ""), planned.out


def test_tag_management_suffices_for_an_import(line: CommandLine, rabbitmq: server.Node) -> None:
    with rabbitmq.vhost_name() as name:
        rabbitmq.eval(
            f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"pass">>, <<"test">>), '
            f'rabbit_auth_backend_internal:set_tags(<<"{name}">>, [management], <<"test">>), '
            f'rabbit_auth_backend_internal:set_permissions(<<"{name}">>, <<"{name}">>, <<>>, <<>>, <<>>, <<"test">>), '
            f'rabbit_policy:set(<<"{name}">>, <<"limits">>, <<"^jobs$">>, [{{<<"max-length">>, 7}}], 0, <<"queues">>, '
            f'<<"test">>).'
        )
        with Publisher(rabbitmq.url(name), OWNED) as publisher:
            publisher.start()
        ended = line.run("import", "--url", rabbitmq.url(name, user=f"{name}:pass"), "--api", rabbitmq.api)

    assert ended.err.splitlines() == [
        "taskroute import: policy 'limits' (queues like '^jobs$', priority 0) is left out: {\"max-length\": 7}",
        "taskroute import: queue 'jobs': policy 'limits' is in effect on it",
    ]
    assert (
        '# policy \'limits\' is in effect on it\njobs = QueueSpec(name="jobs", bindings=[hub.bind("a.#")])' in ended.out
    )


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capsys, monkeypatch)


def _post(api: str, node: BrokerUrl, definitions: object) -> None:
    credentials = base64.b64encode(f"{node.user}:{node.password}".encode()).decode()
    request = urllib.request.Request(
        f"{api}/api/definitions/{quote(node.virtual_host, safe='')}",
        data=json.dumps(definitions).encode(),
        headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


def _all_of(api: str, node: BrokerUrl) -> object:
    found: Observed = observe_all(ManagementApi(api, user=node.user, password=node.password), node.virtual_host)
    queues = {
        name: (queue.type, queue.durable, queue.auto_delete, queue.arguments) for name, queue in found.queues.items()
    }
    bindings = sorted(
        (each.source, each.destination_type, each.destination, each.routing_key, str(sorted(each.arguments.items())))
        for each in found.bindings
    )
    return found.exchanges, queues, bindings

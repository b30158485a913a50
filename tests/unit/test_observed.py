"""What a live virtual host has, read from answers as brokers of several versions give them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from taskroute import BrokerUnavailableError
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import ObservedConsumer, ObservedPolicy, observe, observe_all, observe_policies

QUEUE: dict[str, Any] = {"name": "jobs", "durable": True, "auto_delete": False, "arguments": {}, "type": "quorum"}
EXCHANGE: dict[str, Any] = {
    "name": "shop",
    "type": "topic",
    "durable": True,
    "auto_delete": False,
    "internal": False,
    "arguments": {},
}
BINDING: dict[str, Any] = {
    "source": "shop",
    "destination": "jobs",
    "destination_type": "queue",
    "routing_key": "a.#",
    "arguments": {},
    "properties_key": "a.%23",
}


class Broker(ThreadingHTTPServer):
    """Answers what stands in `answers` under a path; anything else is not there."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.answers: dict[str, object] = {
            "/api/exchanges/%2F/amq.default": {**EXCHANGE, "name": ""},
            "/api/queues/%2F/jobs": QUEUE,
            "/api/queues/%2F/jobs/bindings": [],
        }
        self.api = ManagementApi(f"http://127.0.0.1:{self.server_port}", user="a", password="b")


class Answering(BaseHTTPRequestHandler):
    server: Broker

    def do_GET(self) -> None:
        found = self.server.answers.get(urlsplit(self.path).path)
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("count", [{}, {"consumers": 0}])
def test_consumers_of_a_queue_with_one_active_are_those_that_are_named(broker: Broker, count: dict[str, int]) -> None:
    """RabbitMQ 3.10 counts none for a quorum queue, and 4.3 counts 0."""
    arguments = {"x-single-active-consumer": True}
    named = [{"consumer_tag": "a"}, {"consumer_tag": "b"}]
    broker.answers["/api/queues/%2F/jobs"] = {**QUEUE, **count, "arguments": arguments, "consumer_details": named}

    queue = observe(broker.api, "/", queues=["jobs"]).queues["jobs"]

    assert queue.consumers == 2
    assert [each.tag for each in queue.consumer_details or ()] == ["a", "b"]


def test_what_the_broker_does_not_say_is_unknown_and_not_zero(broker: Broker) -> None:
    """The view of a queue whose statistics have not come yet, by RabbitMQ 3.10."""
    broker.answers["/api/queues/%2F/jobs"] = {**QUEUE, "consumer_details": [], "deliveries": []}

    queue = observe(broker.api, "/", queues=["jobs"]).queues["jobs"]

    assert (queue.messages, queue.ready, queue.unacknowledged, queue.consumers) == (None, None, None, None)
    assert (queue.consumer_details, queue.policy, queue.operator_policy) == (None, None, None)
    assert queue.policy_definition is None


def test_counts_are_read_where_they_are(broker: Broker) -> None:
    counts = {"messages": 3, "messages_ready": 2, "messages_unacknowledged": 1, "consumers": 1}
    details = {"consumer_tag": "c", "arguments": {"x": "y"}, "channel_details": {"connection_name": "1 -> 2"}}
    broker.answers["/api/queues/%2F/jobs"] = {**QUEUE, **counts, "consumer_details": [details]}

    queue = observe(broker.api, "/", queues=["jobs"]).queues["jobs"]

    assert (queue.messages, queue.ready, queue.unacknowledged, queue.consumers) == (3, 2, 1, 1)
    assert queue.consumer_details == (ObservedConsumer("c", {"x": "y"}, "1 -> 2"),)


def test_consumers_of_which_not_each_is_told_are_unknown(broker: Broker) -> None:
    broker.answers["/api/queues/%2F/jobs"] = {**QUEUE, "consumers": 2, "consumer_details": [{}]}

    queue = observe(broker.api, "/", queues=["jobs"]).queues["jobs"]

    assert (queue.consumers, queue.consumer_details) == (2, None)


def test_policies_are_told_with_their_priorities(broker: Broker) -> None:
    told = [
        {"name": "limits", "priority": 7, "definition": {"max-length": 9.0}},
        {"name": "none", "definition": []},
    ]
    broker.answers["/api/policies/%2F"] = told

    assert observe_policies(broker.api, "/") == {
        "limits": ObservedPolicy("limits", 7, {"max-length": 9}),
        "none": ObservedPolicy("none", 0, {}),
    }


@pytest.mark.parametrize("told", [[{"priority": 1}], ["limits"], {"items": 1}])
def test_answer_that_tells_no_policies_is_an_error(broker: Broker, told: object) -> None:
    broker.answers["/api/policies/%2F"] = told

    with pytest.raises(BrokerUnavailableError, match="policies"):
        observe_policies(broker.api, "/")


@pytest.mark.parametrize("empty", [[], "", {}, None])
def test_each_way_to_say_empty_is_the_same(broker: Broker, empty: object) -> None:
    told = {"policy": None, "operator_policy": "", "effective_policy_definition": empty, "arguments": empty}
    broker.answers["/api/queues/%2F/jobs"] = {**QUEUE, **told}

    queue = observe(broker.api, "/", queues=["jobs"]).queues["jobs"]

    assert (queue.policy, queue.operator_policy) == ("", "")
    assert (queue.policy_definition, queue.arguments) == ({}, {})


@pytest.mark.parametrize(
    ("told", "is_exclusive", "kind"),
    [
        ({"exclusive": None}, False, "quorum"),
        ({"exclusive": None, "type": "rabbit_classic_queue"}, None, "classic"),
        ({"exclusive": True, "type": None, "arguments": {"x-queue-type": "classic"}}, True, "classic"),
        ({"type": None}, None, None),
    ],
)
def test_type_and_exclusiveness_are_what_the_broker_means(
    broker: Broker, told: dict[str, object], is_exclusive: bool | None, kind: str | None
) -> None:
    broker.answers["/api/queues/%2F/jobs"] = {**QUEUE, **told}

    queue = observe(broker.api, "/", queues=["jobs"]).queues["jobs"]

    assert (queue.exclusive, queue.type) == (is_exclusive, kind)


def test_whole_numbers_that_come_as_floats_are_ints(broker: Broker) -> None:
    broker.answers["/api/queues/%2F/jobs"] = {**QUEUE, "messages": 2.0, "arguments": {"a": 7.0, "b": [1.5, {"c": 2.0}]}}

    queue = observe(broker.api, "/", queues=["jobs"]).queues["jobs"]

    assert repr((queue.messages, dict(queue.arguments))) == "(2, {'a': 7, 'b': [1.5, {'c': 2}]})"


def test_what_is_not_there_is_left_out(broker: Broker) -> None:
    observed = observe(broker.api, "/", queues=["jobs", "gone"], exchanges=["gone"])

    assert (list(observed.queues), list(observed.exchanges)) == (["jobs"], [])


def test_bindings_of_queue_and_exchange_are_read_once_each(broker: Broker) -> None:
    default = {**BINDING, "source": "", "routing_key": "jobs"}
    between = {**BINDING, "destination": "shop", "destination_type": "exchange"}
    broker.answers |= {
        "/api/exchanges/%2F/shop": EXCHANGE,
        "/api/queues/%2F/jobs/bindings": [default, BINDING],
        "/api/exchanges/%2F/shop/bindings/source": [BINDING, between],
        "/api/exchanges/%2F/shop/bindings/destination": [between],
    }

    observed = observe(broker.api, "/", queues=["jobs"], exchanges=["shop"])

    assert [(each.destination, each.properties_key) for each in observed.bindings] == [
        ("jobs", "a.%23"),
        ("shop", "a.%23"),
    ]


def test_whole_virtual_host_is_read_by_its_lists(broker: Broker) -> None:
    broker.answers |= {
        "/api/queues/%2F": {"items": [{**QUEUE, "policy": "limits", "state": "running"}, QUEUE], "page_count": 1},
        "/api/exchanges/%2F": {"items": [{**EXCHANGE, "name": ""}, EXCHANGE], "page_count": 1},
        "/api/bindings/%2F": [BINDING],
    }

    observed = observe_all(broker.api, "/")

    assert list(observed.exchanges) == ["shop"]
    assert (observed.queues["jobs"].policy, observed.queues["jobs"].consumers) == ("", None)
    assert len(observed.bindings) == 1


def test_missing_virtual_host_is_an_error_and_not_empty(broker: Broker) -> None:
    for look in (lambda: observe(broker.api, "shop", queues=["jobs"]), lambda: observe_all(broker.api, "shop")):
        with pytest.raises(BrokerUnavailableError, match="no virtual host 'shop'"):
            look()


@pytest.mark.parametrize("wrong", [{"name": "jobs"}, {**QUEUE, "durable": "yes"}])
def test_answer_of_another_product_is_an_error(broker: Broker, wrong: object) -> None:
    broker.answers["/api/queues/%2F/jobs"] = wrong

    with pytest.raises(BrokerUnavailableError, match="nothing that RabbitMQ says"):
        observe(broker.api, "/", queues=["jobs"])


@pytest.mark.parametrize("wrong", [{}, ["a"], [{**BINDING, "destination_type": "stream"}]])
def test_bindings_of_another_product_are_an_error(broker: Broker, wrong: object) -> None:
    broker.answers["/api/queues/%2F/jobs/bindings"] = wrong

    with pytest.raises(BrokerUnavailableError, match="nothing that RabbitMQ says"):
        observe(broker.api, "/", queues=["jobs"])

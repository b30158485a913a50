"""What a live virtual host has, read from a RabbitMQ over its management API."""

from __future__ import annotations

from tests.kit.waiting import until

from taskroute import ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, Topology, Worker
from taskroute.broker.url import parse_urls
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import ObservedBinding, ObservedQueue, observe, observe_all

hub = ExchangeSpec(name="hub")
shop = ExchangeSpec(name="shop / ünï", internal=True, bindings=[hub.bind("order.#")])
marks = ExchangeSpec(name="marks", type="headers")
jobs = QueueSpec(
    name="jobs % a",
    bindings=[shop.bind("order.*.paid"), marks.bind(headers={"x": 1}), marks.bind(headers={"x": "a"})],
    max_length=10,
)
tasks = QueueSpec(name="tasks", type="classic", retry=False, dead_letter=False)
notes = tasks.model_copy(update={"name": "notes"})
topology = Topology(queues=[jobs, tasks, notes])


def test_what_was_declared_is_observed(rabbitmq_url: str, rabbitmq_api: str) -> None:
    (node,) = parse_urls(rabbitmq_url)
    api = ManagementApi(rabbitmq_api, user=node.user, password=node.password)
    with Publisher(rabbitmq_url, topology) as publisher:
        publisher.publish(b"1", "tasks", exchange="")

    found = observe(api, node.virtual_host, queues=[each.name for each in topology.all_queues], exchanges=["hub"])
    everything = observe_all(api, node.virtual_host)

    assert {name: dict(queue.arguments) for name, queue in found.queues.items()} == {
        queue.name: dict(queue.broker_arguments) for queue in topology.all_queues
    }
    assert {queue.type for queue in found.queues.values()} == {"quorum", "classic"}
    assert {queue.exclusive for queue in [*found.queues.values(), *everything.queues.values()]} == {False}
    assert everything.queues.keys() == found.queues.keys()
    assert {name for name in everything.exchanges if not name.startswith("amq.")} == {"hub", "shop / ünï", "marks"}
    assert everything.exchanges["shop / ünï"].internal
    assert set(map(_fields, found.bindings)) == set(map(_fields, everything.bindings))
    assert len({binding.properties_key for binding in everything.bindings}) == len(everything.bindings) == 4


def _fields(binding: ObservedBinding) -> object:
    return (binding.source, binding.destination, binding.routing_key, str(binding.arguments), binding.properties_key)


def test_messages_and_consumers_are_observed_once_they_are_counted(rabbitmq_url: str, rabbitmq_api: str) -> None:
    (node,) = parse_urls(rabbitmq_url)
    api = ManagementApi(rabbitmq_api, user=node.user, password=node.password)
    registry = HandlerRegistry()
    registry.add("#", lambda: None, queue=tasks)

    def look() -> tuple[ObservedQueue, ObservedQueue]:
        found = observe(api, node.virtual_host, queues=[tasks.name, notes.name]).queues
        return found[tasks.name], found[notes.name]

    with Worker(rabbitmq_url, topology, registry), Publisher(rabbitmq_url, topology) as publisher:
        publisher.publish(b"1", notes.name, exchange="")
        until(lambda: look()[0].consumer_details)  # they come later than the count
        until(lambda: look()[1].messages == 1)
        until(lambda: look()[1].consumers is not None)  # told by itself, sooner or later than the messages
        consumed, filled = look()

    assert consumed.consumer_details is not None
    assert [list(each.arguments) for each in consumed.consumer_details] == [["x-taskroute-topology"]]
    assert consumed.consumer_details[0].connection is not None
    assert (filled.ready, filled.unacknowledged, filled.consumers, filled.consumer_details) == (1, 0, 0, ())

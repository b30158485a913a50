"""What operators see of a worker's consumers."""

from __future__ import annotations

from tests.kit.rabbitmq import Node
from tests.kit.running import registry_of
from tests.kit.specs import topology

from taskroute import Worker
from taskroute.topology.digest import topology_digest


def test_consumer_says_which_topology_its_process_runs(rabbitmq: Node) -> None:
    with rabbitmq.vhost_name() as vhost, Worker(rabbitmq.url(vhost), topology, registry_of(lambda body: None)):
        arguments = rabbitmq.ctl("list_consumers", "-p", vhost, "arguments")

    assert "x-taskroute-topology" in arguments
    assert topology_digest(topology) in arguments

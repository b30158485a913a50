"""A cluster of three nodes that tests kill, stop and part, in a network of its own where this process may make one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.kit import cluster as clusters
from tests.kit import network
from tests.kit.cluster import Cluster

from taskroute.broker.node_order import NodeOrder

CONFIG = ("cluster_partition_handling = pause_minority",)


@pytest.fixture(scope="session")
def own_network(installed: None) -> Iterator[network.Network | None]:
    """A network that can be cut, None without the right to make one."""
    if network.missing():
        yield None
        return
    made = network.Network(clusters.SIZE)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def whole_cluster(own_network: network.Network | None) -> Iterator[Cluster]:
    """Three nodes."""
    made = Cluster(config=CONFIG) if own_network is None else Cluster(own_network.places, CONFIG)
    with clusters.running(made):
        yield made


@pytest.fixture
def vhost(whole_cluster: Cluster) -> Iterator[str]:
    """A virtual host for one test."""
    with whole_cluster.nodes[0].vhost_name() as name:
        yield name


@pytest.fixture
def cluster(whole_cluster: Cluster, vhost: str) -> Iterator[Cluster]:
    """Three nodes that run; so they do when the test has ended."""
    yield whole_cluster
    whole_cluster.start_again([node for node in whole_cluster.nodes if not node.is_running])
    whole_cluster.wait_in_sync(vhost)


@pytest.fixture
def cuttable(own_network: network.Network | None) -> network.Network:
    """The network of the cluster; where it cannot be had the test is skipped, in CI it fails."""
    if own_network is None:
        reason = str(network.missing())
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return own_network


@pytest.fixture
def in_given_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients try the nodes in the order of their URLs, so that a test knows where they are."""
    monkeypatch.setattr(NodeOrder, "of", lambda _, nodes: tuple(nodes))

"""A cluster of RabbitMQ nodes of the tests' own."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.kit.rabbitmq import HERE, Node, Place, PortMapper
from tests.kit.waiting import until_slow

SIZE = 3
FLAGS = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
"""One scheduler each, that does not spin: the nodes share the machine's few cores."""


HELD = 5
"""Seconds for which RabbitMQ holds what a client on a lost node had taken, from 4.3 on; 60 by default."""

DEAD_LETTER_TIMEOUT = 10.0
"""As the page on clusters advises."""


class Cluster:
    """Three nodes. One thread.

    Args:
        places: of the nodes, one each.
        config: further lines of each node's configuration.
        dead_letter_timeout: seconds after which a node tries a letter again that a dead queue leader has not taken;
            None for the broker's own 180.
    """

    def __init__(
        self,
        places: Sequence[Place] = (HERE,) * SIZE,
        config: Sequence[str] = (),
        dead_letter_timeout: float | None = DEAD_LETTER_TIMEOUT,
    ) -> None:
        cookie = uuid.uuid4().hex.upper()
        first = PortMapper(places[0])
        mappers = {places[0]: first} | {place: PortMapper(place, first.port) for place in places[1:] if place != HERE}
        flags = f"{FLAGS} -rabbit consumer_disconnected_timeout {HELD * 1000}" if len(places) > 1 else ""
        if dead_letter_timeout is not None:
            flags += f" -rabbit dead_letter_worker_publisher_confirm_timeout {dead_letter_timeout * 1000:.0f}"
        self.nodes = [Node(place, mappers[place], cookie, config, flags) for place in places]

    def start(self) -> None:
        """Start every node, and have them be one cluster."""
        self._all(Node.start, self.nodes)
        first, *others = self.nodes
        for node in others:
            self.join(node, first)

    def join(self, node: Node, member: Node) -> None:
        """Have an empty node join the cluster that another one is in."""
        node.ctl("stop_app")
        node.ctl("join_cluster", member.name)
        node.ctl("start_app")

    def start_again(self, nodes: Iterable[Node]) -> None:
        """Start nodes that are down. All at once: the first may wait for the others."""
        self._all(Node.start, list(nodes))

    def stop(self) -> None:
        """End every node and remove what it wrote."""
        self._all(Node.stop, self.nodes)

    def replace(self, node: Node, vhost: str) -> None:
        """Have the others forget a node that is down, as if its disk were gone, and let an empty one join in its place.

        The queues of a virtual host that had a replica on it get one there again.
        """
        member = next(other for other in self.nodes if other.is_running)
        self._forget(member, node, vhost)
        node.wipe()
        node.start()
        self.join(node, member)
        grow = ("grow", node.name, "all", "--vhost-pattern", vhost)
        until_slow(lambda: "error" not in node.ctl(*grow, tool="rabbitmq-queues"))

    def node(self, name: str) -> Node:
        """Return a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    def urls(self, vhost: str, *, first: Node | None = None) -> list[str]:
        """Return a URL for each node, that of one before the others if it is given."""
        return [node.url(vhost) for node in sorted(self.nodes, key=lambda node: node is not first)]

    def leader(self, vhost: str, queue: str) -> Node:
        """Return the node on which the leader of a quorum queue runs. Every node must be up."""
        rows = self._queues(vhost, "leader")
        return self.node(rows[queue])

    def members(self, vhost: str, queue: str) -> list[Node]:
        """Return the nodes that have a replica of a quorum queue."""
        names = self._queues(vhost, "members")[queue]
        return [node for node in self.nodes if node.name in names]

    def move_leaders(self, vhost: str, node: Node, *queues: str) -> None:
        """Have the leaders of quorum queues of a virtual host, of all if none is named, be on one node."""
        names = queues or tuple(queue for queue, leader in self._queues(vhost, "leader").items() if leader)
        listed = ", ".join(f'<<"{name}">>' for name in names)
        self.nodes[0].eval(
            f"To = '{node.name}', [case rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, N)) of "
            "{ok, Q} -> case amqqueue:qnode(Q) of To -> ok; _ -> rabbit_quorum_queue:transfer_leadership(Q, To) end "
            f"end || N <- [{listed}]]."
        )
        until_slow(lambda: {self._queues(vhost, "leader")[name] for name in names} == {node.name})

    def handle_partitions(self, how: str) -> None:
        """Change what a node does that sees too few others: ``pause_minority`` or ``ignore``."""
        for node in self.nodes:
            node.eval(f"application:set_env(rabbit, cluster_partition_handling, {how}).")

    def wait_in_sync(self, vhost: str) -> None:
        """Wait until each quorum queue of a virtual host has a leader, and a replica on every node."""
        until_slow(lambda: self._is_in_sync(vhost))

    @classmethod
    def _forget(cls, member: Node, node: Node, vhost: str) -> None:
        """Have a member forget a node, and each queue of a virtual host its replica there.

        `forget_cluster_node` tries both, once, for all virtual hosts. A queue that has no leader, or one that has just
        been elected, keeps its replica then, which that command does not always say; so each that does is asked until
        it has let go. What other tests have left behind may have no leader for good.
        """
        try:
            member.ctl("forget_cluster_node", node.name)
        except RuntimeError as error:
            if "failed to shrink" not in str(error):
                raise
        for queue in cls._with_replica(member, node, vhost):
            until_slow(partial(_succeeds, member, "delete_member", queue, node.name, "--vhost", vhost))

    @staticmethod
    def _with_replica(member: Node, node: Node, vhost: str) -> list[str]:
        """Return the queues of a virtual host that have a replica on a node, a leader or not."""
        listed = member.eval(
            "Nodes = fun(Q) -> case maps:get(nodes, amqqueue:get_type_state(Q), []) of "
            "Known when is_map(Known) -> maps:keys(Known); Known -> Known end end, "
            f'[N || Q <- rabbit_amqqueue:list(<<"{vhost}">>), {{resource, _, queue, N}} <- [amqqueue:get_name(Q)], '
            f"lists:member('{node.name}', Nodes(Q))]."
        )
        return re.findall(r'<<"(.*?)">>', listed)

    def _is_in_sync(self, vhost: str) -> bool:
        try:
            online = self._queues(vhost, "online")
            leaders = self._queues(vhost, "leader")
        except (RuntimeError, StopIteration):
            return False
        names = [node.name for node in self.nodes]
        return all(all(name in row for name in names) for row in online.values() if row) and all(
            leader in names for queue, leader in leaders.items() if online[queue]
        )

    def _queues(self, vhost: str, column: str) -> dict[str, str]:
        rows = self.nodes[0].ctl("list_queues", "-p", vhost, "name", column, "--no-table-headers").splitlines()
        return dict(row.split("\t", 1) for row in rows)

    @staticmethod
    def _all(call: Callable[[Node], object], nodes: Sequence[Node]) -> None:
        with ThreadPoolExecutor(SIZE) as pool:
            list(pool.map(call, nodes))


def _succeeds(node: Node, *command: str) -> bool:
    """Whether a command of rabbitmq-queues did what it was asked."""
    try:
        node.ctl(*command, tool="rabbitmq-queues")
    except RuntimeError:
        return False
    return True


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster that runs for as long as the block takes."""
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()

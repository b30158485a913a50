"""Nemesis: what the soak does to the scene, by name. Each fault has healed when its call returns.

What an operator deletes is lost with the queue, so queues are deleted while nothing is in them, and dead letters are
taken out before: the ledger allows no loss at all. A broker is not killed within two seconds of a queue's declaration:
RabbitMQ may never again have a leader for such a queue.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack

from tests.faults import service
from tests.faults.scene import QUEUES, QUIET, Process, Scene
from tests.kit.cluster import Cluster
from tests.kit.rabbitmq import Node

SILENCE = 3.0 * service.HEARTBEAT
AWAY = 5.0
BACKLOG = 2.5
ALARM = 15.0
POLICY = 6.0

GENTLE = frozenset(
    {
        "hand-over connections closed by the operator",
        "length policy on wait queues",
        "length policy on a neighbouring queue",
        "wait queue deleted",
        "dead-letter queue deleted",
        "main queue deleted",
    }
)
"""Faults that are no reason to lose the connection by which a worker consumes all its queues."""

Fault = Callable[[], object]
"""Returns False if it could not strike."""


def faults(scene: Scene, dice: random.Random) -> Mapping[str, Fault]:
    """Return each fault by its name."""
    of_nodes = _of_a_cluster(scene, dice) if len(scene.cluster.nodes) > 1 else _of_one_node(scene, dice)
    return of_nodes | {
        "proxy reset": scene.reset,
        "proxy stall for three heartbeats": lambda: _during(scene.stalled(), SILENCE),
        "worker SIGKILL": lambda: scene.kill(dice.choice(scene.workers)),
        "worker SIGTERM and restart": lambda: scene.restart(dice.choice(scene.workers)),
        "all connections closed by the operator": lambda: _close_all(scene),
        "hand-over connections closed by the operator": lambda: scene.close_connections("hand-over"),
        "memory alarm over a backlog": lambda: _memory_alarm(scene),
        "length policy on wait queues": lambda: _wait_policy(scene),
        "length policy on a neighbouring queue": lambda: _neighbour_policy(scene),
        "wait queue deleted": lambda: _deletion(scene, dice.choice(service.WAIT_QUEUES)),
        "dead-letter queue deleted": lambda: _deletion(scene, service.DEAD_QUEUE),
        "main queue deleted": lambda: _deletion(scene, service.WORK_QUEUE),
    }


def _of_one_node(scene: Scene, dice: random.Random) -> dict[str, Fault]:
    [node] = scene.cluster.nodes
    return {
        "broker SIGSTOP for three heartbeats": lambda: _during(node.paused(), SILENCE),
        "broker kill -9, away for 5 s": lambda: _killed(node),
        "broker stopped, a worker killed meanwhile": lambda: _stopped(scene, node, dice.choice(scene.workers)),
    }


def _of_a_cluster(scene: Scene, dice: random.Random) -> dict[str, Fault]:
    cluster = scene.cluster

    def leader() -> Node:
        return cluster.leader("/", service.WORK_QUEUE)

    return {
        "leader kill -9, away for 5 s": lambda: _node_killed(cluster, leader()),
        "node kill -9, away for 5 s": lambda: _node_killed(cluster, dice.choice(cluster.nodes)),
        "node stopped, a worker killed meanwhile": lambda: _node_stopped(
            scene, dice.choice(cluster.nodes), dice.choice(scene.workers)
        ),
        "leader SIGSTOP for three heartbeats": lambda: _during(leader().paused(), SILENCE),
    }


def _node_killed(cluster: Cluster, node: Node) -> None:
    node.kill()
    QUIET.wait(AWAY)
    node.start()
    cluster.wait_in_sync("/")


def _node_stopped(scene: Scene, node: Node, worker: Process) -> None:
    node.shut_down()
    QUIET.wait(AWAY)
    scene.kill(worker)
    node.start()
    scene.cluster.wait_in_sync("/")


def _close_all(scene: Scene) -> None:
    scene.node.close_all_connections()  # of the node that runs now


def _during(trouble: AbstractContextManager[None], seconds: float) -> None:
    with trouble:
        QUIET.wait(seconds)


def _memory_alarm(scene: Scene) -> None:
    """Have messages wait when it begins: it stops publishers, so that no more come."""
    with ExitStack() as alarm:
        with scene.frozen_workers():
            QUIET.wait(BACKLOG)
            alarm.enter_context(scene.node.memory_alarm())
        QUIET.wait(ALARM)


def _killed(node: Node) -> None:
    """End the broker as a power cut would; handlers that take a while fail meanwhile."""
    node.kill()
    QUIET.wait(AWAY)
    node.start()


def _stopped(scene: Scene, node: Node, worker: Process) -> None:
    """End the broker as an operator would. A worker that has just started tries it often while it comes back."""
    node.ctl("stop")
    QUIET.wait(AWAY)
    scene.kill(worker)
    node.restart()


def _wait_policy(scene: Scene) -> None:
    """Have wait queues refuse what is more than two messages, as they reject by argument."""
    with scene.policy("^work[.]retry[.]", '{"max-length":2}'):
        QUIET.wait(POLICY)


def _neighbour_policy(scene: Scene) -> None:
    """Have a queue beside the main one, which nobody consumes, refuse what is published to both.

    Not the main queue: what that refuses of the letters that come back to it, the broker does not move for minutes.
    """
    scene.copy_to("copies")
    with scene.policy("^copies$", '{"max-length":5,"overflow":"reject-publish"}'):
        QUIET.wait(POLICY)


def _deletion(scene: Scene, queue: str) -> bool:
    with scene.quiet(*QUEUES) as is_empty:
        if is_empty:
            scene.collect_letters()
            scene.delete(queue)
            if queue == service.WORK_QUEUE:
                scene.wait_consumed(queue)
    return is_empty

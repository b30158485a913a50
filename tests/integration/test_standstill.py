"""No worker stands still in silence: a queue whose messages nobody handles has a reason in `health()`."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any, Final, get_args

import pytest
from amqp.exceptions import PreconditionFailed
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.inside import InsideWorker
from tests.kit.peer import Peer, looking
from tests.kit.running import registry_of
from tests.kit.waiting import until

from taskroute import Message, QueueSpec, RetryPolicy, ShutdownTimeoutError, Topology, Worker
from taskroute.broker.declare import DeclareMode
from taskroute.broker.embedded import transport
from taskroute.worker import republish

jobs = QueueSpec(name="jobs", retry=RetryPolicy(delays=(0.05,)))
topology = Topology(queues=[jobs])
DEAD, WAIT = "jobs.dead", "jobs.retry.50"


def handle(message: Message) -> None:
    if message.body == b"bad" or (message.body == b"late" and message.attempt == 1):
        raise RuntimeError("as planned")


class Scene:
    """A worker, and somebody who works against it."""

    def __init__(self, worker: Worker, peer: Peer, stack: ExitStack) -> None:
        self.worker = worker
        self.peer = peer
        self.stack = stack
        self.inside = InsideWorker(worker)

    def publish(self, body: bytes) -> None:
        """Publish to the queue, if it is there."""
        self.peer.submit(body, "jobs")
        self.peer.flush()

    def replace(self, queue: str, **arguments: Any) -> None:
        """Delete a queue, and declare it with other arguments, if there are any."""

        def is_replaced() -> bool:
            other = self.peer.another()  # a refusal ends its channel
            other.channel.queue_delete(queue)
            try:
                if arguments:
                    other.queue(queue, **arguments)
            except PreconditionFailed:  # the worker was faster
                return False
            return True

        until(is_replaced)

    def cut(self) -> None:
        """Have the worker lose its consuming connection, if it has one."""
        if self.worker.health().connected:
            self.inside.fail_on_session(ConnectionError("lost"))

    def hold(self) -> None:
        """Keep what is republished from here on to the end."""
        self.stack.enter_context(self.inside.republishing_held())

    def is_at_rest_or_has_a_reason(self) -> bool:
        """Return whether nothing is ready, or somebody is told why."""
        health = self.worker.health()
        return bool(health.reasons) or self.peer.ready("jobs") == 0


Step = Callable[[Scene], object]

STEPS: Final[Mapping[str, Step]] = {
    "publish": lambda scene: scene.publish(b"good"),
    "publish what fails": lambda scene: scene.publish(b"bad"),
    "publish what fails once": lambda scene: scene.publish(b"late"),
    "delete the dead-letter queue": lambda scene: scene.replace(DEAD),
    "delete the wait queue": lambda scene: scene.replace(WAIT),
    "have a full dead-letter queue": lambda scene: scene.replace(DEAD, x_max_length=0, x_overflow="reject-publish"),
    "have a full wait queue": lambda scene: scene.replace(WAIT, x_max_length=0, x_overflow="reject-publish"),
    "cut the connection": Scene.cut,
    "hold what is republished": Scene.hold,
}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([*STEPS, "publish what fails", "publish what fails"]), min_size=2, max_size=10),
    st.sampled_from(get_args(DeclareMode)),
)
def test_queue_that_nobody_handles_has_a_reason(steps: list[str], declare: DeclareMode) -> None:
    """Whatever failed messages meet on their way, and whatever the order."""
    url, registry = f"memory://{uuid.uuid4().hex}", registry_of(handle, "#", queue=jobs)
    with Worker(url, topology, registry):  # declares
        pass
    with pytest.MonkeyPatch.context() as patch, looking(url) as peer, ExitStack() as stack:
        patch.setattr(republish, "USUAL_TIME", 0.1)
        patch.setattr(republish, "PAUSE", 0.05)
        worker = Worker(url, topology, registry, declare=declare, threads=2, prefetch=2, shutdown_timeout=0)
        worker.start()
        scene = Scene(worker, peer, stack)

        for step in steps:
            STEPS[step](scene)
        for _ in range(3):
            scene.publish(b"good")

        until(scene.is_at_rest_or_has_a_reason)
        stack.close()
        with suppress(ShutdownTimeoutError):  # names what could not be republished
            worker.stop()
    transport.drop(url.removeprefix("memory://"))

"""A process whose sockets and threads gevent has replaced: publishes, handles, retries, and lets greenlets run."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.kit.waiting import PROCESS_DEADLINE

PROGRAM = """
from gevent import monkey

monkey.patch_all()

import sys
import gevent
from taskroute import HandlerRegistry, Message, Publisher, QueueSpec, RetryPolicy, Topology, Worker

queue = QueueSpec(name="jobs", retry=RetryPolicy(delays=(0.05,)))
topology, registry, attempts, turns = Topology(queues=[queue]), HandlerRegistry(), [], []


@registry.handler("#", queue=queue)
def handle(message: Message):
    attempts.append(message.attempt)
    if message.attempt == 1:
        raise ValueError("a test")


def count_turns():
    while True:
        turns.append(len(attempts))
        gevent.sleep(0)


with Worker(sys.argv[1], topology, registry) as worker, Publisher(sys.argv[1], topology) as publisher:
    gevent.spawn(count_turns)
    receipts = list(publisher.publish_many([({"id": number}, "jobs") for number in range(50)], exchange=""))
    assert worker.wait_idle(30)
    assert sorted(attempts) == [1] * 50 + [2] * 50
    assert len({receipt.message_id for receipt in receipts}) == 50
    assert worker.stats().connections == 1
    assert len(turns) > 1
print("done")
"""


@pytest.mark.parametrize("patched_first", [True, False])
def test_worker_and_publisher_work_under_gevent(broker_url: str, patched_first: bool) -> None:
    program = PROGRAM if patched_first else f"import taskroute.broker.session\n{PROGRAM}"

    done = subprocess.run(
        [sys.executable, "-c", program, broker_url],
        capture_output=True,
        text=True,
        timeout=PROCESS_DEADLINE,
        check=False,
    )

    assert done.stdout == "done\n", done.stderr

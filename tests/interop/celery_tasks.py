"""A celery worker with two tasks, run as a process of its own: `python -m tests.interop.celery_tasks [--no-loop]`.

Its broker comes from CELERY_BROKER_URL. `--no-loop`: without an event loop, as with the gevent and eventlet pools.
"""

from __future__ import annotations

import sys

from celery import Celery

app = Celery("shop", set_as_current=False)
app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False)


@app.task(name="shop.add")
def add(one: int, other: int) -> int:
    """Succeed."""
    return one + other


@app.task(name="shop.fail")
def fail() -> None:
    """Fail."""
    raise LookupError("no such order")


if __name__ == "__main__":
    loop = None if "--no-loop" not in sys.argv else False
    app.Worker(pool="solo", task_events=True, use_eventloop=loop, without_mingle=True, without_gossip=True).start()

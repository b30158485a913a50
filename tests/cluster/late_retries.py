"""How late retries come back after a queue's leader has died: a measurement, by hand.

    python -m tests.cluster.late_retries [--rounds N] [--dead-letter-timeout SECONDS]

Every message fails once. The node on which the leader of the queue runs is killed, and comes back after five seconds;
the leader of its wait queue runs on another node, and in every second round on the same one. RabbitMQ's own worker for
dead letters moves what has waited, and tries again what the dead leader has not taken after its timeout
(`dead_letter_worker_publisher_confirm_timeout`, 180 seconds unless it is set).
"""

from __future__ import annotations

import argparse
import threading
import time

from tests.faults.traffic import Traffic, work
from tests.kit import cluster as clusters
from tests.kit.cluster import Cluster

DELAY = work.retry.delays[0].total_seconds() if work.retry else 0.0
HELPERS = tuple(helper.name for helper in work.helper_queues())
LATE = 5.0
AWAY = 5.0
AFTER = 10.0
LONGEST = 900.0


class FailsOnce:
    """A handler that fails at the first attempt at each message, and takes down when the second one came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failed: dict[str, float] = {}
        self.late: list[float] = []

    def __call__(self, number: str) -> None:
        now = time.monotonic()
        with self._lock:
            failed = self._failed.setdefault(number, now)
            if failed != now:
                self.late.append(now - failed - DELAY)
                return
        raise RuntimeError("as planned")


def measure(cluster: Cluster, *, together: bool) -> str:
    """Kill the leader's node once, with the wait queue's leader on it or not; say how late the retries were."""
    handler = FailsOnce()
    traffic = Traffic(handler)
    node = cluster.nodes[-1]
    with node.vhost_name() as vhost:
        urls = cluster.urls(vhost)
        with traffic.running(urls), traffic.publishing(urls, pause=0.01) as publisher:
            assert traffic.done(200)(60)
            cluster.move_leaders(vhost, node, work.name)
            cluster.move_leaders(vhost, node if together else cluster.nodes[0], *HELPERS)
            assert traffic.next_done(200)(60)
            began = time.monotonic()
            node.kill()
            threading.Event().wait(AWAY)
            node.start()
            threading.Event().wait(AFTER)
            traffic.stop_publishing()
            publisher.wait_idle(120)
            everything = traffic.all_done(LONGEST)
            took = time.monotonic() - began
    late = [seconds for seconds in handler.late if seconds > LATE]
    left = "" if everything else f"; {traffic.outstanding()} NOT BACK after {LONGEST:g} s"
    latest = f"{len(late)} late, the latest {max(handler.late):.1f} s; {took:.0f} s{left}"
    return f"{'together' if together else 'apart'}: {len(handler.late)} retries, {latest}"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dead-letter-timeout", type=float, default=None)
    arguments = parser.parse_args()
    with clusters.running(Cluster(dead_letter_timeout=arguments.dead_letter_timeout)) as cluster:
        print(f"RabbitMQ {cluster.nodes[0].ctl('version').strip()}", flush=True)
        for number in range(arguments.rounds):
            print(measure(cluster, together=number % 2 > 0), flush=True)


if __name__ == "__main__":
    main()

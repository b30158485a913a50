"""Apply and prune whose process is killed before and after each step: the next run ends where the plan said."""

from __future__ import annotations

import os
import signal
from contextlib import redirect_stdout
from pathlib import Path
from typing import Literal, get_args

import pytest
from tests.faults import processes
from tests.faults.crash_points import Seam, arm_seam
from tests.kit.inside import Method
from tests.kit.peer import looking

from taskroute import ExchangeSpec, Publisher, QueueSpec, Topology
from taskroute.broker.url import parse_urls
from taskroute.cli import planning
from taskroute.cli.main import main
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import observe_all
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.compare import compare
from taskroute.operate.plan.looking import ApiLooking
from taskroute.operate.plan.steps import AnyStep, Command, Plan
from taskroute.operate.plan.targets import Targets
from taskroute.operate.plan.writing import BrokerWriting

shop = ExchangeSpec(name="shop")
hub = ExchangeSpec(name="hub", bindings=[shop.bind("mail.#")])
orders = QueueSpec(name="orders", bindings=[shop.bind("order.*")], retry=False, dead_letter=False)
mails = QueueSpec(name="mails", bindings=[shop.bind("a"), shop.bind("b")], retry=False, dead_letter=False)
before = Topology(queues=[orders, mails])
new = orders.model_copy(update={"name": "orders.2", "max_length": 9, "replaces": "orders"})
wanted = Topology(exchanges=[hub], queues=[new, mails.model_copy(update={"bindings": mails.bindings[:1]})])

When = Literal["before", "after"]


def run_killed(words: tuple[str, ...], when: When) -> None:
    """Run a command whose process dies at the first step that it does."""
    arm_seam(Seam(Method(BrokerWriting, "do"), when), 1)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        os._exit(main(words))


@pytest.mark.row(89)
def test_command_killed_before_and_after_each_step_is_finished_by_the_next_run(
    rabbitmq_url: str, rabbitmq_api: str, tmp_path: Path
) -> None:
    """What is nobody's target, and what lies in a queue, is as it was."""
    was = str(tmp_path / "was.json")
    where = ("--url", rabbitmq_url, "--api", rabbitmq_api, "--yes")
    words = {
        "apply": ("apply", f"{__name__}:wanted", *where),
        "prune": ("prune", f"{__name__}:wanted", "--was", was, *where),
    }
    (node,) = parse_urls(rabbitmq_url)
    api = ManagementApi(rabbitmq_api, user=node.user, password=node.password)
    targets = Targets.of([wanted])
    stood = [BindingId.declared("queue", queue.name, each) for queue in before.queues for each in queue.bindings]

    def plan() -> Plan:
        observed, _ = ApiLooking(api, [node], targets, planning.pause).at_all()
        return compare(targets, observed, stood)

    def left(command: Command) -> list[str]:
        return [str(step) for step in plan().of(command)]

    assert main(("lock", f"{__name__}:before", "--file", was)) == 0
    with looking(rabbitmq_url) as peer, Publisher(rabbitmq_url, before):
        peer.queue("theirs", x_queue_type="classic")
        peer.bind("theirs", "shop", "#")
        for queue in ("theirs", "mails"):
            peer.publish(b"1", queue)
    assert {type(step) for step in plan().steps} == set(get_args(AnyStep))

    for command in ("apply", "prune"):
        steps = left(command)
        while steps:
            assert processes.run(run_killed, words[command], "before") == -signal.SIGKILL
            assert left(command) == steps
            assert processes.run(run_killed, words[command], "after") == -signal.SIGKILL
            assert left(command) == steps[1:]
            steps = steps[1:]
        assert processes.run(run_killed, words[command], "before") == 0  # nothing is to be done

    found = observe_all(api, node.virtual_host)
    assert found.queues.keys() == {"theirs", "mails", *(queue.name for queue in wanted.all_queues)}
    assert {BindingId.observed(each) for each in found.bindings} == {
        BindingId.declared("exchange", "hub", hub.bindings[0]),
        BindingId.declared("queue", "theirs", shop.bind("#")),
        *(BindingId.declared("queue", queue.name, each) for queue in wanted.queues for each in queue.bindings),
    }
    with looking(rabbitmq_url) as peer:
        assert [peer.ready(queue) for queue in ("theirs", "mails")] == [1, 1]

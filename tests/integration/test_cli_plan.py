"""The commands plan, apply and prune, and what is told of brokers that cannot be asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.kit.command_line import CommandLine, Ended
from tests.kit.peer import looking
from tests.kit.waiting import until

from taskroute import Publisher, QueueSpec, Topology
from taskroute.broker.depths import ask_depths
from taskroute.broker.url import parse_urls
from taskroute.operate.management import ManagementApi
from taskroute.operate.plan.publishers import connections_of_others

SHOP = """
from taskroute import ExchangeSpec, QueueSpec, Topology
shop = ExchangeSpec(name="shop")
keys = [shop.bind("order.*"), shop.bind("refund.*")]
plain = dict(retry=False, dead_letter=False)
before = Topology(queues=[QueueSpec(name="orders", bindings=keys, **plain)])
fewer = Topology(queues=[QueueSpec(name="orders", bindings=keys[:1], **plain)])
longer = Topology(queues=[QueueSpec(name="orders", bindings=keys, message_ttl=5, **plain)])
mails = Topology(queues=[QueueSpec(name="mails", bindings=[shop.bind("mail.*")], **plain)])
retired = Topology(exchanges=[shop], retired=["orders"])
"""

Run = Callable[..., Ended]


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    line = CommandLine(tmp_path, capsys, monkeypatch)
    line.write("shops.py", SHOP)
    return line


@pytest.fixture
def run(line: CommandLine, rabbitmq_url: str, rabbitmq_api: str) -> Run:
    def run(command: str, *words: str) -> Ended:
        return line.run(command, *words, "--url", rabbitmq_url, "--api", rabbitmq_api)

    return run


def test_plan_is_applied_and_nothing_is_left_to_do(run: Run) -> None:
    assert run("plan", "shops:before").code == 10

    applied = run("apply", "shops:before", "--yes")

    assert applied.code == 0
    assert [text.split(maxsplit=1) for text in applied.out.splitlines()] == [
        ["done", "create exchange 'shop' (topic)"],
        ["done", "create queue 'orders' (quorum)"],
        ["done", "bind 'shop' -> 'orders' by 'order.*'"],
        ["done", "bind 'shop' -> 'orders' by 'refund.*'"],
    ]
    again = run("plan", "shops:before")
    assert (again.code, again.out) == (0, "nothing is to be done\n")
    assert run("apply", "shops:before", "--yes").out == "nothing is to be done\n"


def test_plan_of_a_queue_that_has_to_be_replaced_ends_with_eleven(run: Run) -> None:
    run("apply", "shops:before", "--yes")

    ended = run("plan", "shops:longer")
    applied = run("apply", "shops:longer", "shops:mails", "--yes")

    assert ended.code == 11
    assert ended.out.startswith("! queue 'orders': message_ttl: none on the broker, 5 s declared")
    assert "is not done by this command" in ended.out
    assert applied.code == 1
    assert "done    create queue 'mails' (quorum)" in applied.out
    assert "queue 'orders': message_ttl" in applied.err


def test_stale_key_is_unbound_only_with_the_contract_that_has_it(line: CommandLine, run: Run) -> None:
    run("apply", "shops:before", "--yes")
    assert line.run("lock", "shops:before", "--file", "was.json").code == 0

    without = run("prune", "shops:fewer", "--yes")
    pruned = run("prune", "shops:fewer", "--was", "was.json", "--yes")

    assert without.out == "nothing is to be done\n"
    assert pruned.out == "done    unbind 'shop' -> 'orders' by 'refund.*'\n"
    assert run("plan", "shops:fewer", "--was", "was.json").code == 0


def test_retired_queue_that_has_messages_is_kept(run: Run, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskroute.cli.planning.pause", lambda _: None)
    run("apply", "shops:before", "--yes")
    with looking(rabbitmq_url) as peer:
        for key in ("order.*", "refund.*"):
            peer.channel.queue_unbind("orders", "shop", key)
        peer.publish(b"1", "orders")

        kept = run("prune", "shops:retired", "--yes")
        peer.channel.queue_purge("orders")

    assert kept.code == 1
    assert kept.out.startswith("skipped delete queue 'orders': 'orders' has 1 messages") or "not known" in kept.out


def test_plan_is_a_document_for_programs(run: Run) -> None:
    document = json.loads(run("plan", "shops:mails", "--format", "json").out)

    assert document["version"] == 1
    assert document["steps"][-1] == {
        "action": "bind",
        "command": "apply",
        "why": "",
        "text": "bind 'shop' -> 'mails' by 'mail.*'",
        "source": "shop",
        "destination_type": "queue",
        "destination": "mails",
        "routing_key": "mail.*",
        "not_now": [],
    }
    done = json.loads(run("apply", "shops:mails", "--format", "json", "--yes").out)
    assert {each["result"] for each in done["steps"]} == {"done"}


def test_plan_without_the_api_says_what_it_cannot_see(line: CommandLine, broker_url: str) -> None:
    ended = line.run("plan", "shops:mails", "--url", broker_url)

    assert ended.code == 10
    assert ended.out.splitlines()[:3] == [
        "+ create exchange 'shop' (topic)",
        "+ create queue 'mails' (quorum)",
        "+ bind 'shop' -> 'mails' by 'mail.*'",
    ]
    assert "without the management API it is only seen whether queues and exchanges are there" in ended.out


def test_apply_without_the_api_creates_what_is_missing(line: CommandLine, broker_url: str) -> None:
    with looking(broker_url) as peer:
        ended = line.run("apply", "shops:mails", "--url", broker_url, "--yes")

        assert ended.code == 0
        peer.publish(b"1", "mail.x", "shop")
        assert [bytes(each.body) for each in peer.receive("mails", 1)] == [b"1"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["apply", "shops:mails"], "no terminal is there to ask: give --yes; `taskroute plan` shows"),
        (["prune", "shops:mails", "--yes"], "--api is needed: without the management API"),
        (["plan", "shops:before", "shops:longer"], "queue 'orders' is declared twice, and differs in message_ttl"),
        (["plan", "shops:before", "shops:retired"], "queue 'orders' is declared and retired"),
        (["plan", "shops:mails", "--was", "none.json"], "--was 'none.json' cannot be read"),
        (["plan", "shops:mails", "--was", "shops.py"], "shops.py"),
        (["plan", "shops:mails", "--api", "ftp://x"], "starts with http://host or https://host"),
        (["plan", "shops:mails", "--api", "http://example.invalid"], "the password would travel in the clear"),
    ],
)
def test_wrong_use_is_told_in_a_line(line: CommandLine, taskroute_url: str, words: list[str], problem: str) -> None:
    ended = line.run(*words, "--url", taskroute_url)

    assert (ended.code, ended.out) == (2, "")
    assert problem in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("command", [["plan"], ["apply", "--yes"], ["prune", "--yes"]])
def test_broker_whose_api_is_not_there_is_told_and_not_touched(
    line: CommandLine, rabbitmq_url: str, command: list[str]
) -> None:
    for port in (1, urlsplit(rabbitmq_url).port):  # nobody, and another program
        api = f"http://127.0.0.1:{port}"
        ended = line.run(command[0], "shops:mails", *command[1:], "--url", rabbitmq_url, "--api", api)

        assert (ended.code, ended.out) == (3, "")
        assert "its own port is 15671 with https, 15672 with http" in ended.err
        assert ask_depths(parse_urls(rabbitmq_url), ["mails"]) == {"mails": "absent"}


def test_what_import_has_printed_plans_no_change(line: CommandLine, rabbitmq_url: str, rabbitmq_api: str) -> None:
    where = ("--url", rabbitmq_url, "--api", rabbitmq_api)
    with looking(rabbitmq_url) as peer:
        peer.exchange("old hub", "headers")
        peer.exchange("old")
        peer.queue("jobs % a", x_max_length=5)
        peer.queue("plain", x_queue_type="quorum")
        peer.bind("jobs % a", "old", "a.#")
        peer.bind("plain", "old hub", "", **{"x-match": "all", "k": 1})
    printed = line.run("import", *where)
    line.write("adopted.py", printed.out)

    ended = line.run("plan", "adopted:topology", *where)

    assert (printed.code, ended.code, ended.out) == (0, 0, "nothing is to be done\n")


def test_publisher_with_another_topology_is_listed_and_blocks_nothing(
    line: CommandLine, run: Run, rabbitmq_url: str, rabbitmq_api: str
) -> None:
    """That of each target is none of them."""
    (node,) = parse_urls(rabbitmq_url)
    api = ManagementApi(rabbitmq_api, user=node.user, password=node.password)
    shops: dict[str, Topology] = {}
    exec(SHOP, shops)
    with (
        Publisher(rabbitmq_url, Topology(queues=[QueueSpec(name="other")]), name="an older one"),
        Publisher(rabbitmq_url, shops["before"], name="one of a target"),
    ):
        until(lambda: len(connections_of_others(api, node.virtual_host, ())) == 2)
        ended = run("apply", "shops:mails", "shops:before", "--yes")

    assert ended.code == 0
    assert "connected with another topology: an older one" in ended.err
    assert "one of a target" not in ended.err


MORE = """
from shops import *
bare = Topology(exchanges=[shop], queues=[QueueSpec(name="orders", **plain)])
refunds = Topology(queues=[QueueSpec(name="orders", bindings=keys[1:], **plain)])
replacing = Topology(queues=[QueueSpec(name="orders.2", bindings=keys, replaces="orders", **plain)])
"""


def test_plan_that_creates_and_replaces_ends_with_eleven_and_sets_no_policy(
    run: Run, rabbitmq_url: str, rabbitmq_api: str
) -> None:
    (node,) = parse_urls(rabbitmq_url)
    api = ManagementApi(rabbitmq_api, user=node.user, password=node.password)
    run("apply", "shops:before", "--yes")

    ended = run("plan", "shops:longer", "shops:mails")
    run("apply", "shops:longer", "shops:mails", "--yes")

    assert ended.code == 11
    assert "+ create queue 'mails' (quorum)" in ended.out
    assert "a policy" in ended.out  # it is said how to set it once the broker tells which ones are in effect
    assert api.get("policies", node.virtual_host) == []


def test_keys_of_every_contract_that_is_given_are_stale(line: CommandLine, run: Run) -> None:
    line.write("more.py", MORE)
    run("apply", "shops:before", "--yes")
    for target, file in (("shops:fewer", "one.json"), ("more:refunds", "two.json")):
        assert line.run("lock", target, "--file", file).code == 0

    pruned = run("prune", "more:bare", "--was", "one.json", "--was", "two.json", "--yes")

    assert [text.split()[-1] for text in pruned.out.splitlines()] == ["'order.*'", "'refund.*'"]


def test_replacement_is_not_bound_without_the_api_while_the_old_queue_is_there(
    line: CommandLine, taskroute_url: str
) -> None:
    """Who consumes the old one is not known then, and nothing can be unbound."""
    line.write("more.py", MORE)
    with looking(taskroute_url) as peer:
        line.run("apply", "shops:before", "--url", taskroute_url, "--yes")

        ended = line.run("apply", "more:replacing", "--url", taskroute_url, "--yes")

        peer.publish(b"1", "order.x", "shop")
        assert [peer.ready(queue) for queue in ("orders", "orders.2")] == [1, 0]
    assert ended.code == 1
    assert "done    create queue 'orders.2' (quorum)" in ended.out
    assert ended.out.count("it is not known who consumes 'orders'") == 2


def test_bindings_to_be_moved_are_no_all_clear_without_the_api(line: CommandLine, taskroute_url: str) -> None:
    """Everything is there, and whether the old queue is still bound is not seen."""
    line.write("more.py", MORE)
    for target in ("shops:before", "more:replacing"):
        line.run("apply", target, "--url", taskroute_url, "--yes")

    applied = line.run("apply", "more:replacing", "--url", taskroute_url, "--yes")
    planned = line.run("plan", "more:replacing", "--url", taskroute_url)
    settled = line.run("plan", "shops:before", "--url", taskroute_url)

    assert (applied.code, applied.out) == (1, "nothing that is seen is to be done\n")
    assert "queue 'orders': it is there, and 'orders.2' replaces it: its bindings are not seen" in applied.err
    assert planned.code == 10  # the old queue is to be deleted
    assert "\n! queue 'orders': it is there, and 'orders.2' replaces it" in planned.out
    assert (settled.code, settled.out.splitlines()[-1]) == (0, "nothing that is seen is to be done")

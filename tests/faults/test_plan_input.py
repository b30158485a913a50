"""Plan, apply and prune of what they cannot work with: a line that says why, a code, and nothing changed unasked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from tests.kit import rabbitmq as server
from tests.kit.command_line import CommandLine, Ended
from tests.kit.management_front import Change, Reply, management_front
from tests.kit.peer import Peer, looking
from tests.kit.running import registry_of
from tests.kit.waiting import until

from taskroute import Worker
from taskroute.broker.url import parse_urls
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import Observed, observe, observe_all
from taskroute.operate.plan.binding_id import BindingId

SHOP = """
from taskroute import ExchangeSpec, QueueSpec, Topology
shop = ExchangeSpec(name="shop")
keys = [shop.bind("order.*"), shop.bind("refund.*")]
plain = dict(retry=False, dead_letter=False, type="classic")
orders = QueueSpec(name="orders", bindings=keys, **plain)
before = Topology(queues=[orders])
mails = QueueSpec(name="mails", bindings=[shop.bind("mail.*")], **plain)
wanted = Topology(queues=[orders.model_copy(update={"bindings": keys[:1]}), mails], retired=["old"])
"""
"""`wanted` has something for each command: a queue to create and bind, a stale key, and a queue that is retired."""

COMMANDS: Final = {
    "plan": ("plan", "shops:wanted", "--was", "was.json"),
    "apply": ("apply", "shops:wanted", "--yes"),
    "prune": ("prune", "shops:wanted", "--was", "was.json", "--yes"),
}


class Shop:
    """A virtual host in which `before` is declared, with the retired queue, and commands for `wanted`."""

    def __init__(self, line: CommandLine, url: str, api: str) -> None:
        self._line = line
        self.url = url
        self.api = api
        line.write("shops.py", SHOP)
        assert line.run("lock", "shops:before", "--file", "was.json").code == 0
        assert line.run("apply", "shops:before", "--url", url, "--yes").code == 0
        with looking(url) as peer:
            peer.queue("old", x_queue_type="classic")

    def run(self, command: str, *, api: str | None = None, url: str | None = None) -> Ended:
        """Run a command for `wanted`."""
        return self._line.run(*COMMANDS[command], "--url", url or self.url, "--api", api or self.api)

    def has(self) -> Any:
        """Return what there is, to be compared."""
        (node,) = parse_urls(self.url)
        found = observe_all(ManagementApi(self.api, user=node.user, password=node.password), node.virtual_host)
        return sorted(found.queues), sorted(found.exchanges), sorted(map(BindingId.observed, found.bindings))


@pytest.fixture
def line(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setattr("taskroute.cli.planning.pause", lambda _: None)
    return CommandLine(tmp_path, capfd, monkeypatch)


@pytest.fixture
def place(line: CommandLine, rabbitmq_url: str, rabbitmq_api: str) -> Shop:
    return Shop(line, rabbitmq_url, rabbitmq_api)


def always(status: int, body: bytes, content_type: str = "application/json") -> Change:
    return lambda _, __: Reply(status, body, content_type)


@pytest.mark.row(91)
def test_answer_that_is_not_rabbitmqs_is_told_and_nothing_is_changed(place: Shop) -> None:
    """A page of a proxy, its sign-on, other JSON, another product, and a proxy that lets nobody in."""
    there = place.has()
    for change, told in (
        (always(200, b"<html>Sign in</html>", "text/html"), "its answer is no JSON; another program answers there"),
        (always(502, b"<html>Bad Gateway</html>", "text/html"), "it answers 502 Bad Gateway"),
        (always(404, b"<html>", "text/html"), "it answers 404 Not Found; another program answers there"),
        (always(401, b"<html>", "text/html"), "it answers 401 Unauthorized: check user and password"),
        (always(403, b"{}"), "it answers 403 Forbidden: this user may not ask for that"),
        (always(200, b'{"status": "ok"}'), "is nothing that RabbitMQ says; another program answers there"),
        (always(200, b"[]"), "is nothing that RabbitMQ says"),
        (always(200, b"null"), "is nothing that RabbitMQ says"),
        (always(200, b'[{"id": 7}]'), "is nothing that RabbitMQ says"),
        (always(404, b'{"detail": "Not Found"}'), "is nothing that RabbitMQ says"),
        (always(200, b'{"version": {"number": "8.1"}, "tagline": "You Know"}'), "is nothing that RabbitMQ says"),
    ):
        with management_front(place.api, change) as api:
            for command in COMMANDS:
                ended = place.run(command, api=api)

                assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1), (command, told, ended)
                assert told in ended.err, command
    assert place.has() == there


@pytest.mark.row(91)
def test_user_who_may_not_ask_is_told_what_it_takes(place: Shop, rabbitmq: server.Node) -> None:
    there = place.has()
    add_user(rabbitmq, "untagged", urlsplit(place.url).path[1:])
    for user, told in (
        ("guest:wrong", "it answers 401 Unauthorized"),
        ("untagged:secret", "check user and password, the tag management, and the right to the virtual host"),
    ):
        api = place.api.replace("http://", f"http://{user}@")
        for command in COMMANDS:
            ended = place.run(command, api=api)

            assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1), command
            assert told in ended.err
            assert "secret" not in ended.err
    assert place.has() == there


def add_user(node: server.Node, user: str, virtual_host: str) -> None:
    """Add a user with every right to a virtual host, and no tag."""
    node.eval(
        f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"secret">>, <<"test">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{virtual_host}">>, <<".*">>, <<".*">>, '
        '<<".*">>, <<"test">>).'
    )


def without(*names: str) -> Change:
    """Return what leaves values out of what is said of each queue."""

    def change(asked: str, ask: Callable[[], Reply]) -> Reply:
        reply = ask()
        if not asked.startswith("GET /api/queues/") or "bindings" in asked or "?" in asked or reply.status != 200:
            return reply
        told = json.loads(reply.body)
        told["arguments"] = {name: value for name, value in told["arguments"].items() if name not in names}
        return reply._replace(body=json.dumps({key: told[key] for key in told if key not in names}).encode())

    return change


@pytest.mark.row(91)
def test_count_that_is_late_is_not_zero_and_keeps_the_queue(place: Shop) -> None:
    with management_front(place.api, without("messages", "messages_ready", "messages_unacknowledged")) as api:
        ended = place.run("prune", api=api)

    assert ended.code == 1
    assert "skipped delete queue 'old': it is not known whether 'old' is empty: the broker does not" in ended.out
    assert "old" in place.has()[0]


@pytest.mark.row(91)
def test_consumers_that_are_late_keep_the_key_that_they_may_handle(place: Shop) -> None:
    there = place.has()
    with looking(place.url) as peer, management_front(place.api, without("consumer_details")) as api:
        peer.consume("orders")
        ended = place.run("prune", api=api)

    assert ended.code == 1
    assert "skipped unbind 'shop' -> 'orders' by 'refund.*': it is not known who consumes 'orders'" in ended.out
    assert place.has()[2] == there[2]


@pytest.mark.row(91)
def test_queue_of_another_product_without_a_type_is_never_deleted(place: Shop) -> None:
    with management_front(place.api, without("type", "x-queue-type")) as api:
        planned, ended = place.run("plan", api=api), place.run("prune", api=api)

    assert planned.code == 10
    assert "not now: 'old' is a queue of unknown type, which is never deleted here" in planned.out
    assert ended.code == 1
    assert "skipped delete queue 'old': 'old' is a queue of unknown type" in ended.out
    assert "old" in place.has()[0]


@pytest.mark.row(91)
@pytest.mark.parametrize(
    ("reply", "code", "told"),
    [
        (Reply(204, b""), 1, "failed  unbind 'shop' -> 'orders' by 'refund.*': nothing was refused, and the binding"),
        (Reply(404, b"{}"), 1, "failed  unbind 'shop' -> 'orders' by 'refund.*': nothing was refused, and the binding"),
        (Reply(200, b"<html>", "text/html"), 3, "its answer is no JSON"),
        (Reply(405, b"<html>", "text/html"), 3, "it answers 405 Method Not Allowed"),
    ],
)
def test_binding_that_is_left_is_never_said_to_be_unbound(place: Shop, reply: Reply, code: int, told: str) -> None:
    """A proxy that lets only reading through, or an answer that says yes while nothing was done."""
    there = place.has()

    def change(asked: str, ask: Callable[[], Reply]) -> Reply:
        return reply if asked.startswith("DELETE") else ask()

    with management_front(place.api, change) as api:
        ended = place.run("prune", api=api)

    assert ended.code == code
    assert told in ended.out + ended.err
    assert "done    unbind" not in ended.out
    assert place.has()[2] == there[2]


@pytest.mark.row(91)
def test_virtual_host_with_signs_in_its_name_is_planned_applied_and_pruned(
    line: CommandLine, rabbitmq: server.Node
) -> None:
    name = "a/b c%"
    rabbitmq.ctl("add_vhost", name)
    try:
        rabbitmq.ctl("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        place = Shop(line, rabbitmq.url(name), rabbitmq.api)

        planned, applied = place.run("plan"), place.run("apply")
        until(lambda: "old" not in place.has()[0] or place.run("prune").code == 0)  # once it is counted

        assert planned.code == 10
        assert applied.code == 0
        assert place.run("plan").out == "nothing is to be done\n"
        queues, _, bindings = place.has()
        assert queues == ["mails", "orders"]
        assert {(each.destination, each.routing_key) for each in bindings} == {
            ("mails", "mail.*"),
            ("orders", "order.*"),
        }
    finally:
        rabbitmq.ctl("delete_vhost", name)


@contextmanager
def once_planned(place: Shop, act: Callable[[Peer], object]) -> Iterator[str]:
    """Do something between the reading of a plan and its first step. Gives the URL of the management API."""
    with looking(place.url) as peer:

        def change(asked: str, ask: Callable[[], Reply]) -> Reply:
            if asked == "GET /api/whoami":  # the last that is asked before
                act(peer)
            return ask()

        with management_front(place.api, change) as api:
            yield api


@pytest.mark.row(91)
def test_queue_and_exchange_that_disappear_after_the_reading_are_told(place: Shop) -> None:
    with once_planned(place, lambda peer: peer.channel.exchange_delete("shop")) as api:
        applied = place.run("apply", api=api)

    assert applied.code == 1
    assert "done    create queue 'mails' (classic)" in applied.out
    assert "failed  bind 'shop' -> 'mails' by 'mail.*': " in applied.out
    assert "no exchange 'shop'" in applied.out
    assert applied.err == ""

    assert place.run("apply").code == 0
    with once_planned(place, lambda peer: peer.channel.queue_delete("old")) as api:
        pruned = place.run("prune", api=api)
    assert (pruned.code, pruned.out) == (0, "already delete queue 'old'\n")


@pytest.mark.row(91)
def test_queue_that_is_another_one_after_the_reading_is_kept(place: Shop) -> None:
    """Somebody declares the name anew, with other arguments."""

    def declare_anew(peer: Peer) -> None:
        peer.channel.queue_delete("old")
        peer.queue("old", x_queue_type="classic", x_max_length=5)

    with once_planned(place, declare_anew) as api:
        pruned = place.run("prune", api=api)

    assert pruned.code == 1
    assert "skipped delete queue 'old': 'old' is another queue by now" in pruned.out
    assert "old" in place.has()[0]


THEIRS = """
from taskroute import ExchangeSpec, QueueSpec, Topology
shop = ExchangeSpec(name="shop")
key = shop.bind("pay.*")
theirs = Topology(queues=[QueueSpec(name="payments", bindings=[key], type="classic", retry=False)])
shorter = Topology(queues=[QueueSpec(name="payments", bindings=[key], max_length=5, retry=False, dead_letter=False)])
more = Topology(queues=[QueueSpec(name="payments", bindings=[key, shop.bind("#")], type="classic", retry=False)])
other = QueueSpec(name="orders", bindings=[key], retry=False, dead_letter=False)
taken = Topology(queues=[other.model_copy(update={"replaces": "payments"})])
retired = Topology(exchanges=[shop], retired=["payments"])
"""


@pytest.mark.row(91)
def test_queue_of_another_team_that_a_target_names_is_left_as_it_is(
    line: CommandLine, rabbitmq_url: str, rabbitmq_api: str
) -> None:
    """Their worker consumes it: nothing is bound to it, taken from it, or deleted."""
    line.write("teams.py", THEIRS)
    teams: dict[str, Any] = {}
    exec(THEIRS, teams)
    registry = registry_of(lambda: None, "#", queue=teams["theirs"].queues[0])
    where = ("--url", rabbitmq_url, "--api", rabbitmq_api)
    (node,) = parse_urls(rabbitmq_url)
    api = ManagementApi(rabbitmq_api, user=node.user, password=node.password)

    def seen() -> Observed:
        return observe(api, node.virtual_host, queues=["payments", "payments.dead"])

    def of_theirs() -> Any:
        return sorted(seen().queues), sorted(map(BindingId.observed, seen().bindings))

    with Worker(rabbitmq_url, teams["theirs"], registry):
        until(lambda: seen().queues["payments"].consumer_details)  # the broker says it some time later
        there = of_theirs()
        for command, target, code, told in (
            ("plan", "shorter", 11, "queue 'payments': type: classic on the broker, quorum declared"),
            ("apply", "shorter", 1, "queue 'payments': type: classic on the broker, quorum declared"),
            ("apply", "more", 1, "skipped bind 'shop' -> 'payments' by '#': 'payments' is consumed by workers of anot"),
            ("apply", "taken", 1, "skipped unbind 'shop' -> 'payments' by 'pay.*': "),
            ("prune", "taken", 1, "skipped delete queue 'payments': 'payments' is bound: 'shop' -> 'payments' by"),
            ("prune", "retired", 1, "'payments' is consumed (1 consumers)"),
        ):
            words = () if command == "plan" else ("--yes",)
            ended = line.run(command, f"teams:{target}", *where, *words)

            assert (ended.code, told in ended.out + ended.err) == (code, True), (command, target, ended)
            assert of_theirs() == there, (command, target)

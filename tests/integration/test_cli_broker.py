"""Commands that talk to a broker: publish and stats, on both brokers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine
from tests.kit.dead import declare
from tests.kit.peer import looking
from tests.kit.web_server import serving

from taskroute import Publisher, QueueSpec
from taskroute.topology.topology import Topology

SECRET = "hidden"
AWAY = f"amqp://shop:{SECRET}@127.0.0.1:1/"
"""Nobody listens there."""


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    line = CommandLine(tmp_path, capsys, monkeypatch)
    line.write(
        "held.py",
        "import taskroute\nimport wiring\n"
        f"service = taskroute.Service(wiring.topology, wiring.registry, url='{AWAY}')\n"
        f"def unlucky(): raise ValueError('{AWAY}')\n",
    )
    return line


def test_publish_prints_the_id_of_the_message_that_it_sends(line: CommandLine, broker_url: str) -> None:
    line.write("order.json", '{"n": 1}')

    ended = line.run(
        "publish", "wiring:routes", "order.7.paid", "--body", "order.json", "--header", "x=1", "--url", broker_url
    )

    assert ended.code == 0
    with looking(broker_url) as peer:
        (message,) = peer.receive("packing", 1)
    assert bytes(message.body) == b'{"n": 1}'
    assert ended.out == f"{message.properties['message_id']}\n"
    assert message.properties["content_type"] == "application/json"
    assert message.properties["application_headers"] == {"x": "1"}


EVENTS = """
from pydantic import BaseModel
from taskroute import EventSpec, ExchangeSpec, QueueSpec, Topology

class Order(BaseModel):
    n: int

class Other(BaseModel):
    name: str

shop = ExchangeSpec(name="shop")
paid = EventSpec(pattern="order.{number}.paid", exchange=shop, body=Order)
any_other = EventSpec(pattern="other.{number}", exchange=shop, body=Other)
plain = EventSpec(pattern="plain.{number}", exchange=shop, body=bytes)
topology = Topology(queues=[QueueSpec(name="packing", bindings=[shop.bind("#")])], events=[paid, any_other, plain])
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("order.7.paid --body {}", 2),
        ('order.7.paid --body {"n":1}', 0),
        ('order.7.paid --body {"n":"1"}', 0),
        ("order.7.paid --body {} --content-type text/plain", 0),
        ("unknown --body {}", 0),
        ("plain.7 --body {}", 0),
    ],
)
def test_publish_refuses_a_body_that_the_event_of_its_key_has_not(line: CommandLine, words: str, code: int) -> None:
    line.write("events.py", EVENTS)

    ended = line.run("publish", "events:topology", *words.split(), "--url", "memory://")

    told = "taskroute publish: --body is not a valid Order, which event 'order.{number}.paid' has: n: Field required\n"
    assert ended.code == code
    assert code == 0 or ended.err == told


def test_publish_of_what_no_queue_takes_ends_with_1(
    line: CommandLine, taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKROUTE_URL", taskroute_url)

    ended = line.run("publish", "wiring:routes", "nobody", "--body", "{}")

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("taskroute publish: message '")
    assert "no queue takes it" in ended.err


@pytest.mark.parametrize("words", ["publish wiring:routes order.7.paid --body {}", "stats wiring:routes"])
def test_command_without_a_broker_says_where_to_name_one(line: CommandLine, words: str) -> None:
    ended = line.run(*words.split())

    assert (ended.code, ended.out) == (2, "")
    command = words.split(maxsplit=1)[0]
    assert ended.err == f"taskroute {command}: there is no URL of a broker: give --url, or set TASKROUTE_URL\n"


@pytest.mark.parametrize("words", ["publish wiring:routes order.7.paid --body {}", "stats wiring:routes"])
def test_password_that_is_wrong_ends_a_command_with_3(line: CommandLine, words: str, rabbitmq_url: str) -> None:
    user, _, rest = rabbitmq_url.rpartition("@")

    ended = line.run(*words.split(), "--url", f"{user}{SECRET}@{rest}")

    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert "ACCESS_REFUSED" in ended.err
    assert "mend user, password or virtual host in the URL, or on the broker" in ended.err
    assert SECRET not in ended.err


@pytest.mark.parametrize("words", ["publish wiring:routes order.7.paid --body {}", "stats wiring:routes"])
def test_url_that_cannot_be_used_is_told_in_a_line(
    line: CommandLine, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKROUTE_URL", "redis://host/")

    ended = line.run(*words.split())

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ": TASKROUTE_URL: a broker URL starts with memory://, amqp:// or amqps://" in ended.err


@pytest.mark.parametrize("words", ["publish wiring:routes order.7.paid --body {} --timeout 0.5", "stats wiring:routes"])
def test_broker_that_is_away_ends_a_command_with_3(line: CommandLine, words: str) -> None:
    ended = line.run(*words.split(), "--url", AWAY)

    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert "no connection to amqp://shop@127.0.0.1" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        "check held:service",
        "check held:unlucky --factory",
        "explain held:service order.7.paid",
        "routes held:service --format json",
        "graph held:service --format json",
        "graph held:service --format svg --url memory://",
        "graph held:service --format svg --url amqp://a:hidden@127.0.0.1:1/",
        "publish held:service order.7.paid --body {} --timeout 0.1",
        "publish held:service order.7.paid --body {} --timeout 0.1 --url amqp://a:hidden@b:c/",
        "stats held:service",
        "stats held:service --url amqp://a:hidden@127.0.0.1/?x",
        "stats held:service --url memory:// --api http://a:hidden@127.0.0.1:1/",
        "stats held:service --url memory:// --api amqp://a:hidden@127.0.0.1:1/",
        "stats held:service amqp://a:hidden@127.0.0.1:1/",
        "check amqp://a:hidden@127.0.0.1:1/",
        "check a:hidden@127.0.0.1:1/",
        "check amqp:/a:hidden@127.0.0.1:1/",
        "stats held:service a:hidden@127.0.0.1:1/",
        "stats held:service --url a:hidden@127.0.0.1:1/",
        "stats held:service --format a:hidden@127.0.0.1:1/",
        "run held:service --health a:hidden@127.0.0.1:1",
        "run held:service --threads a:hidden@127.0.0.1:1",
        "health a:hidden@127.0.0.1:1/x",
        "a:hidden@127.0.0.1:1/",
    ],
)
def test_password_of_a_broker_is_in_no_output(line: CommandLine, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKROUTE_URL", AWAY)

    ended = line.run(*words.split())

    assert SECRET not in ended.out + ended.err


@pytest.fixture
def filled(broker_url: str) -> str:
    """A broker where the queue has two messages, one waits for a retry, and there is a dead letter."""
    namespace: dict[str, Topology] = {}
    exec(Path("wiring.py").read_text(), namespace)
    with Publisher(broker_url, namespace["topology"]) as publisher, looking(broker_url) as peer:
        for _ in range(2):
            publisher.publish({}, "order.7.paid", exchange="shop")
        for helper in ("packing.retry.25000", "packing.dead"):
            peer.submit(b"{}", helper)
        peer.flush()
    return broker_url


@pytest.mark.parametrize("form", ["text", "svg", "html", "mermaid", "dot"])
def test_graph_shows_what_is_in_the_queues_now(line: CommandLine, filled: str, form: str) -> None:
    ended = line.run("graph", "wiring:routes", "--format", form, "--url", filled)

    assert (ended.code, "2 ready, 0 consumers" in ended.out, "1 waiting" in ended.out) == (0, True, True)
    assert re.search(r"[Qq]ueues as they were at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", ended.out)


def test_graph_tells_programs_what_is_in_the_queues_now(line: CommandLine, filled: str) -> None:
    document = json.loads(line.run("graph", "wiring:routes", "--format", "json", "--url", filled).out)

    assert document["counts"]["at"].endswith(" UTC")
    assert document["counts"]["queues"]["packing"] == {"state": "there", "ready": 2, "consumers": 0}
    assert document["counts"]["queues"]["packing.dead"]["ready"] == 1


def test_graph_of_queues_that_are_not_there_says_so(line: CommandLine, broker_url: str) -> None:
    ended = line.run("graph", "wiring:routes", "--format", "svg", "--url", broker_url)

    assert (ended.code, ">absent</text>" in ended.out) == (1, True)
    assert "5 of 5 queues cannot be counted, 'packing' first" in ended.err


@pytest.mark.parametrize(
    ("url", "code", "told"), [(AWAY, 3, "no connection to"), ("redis://x", 2, "--url: a broker URL")]
)
def test_graph_without_a_broker_to_ask_is_told_in_a_line(line: CommandLine, url: str, code: int, told: str) -> None:
    ended = line.run("graph", "wiring:routes", "--format", "html", "--url", url)

    assert (ended.code, ended.out, ended.err.count("\n")) == (code, "", 1)
    assert told in ended.err


def test_stats_counts_a_queue_with_its_helpers_beside_it(line: CommandLine, filled: str) -> None:
    ended = line.run("stats", "wiring:routes", "--url", filled)

    assert ended.code == 0
    assert [text.split() for text in ended.out.splitlines()] == [
        ["ready", "retry", "dead", "consumers", "queue"],
        ["2", "1", "1", "0", "packing"],
    ]


def test_stats_answers_programs_in_json(line: CommandLine, filled: str) -> None:
    document = json.loads(line.run("stats", "wiring:routes", "--url", filled, "--format", "json").out)

    assert document["version"] == 1
    (queue,) = document["queues"]
    assert (queue["queue"], queue["ready"], queue["retry"], queue["dead"], queue["state"]) == (
        "packing",
        2,
        1,
        1,
        "there",
    )
    assert queue["wait_queues"] == {"packing.retry.1000": 0, "packing.retry.5000": 0, "packing.retry.25000": 1}


def test_stats_counts_the_other_queues_when_one_is_not_there(line: CommandLine, filled: str) -> None:
    line.write(
        "more.py",
        "from wiring import *\nattic = QueueSpec(name='attic', retry=False, dead_letter=False)\n"
        "topology = Topology(exchanges=[shop], queues=[attic, packing])\n",
    )

    ended = line.run("stats", "more:topology", "--url", filled)

    assert ended.code == 1
    assert [text.split() for text in ended.out.splitlines()[1:]] == [
        ["-", "-", "-", "-", "attic", "(absent)"],
        ["2", "1", "1", "0", "packing"],
    ]
    assert "1 of 6 queues cannot be counted, 'attic' first" in ended.err


def test_stats_shows_a_queue_that_is_replaced_until_it_is_gone(line: CommandLine, filled: str) -> None:
    """What is left in it, and its dead letters, are nowhere else to be seen with the new code."""
    line.write(
        "more.py",
        "from wiring import *\n"
        "later = QueueSpec(name='packing.2', replaces='packing', retry=False, dead_letter=False)\n"
        "gone = later.model_copy(update={'replaces': 'attic'})\n"
        "topology, others = Topology(queues=[later]), Topology(queues=[gone])\n",
    )
    declare(filled, Topology(queues=[QueueSpec(name="packing.2", retry=False, dead_letter=False)]))

    ended = line.run("stats", "more:topology", "--url", filled)
    without = line.run("stats", "more:others", "--url", filled)

    assert (ended.code, [text.split() for text in ended.out.splitlines()[1:]]) == (
        0,
        [
            ["0", "-", "-", "0", "packing.2"],
            ["2", "-", "1", "0", "packing", "(replaced", "by", "packing.2)"],
        ],
    )
    assert (without.code, [text.split() for text in without.out.splitlines()[1:]]) == (
        0,
        [["0", "-", "-", "0", "packing.2"]],
    )


def test_stats_shows_the_dead_letters_that_a_replaced_queue_has_left(line: CommandLine, filled: str) -> None:
    line.write(
        "more.py",
        "from wiring import *\n"
        "later = QueueSpec(name='packing.2', replaces='packing', retry=False, dead_letter=False)\n"
        "topology = Topology(queues=[later])\n",
    )
    declare(filled, Topology(queues=[QueueSpec(name="packing.2", retry=False, dead_letter=False)]))
    with looking(filled) as peer:
        peer.channel.queue_delete("packing")

    ended = line.run("stats", "more:topology", "--url", filled)

    assert (ended.code, [text.split() for text in ended.out.splitlines()[1:]]) == (
        0,
        [
            ["0", "-", "-", "0", "packing.2"],
            ["-", "-", "1", "-", "packing", "(absent,", "replaced", "by", "packing.2)"],
        ],
    )


def test_stats_names_an_absent_queue_that_keeps_the_dead_letters_of_both(line: CommandLine, broker_url: str) -> None:
    line.write(
        "more.py",
        "from wiring import *\n"
        "dead = QueueSpec(name='attic.dead', retry=False, dead_letter=False)\n"
        "later = QueueSpec(name='attic.2', replaces='attic', retry=False, dead_letter=dead)\n"
        "topology = Topology(queues=[dead, later])\n",
    )

    ended = line.run("stats", "more:topology", "--url", broker_url)

    assert (ended.code, [text.split() for text in ended.out.splitlines()[1:]]) == (
        1,
        [["-", "-", "-", "-", "attic.dead", "(absent)"], ["-", "-", "-", "-", "attic.2", "(absent)"]],
    )


def test_stats_creates_nothing(line: CommandLine, broker_url: str) -> None:
    before = line.run("stats", "wiring:routes", "--url", broker_url)
    after = line.run("stats", "wiring:routes", "--url", broker_url)

    assert (before.code, after.code) == (1, 1)
    assert "(absent)" in after.out


@pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)
def test_stats_of_an_empty_broker_asks_for_a_worker(line: CommandLine, broker_url: str) -> None:
    ended = line.run("stats", "wiring:routes", "--url", broker_url)

    assert ended.err == "taskroute stats: none of the queues is there yet: start a worker, which declares them\n"


def test_stats_of_an_empty_embedded_broker_says_that_it_is_inside(line: CommandLine) -> None:
    ended = line.run("stats", "wiring:routes", "--url", "memory://")

    assert ended.err == "taskroute: memory:// is a broker inside of this process: no other one sees it\n"


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        counts = {"messages_unacknowledged": 4, "message_stats": {"publish_details": {"rate": 1.5}}}
        body = json.dumps({"name": "packing", **counts})
        self.send_response(200 if "packing" in self.path else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api() -> Iterator[str]:
    with serving(Api) as url:
        yield url


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_stats_asks_the_management_api_for_more(line: CommandLine, filled: str, api: str) -> None:
    ended = line.run("stats", "wiring:routes", "--url", filled, "--api", api)

    assert [text.split() for text in ended.out.splitlines()] == [
        ["ready", "retry", "dead", "consumers", "unacked", "in/s", "out/s", "queue"],
        ["2", "1", "1", "0", "4", "1.5", "-", "packing"],
    ]

    document = json.loads(line.run("stats", "wiring:routes", "--url", filled, "--api", api, "--format", "json").out)
    assert document["queues"][0]["in_per_second"] == 1.5
    assert document["queues"][0]["out_per_second"] is None


def test_management_api_that_is_away_ends_stats_with_3(line: CommandLine, taskroute_url: str) -> None:
    ended = line.run("stats", "wiring:routes", "--url", taskroute_url, "--api", "http://127.0.0.1:1")

    assert (ended.code, ended.out) == (3, "")
    assert "the management API at http://127.0.0.1:1 cannot be asked: " in ended.err

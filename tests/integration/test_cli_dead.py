"""`taskroute dead` on both brokers: what it prints, how it ends, whom it asks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from tests.kit.command_line import WIRING, CommandLine, Ended
from tests.kit.dead import letter
from tests.kit.peer import Peer, looking
from tests.kit.rabbitmq import Node
from tests.kit.waiting import until
from tests.kit.web_server import serving

from taskroute import Publisher
from taskroute.broker import taking
from taskroute.broker.taking import Taking
from taskroute.cli.progress import CLEAR_LINE
from taskroute.message.delivery import Delivery
from taskroute.operate.dead_letters import dead_letters
from taskroute.operate.dead_letters import looking as looking_at
from taskroute.operate.dead_letters.delivering import Deliverer
from taskroute.topology.topology import Topology


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run puts back is there when it ends, however busy the broker is."""
    monkeypatch.setattr(taking, "RETURN_TIME", 10.0)


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capsys, monkeypatch)


class Dead:
    """`taskroute dead` about one target, and a client beside it."""

    def __init__(self, line: CommandLine, url: str, peer: Peer) -> None:
        self._line = line
        self._url = url
        self.peer = peer

    def __call__(self, verb: str, *words: str) -> Ended:
        return self._line.run("dead", verb, "wiring:routes", *words, "--url", self._url)

    def put(self, number: int, body: bytes = b"{}", **headers: object) -> None:
        properties = letter(number, **{"queue": "packing", "routing_key": f"order.{number}.paid", **headers})  # type: ignore[arg-type]
        self.peer.publish(body, "packing.dead", **properties)

    def document(self, verb: str, *words: str) -> Any:
        return json.loads(self(verb, *words, "--format", "json").out)


@pytest.fixture
def dead(line: CommandLine, broker_url: str) -> Iterator[Dead]:
    namespace: dict[str, Topology] = {}
    exec(Path("wiring.py").read_text(), namespace)
    with Publisher(broker_url, namespace["topology"]), looking(broker_url) as peer:
        yield Dead(line, broker_url, peer)


def test_letters_are_listed_with_those_of_others_apart(dead: Dead) -> None:
    dead.put(7)
    dead.peer.publish(b"{}", "packing.dead")

    ended = dead("list")

    of_worker, first, of_others, second, total = ended.out.splitlines()
    assert (ended.code, total) == (0, "2 letters")
    assert of_worker == "put there by workers:"
    assert first.endswith("handler_error  packing 'order.7.paid'  shop.pay: RuntimeError at shop.py:7")
    assert of_others == "put there by other clients: nobody who is believed says where they failed:"
    assert second.endswith("packing.dead 'packing.dead'")


def test_list_answers_programs_in_json(dead: Dead) -> None:
    for number in (7, 8):
        dead.put(number)

    document = dead.document("list", "--limit", "1")

    (found,) = document["letters"]
    assert (document["version"], document["matching"]) == (1, 2)
    assert (found["queue"], found["routing_key"], found["written_by"]) == ("packing", "order.7.paid", "worker")
    assert document["queues"] == [{"queue": "packing.dead", "ready": 2, "looked_at": 2, "problem": None}]


def test_show_tells_all_that_a_letter_carries(dead: Dead) -> None:
    dead.put(7, b'{"name": "Anna"}', error_traceback="Traceback\n  File shop.py")
    (found,) = dead.document("list")["letters"]

    text = dead("show", found["id"]).out
    (shown,) = dead.document("show", found["id"])["letters"]

    for told in ('{"name": "Anna"}', "File shop.py", "message id: m7", "today: would now go to wiring.pack"):
        assert told in text
    assert (shown["body"], shown["traceback"]) == ('{"name": "Anna"}', "Traceback\n  File shop.py")
    assert shown["today"] == {"handler": "wiring.pack", "problem": None}


def test_show_tells_headers_and_the_history_of_the_broker(dead: Dead) -> None:
    dead.peer.publish(b"{}", "order.7.paid", "shop", application_headers={"tenant": "a"})
    dead.peer.give_up(dead.peer.receive_one("packing").delivery_info["delivery_tag"])
    until(lambda: dead.peer.ready("packing.dead") == 1)
    (found,) = dead.document("list")["letters"]

    text = dead("show", found["id"]).out
    (shown,) = dead.document("show", found["id"])["letters"]

    assert "  history:\n    rejected in 'packing', 1 times, at " in text
    assert "    tenant: 'a'\n" in text
    assert [death["reason"] for death in shown["history"]] == ["rejected"]


def test_letter_that_is_not_there_ends_show_with_1(dead: Dead) -> None:
    ended = dead("show", "abc")

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[-1].startswith("taskroute dead: there is no letter 'abc'")


@pytest.mark.parametrize("by", ["queue", "reason", "handler", "error"])
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_stats_count_letters_by_what_they_share(dead: Dead, by: str) -> None:
    for number, reason in ((7, "handler_error"), (8, "handler_error"), (9, "invalid_body")):
        dead.put(number, reason=reason, handler=reason, error=reason)

    text, document = dead("stats", "--by", by).out, dead.document("stats", "--by", by)

    counts = {each["value"]: each["letters"] for each in document["counts"]}
    assert counts == ({"packing": 3} if by == "queue" else {"handler_error": 2, "invalid_body": 1})
    assert text.splitlines()[1].split() == [str(max(counts.values())), max(counts, key=lambda value: counts[value])]


def test_dry_run_says_what_would_become_of_each_letter(dead: Dead) -> None:
    dead.put(7)
    dead.put(8, b"[1]")
    dead.put(9, routing_key="nobody")

    ended = dead("retry", "--dry-run")

    assert ended.code == 1
    assert [text.strip() for text in ended.out.splitlines()[1::2]] == [
        "would now go to wiring.pack",
        "still does not validate: invalid_body: body: dict_type (of wiring.pack)",
        "no handler: none of 'packing' takes 'nobody'",
    ]
    assert ended.out.splitlines()[-1] == "1 of 3 letters would be handled; nothing was done"
    assert dead.peer.ready("packing.dead") == 3


def test_retry_sends_letters_back_and_says_how_many(dead: Dead) -> None:
    for number in (7, 8):
        dead.put(number)

    ended = dead("retry", "--yes", "--key", "order.7.*")

    assert (ended.code, ended.out, ended.err.count("\n")) == (0, "1 letter sent again\n", "memory" in ended.err)
    assert [dead.peer.ready(queue) for queue in ("packing.dead", "packing")] == [1, 1]


def test_remove_keeps_what_it_removes_and_import_puts_it_back(dead: Dead) -> None:
    dead.put(7)
    before = dead.document("list")["letters"]

    removed = dead("remove", "--yes", "--file", "kept.jsonl")
    empty = dead("list")
    back = dead("import", "kept.jsonl", "--yes")

    assert (removed.code, removed.out) == (0, "1 letter removed, and kept in kept.jsonl\n")
    assert (empty.out, back.code, back.out) == ("0 letters\n", 0, "1 letter put back\n")
    assert dead.document("list")["letters"] == before


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ("--queue packing", ["order.7.paid"]),
        ("--reason invalid_body", ["order.7.paid"]),
        ("--handler shop.refund", ["order.7.paid"]),
        ("--key order.7.*", ["order.7.paid"]),
        ("--error TypeError", ["order.7.paid"]),
        ("--since 1h", ["order.7.paid"]),
        ("--older 1h", ["order.8.paid"]),
        ("--written-by broker", []),
    ],
)
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_each_option_chooses_letters(dead: Dead, words: str, keys: list[str]) -> None:
    """One that was not heeded would have a command remove what is not meant."""
    now = datetime.now(UTC).isoformat()
    dead.put(7, reason="invalid_body", handler="shop.refund", error="TypeError", failed_at=now)
    dead.put(8, queue="nowhere")

    found = dead.document("list", *words.split())["letters"]

    assert [each["routing_key"] for each in found] == keys


@pytest.mark.parametrize(
    ("words", "told", "left"),
    [
        ("stats", "1 letter", 3),
        ("export --file kept.jsonl", "1 letter in kept.jsonl", 3),
        ("retry --dry-run", "1 of 1 letter would be handled; nothing was done", 3),
        ("retry --yes", "1 letter sent again", 2),
        ("remove --file kept.jsonl --yes", "1 letter removed, and kept in kept.jsonl", 2),
        ("move --to packing --yes", "1 letter moved to 'packing'", 2),
    ],
)
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_each_verb_takes_the_letters_that_are_meant(dead: Dead, words: str, told: str, left: int) -> None:
    for number in (7, 8, 9):
        dead.put(number)

    ended = dead(*words.split(), "--key", "order.8.*")

    assert (ended.out.splitlines()[-1], dead.peer.ready("packing.dead")) == (told, left)


@pytest.mark.parametrize("words", ["retry", "move --to packing", "import kept.jsonl"])
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_rate_of_a_command_is_kept(dead: Dead, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float | None] = []

    class Told(Deliverer):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            rates.append(options["rate"])
            super().__init__(*arguments, **options)

    dead.put(7)
    assert dead("export", "--file", "kept.jsonl").code == 0
    monkeypatch.setattr(dead_letters, "Deliverer", Told)

    assert dead(*words.split(), "--rate", "50", "--yes").code == 0

    assert rates == [50]


@pytest.mark.parametrize("words", ["retry", "remove", "move --to packing"])
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_limit_leaves_the_later_letters(dead: Dead, words: str) -> None:
    for number in (7, 8, 9):
        dead.put(number)

    assert dead(*words.split(), "--limit", "1", "--yes").code == 0

    assert [each["routing_key"] for each in dead.document("list")["letters"]] == ["order.8.paid", "order.9.paid"]


def test_move_and_export_say_what_they_did(dead: Dead) -> None:
    dead.put(7)

    exported, to_file = dead("export"), dead("export", "--file", "kept.jsonl")
    moved = dead("move", "--to", "packing", "--yes")

    assert json.loads(exported.out)["routing_key"] == "order.7.paid"
    assert (to_file.code, to_file.out, Path("kept.jsonl").read_text().count("\n")) == (
        0,
        "1 letter in kept.jsonl\n",
        1,
    )
    assert (moved.code, moved.out) == (0, "1 letter moved to 'packing'\n")
    assert dead.peer.ready("packing") == 1


CHANGES = ["retry", "remove", "move --to packing", "import kept.jsonl"]


@pytest.mark.parametrize("words", CHANGES)
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_change_without_a_terminal_to_ask_needs_a_yes(dead: Dead, words: str) -> None:
    dead.put(7)

    ended = dead(*words.split())

    assert (ended.code, ended.out) == (2, "")
    assert "no terminal is there to ask: give --yes" in ended.err
    assert dead.peer.ready("packing.dead") == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("list --since soon", "--since: 'soon' is no age such as 90s, 30m, 2h, 7d or 1w"),
        ("list --queue paking", "no queue 'paking'; did you mean 'packing'?"),
        ("list --key a.b*", "a.b*"),
        ("retry --rate 0 --yes", "--rate: '0' is no number of letters a second"),
        ("move --to payments --yes", "no queue 'payments'"),
        ("move --to packing.retry.1000 --yes", "'packing.retry.1000' is a wait queue"),
        ("move --yes", "--to"),
        ("import nope.jsonl --yes", "FILE 'nope.jsonl': No such file or directory"),
        ("remove --file wiring.py --yes", "--file 'wiring.py' is there already"),
        ("export --file wiring.py", "--file 'wiring.py' is there already"),
        ("list --reasons x", "there is no option '--reasons': did you mean '--reason'?"),
    ],
)
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_usage_error_names_the_argument_and_the_way_out(dead: Dead, words: str, told: str) -> None:
    ended = dead(*words.split())

    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err.splitlines()[-1]


def test_queue_that_may_not_be_looked_into_ends_a_command_with_1(dead: Dead, line: CommandLine) -> None:
    line.write(
        "wiring.py",
        f"{(line.folder / 'wiring.py').read_text()}\n"
        "low = QueueSpec(name='packing.dead', retry=False, dead_letter=False)\n"
        "routes = Routes(Topology(exchanges=[shop], queues=[packing, low]), registry)\n",
    )
    dead.put(7)

    ended = dead("list")

    assert (ended.code, ended.out) == (1, "0 letters\n")
    told = "taskroute dead: queue 'packing.dead' (1 letter) was not looked into: its delivery limit is 20"
    assert ended.err.splitlines()[-1].startswith(told)


def test_line_that_is_broken_is_named_and_nothing_is_imported(dead: Dead, line: CommandLine) -> None:
    dead.put(7)
    line.write("kept.jsonl", f"{dead('export').out}{{\n")

    ended = dead("import", "kept.jsonl", "--yes")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[-1].startswith("taskroute dead: line 2 is no letter: ")
    assert dead.peer.ready("packing.dead") == 1


class Terminal(io.StringIO):
    """Somebody who types these lines."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "sent", "code"), [("y", 1, 0), ("n", 0, 1), ("", 0, 1)])
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_terminal_is_asked_before_something_is_changed(
    dead: Dead, monkeypatch: pytest.MonkeyPatch, answer: str, sent: int, code: int
) -> None:
    dead.put(7)
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))

    ended = dead("retry")

    assert ended.code == code
    assert "send 1 letter back to the queue where each failed? [y/N]" in ended.err
    assert dead.peer.ready("packing") == sent


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_progress_is_shown_on_a_terminal(dead: Dead, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal)
    dead.put(7)

    dead("retry", "--yes")

    assert f"{CLEAR_LINE}1 of 1 done{CLEAR_LINE}" in terminal.getvalue()


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_consumer_timeout_bounds_the_time_of_a_run(dead: Dead, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in {"MOST": 2, "_LEAST_ROOM": 1}.items():
        monkeypatch.setattr(looking_at, name, number)
    for number in (7, 8, 9):
        dead.put(number)

    ended = dead("list", "--reason", "expired", "--consumer-timeout", "0.000001")

    assert (ended.code, "2 of 3 letters of queue 'packing.dead' were looked at" in ended.err) == (1, True)


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_consent_to_letters_of_a_queue_has_no_other_one_looked_into(
    dead: Dead, line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.put(7)
    line.write("wiring.py", WIRING.replace("queues=[packing]", "queues=[QueueSpec(name='attic'), packing]"))
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))

    ended = dead("retry", "--queue", "packing")

    assert (ended.code, dead.peer.ready("packing")) == (0, 1)
    assert "attic" not in ended.err


@pytest.mark.parametrize(("answers", "sent"), [("y\ny\n", 2), ("y\nn\n", 1)])
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_letter_that_failed_too_often_is_asked_for_separately(
    dead: Dead, monkeypatch: pytest.MonkeyPatch, answers: str, sent: int
) -> None:
    dead.put(7, replays=3)
    dead.put(8, replays=2)
    monkeypatch.setattr("sys.stdin", Terminal(answers))

    ended = dead("retry")

    assert "1 letter went back 3 times or more and failed again: also those? [y/N]" in ended.err
    assert (dead.peer.ready("packing"), ended.code) == (sent, 2 - sent)


@pytest.mark.parametrize("words", ["list", "retry --yes", "remove --yes", "export", "stats"])
def test_broker_that_is_away_ends_a_verb_with_3(line: CommandLine, words: str) -> None:
    verb, *more = words.split()

    ended = line.run("dead", verb, "wiring:routes", *more, "--url", "amqp://shop:hidden@127.0.0.1:1/")

    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert ended.err.startswith("taskroute dead: no connection to amqp://shop@127.0.0.1:1")


@pytest.mark.parametrize(
    ("api", "code"),
    [("http://a:hidden@127.0.0.1:1", 3), ("amqp://a:hidden@127.0.0.1:1", 2), ("http://a:hidden@rabbit.example", 2)],
)
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_management_api_that_cannot_be_asked_changes_nothing(dead: Dead, api: str, code: int) -> None:
    dead.put(7)

    ended = dead("retry", "--yes", "--api", api)

    assert (ended.code, ended.out) == (code, "")
    assert "management API" in ended.err
    assert "hidden" not in ended.err
    assert dead.peer.ready("packing.dead") == 1


class Api(BaseHTTPRequestHandler):
    """A management API in which policies have lowered the limit of each queue."""

    def do_GET(self) -> None:
        name = unquote(self.path.rpartition("/")[2])
        facts = {"name": name, "type": "quorum", "durable": True, "auto_delete": False, "arguments": {}}
        found = facts | {"effective_policy_definition": {"delivery-limit": 5}, "internal": False}
        body = json.dumps([] if name == "bindings" else found | ({"type": "topic"} if "exchanges" in self.path else {}))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_policy_that_lowers_the_limit_closes_a_queue_to_looks(dead: Dead) -> None:
    """AMQP does not show it: without the API the queue would be looked into."""
    dead.put(7)
    with serving(Api) as api:
        ended = dead("list", "--api", api)

    assert (ended.code, ended.out) == (1, "0 letters\n")
    assert "(1 letter) was not looked into: its delivery limit is 5" in ended.err


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_interrupt_in_a_removal_says_how_far_it_came_and_where_the_letters_are(
    dead: Dead, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def acknowledge(taking: Taking, delivery: Delivery) -> None:
        if delivery.properties["message_id"] == "m8":
            raise KeyboardInterrupt
        original(taking, delivery)

    for number in (7, 8, 9):
        dead.put(number)
    original = Taking.acknowledge
    monkeypatch.setattr(Taking, "acknowledge", acknowledge)

    with pytest.raises(KeyboardInterrupt):
        dead("remove", "--yes", "--file", "kept.jsonl")

    told = capsys.readouterr().err.splitlines()[-1]
    assert told == ("taskroute dead: interrupted: 1 of 3 letters are done, the others stay; kept.jsonl has all of them")
    assert (Path("kept.jsonl").read_text().count("\n"), dead.peer.ready("packing.dead")) == (3, 2)


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_letters_that_were_not_looked_at_are_counted_and_the_way_out_is_told(
    dead: Dead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking_at, "MOST_LOOKED_AT", 2)
    for number in (7, 8, 9):
        dead.put(number)

    ended = dead("list", "--reason", "expired")

    assert (ended.code, ended.out) == (1, "0 letters\n")
    told = ended.err.splitlines()[-1]
    assert told.startswith("taskroute dead: 2 of 3 letters of queue 'packing.dead' were looked at, no others: ")
    assert told.endswith("settle or move away what lies in front, and run it again")


class WebProxy(BaseHTTPRequestHandler):
    """A proxy that has a page for whoever asks."""

    def do_GET(self) -> None:
        page = b"<html><body>Sign in</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("words", ["list", "retry --yes", "remove --yes --file kept.jsonl", "move --to packing --yes"])
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_proxy_that_answers_html_for_the_api_ends_a_verb_with_3(dead: Dead, words: str) -> None:
    dead.put(7)

    with serving(WebProxy) as api:
        ended = dead(*words.split(), "--api", api)

    assert (ended.code, ended.out) == (3, "")
    assert "its answer is no JSON; another program answers there, or a proxy" in ended.err.splitlines()[-1]
    assert (dead.peer.ready("packing.dead"), Path("kept.jsonl").exists()) == (1, False)


@pytest.fixture
def odd_url(rabbitmq: Node) -> Iterator[str]:
    """The URL of a virtual host whose name has all that a URL has to quote."""
    name = "a/b c%"
    rabbitmq.eval(
        f'rabbit_vhost:add(<<"{name}">>, <<"test">>), rabbit_auth_backend_internal:set_permissions('
        f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>).'
    )
    yield rabbitmq.url(name)
    rabbitmq.eval(f'rabbit_vhost:delete(<<"{name}">>, <<"test">>).')


def test_virtual_host_of_any_name_is_worked_in_by_every_verb(line: CommandLine, rabbitmq: Node, odd_url: str) -> None:
    assert line.run("publish", "wiring:routes", "order.1.paid", "--body", "{}", "--url", odd_url).code == 0
    with looking(odd_url) as peer:
        dead = Dead(line, odd_url, peer)
        dead.put(7)
        dead.put(8)
        by_api = dead("list", "--api", rabbitmq.api)
        first, second = (each["id"] for each in dead.document("list")["letters"])

        ended = [
            dead(*words)
            for words in (
                ("show", first),
                ("stats",),
                ("export", "--file", "kept.jsonl"),
                ("retry", first, "--yes"),
                ("remove", second, "--yes", "--file", "removed.jsonl"),
                ("import", "kept.jsonl", "--yes"),
                ("move", second, "--to", "packing", "--yes"),
            )
        ]

        # The API knows the queue at once, and what policies make of it after some seconds.
        assert by_api.code == 0 or "ask again in some seconds" in by_api.err
        assert [(each.code, each.err) for each in ended] == [(0, "")] * len(ended)
        assert [peer.ready(queue) for queue in ("packing.dead", "packing")] == [1, 3]

"""What a user must be allowed for a worker, a publisher and each command, and what each says that is denied it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.faults.site import SECRET
from tests.kit.command_line import WIRING, CommandLine, Ended
from tests.kit.dead import declare, put
from tests.kit.peer import looking
from tests.kit.rights import LimitedUser, Names, Rights, limited_user
from tests.kit.terminal import Terminal
from tests.kit.waiting import in_thread, until

from taskroute import ExchangeSpec, Publisher, QueueSpec, Topology
from taskroute.broker.url import parse_urls
from taskroute.operate.management import ManagementApi
from taskroute.operate.plan.publishers import connections_of_others

SHOP, QUEUE, WAITS, DEAD = "shop", "orders", r"orders\.retry\.[0-9]+", r"orders\.dead"
DEFAULT = r"amq\.default"
QUEUES = (QUEUE, WAITS, DEAD)
EVERYTHING = (SHOP, *QUEUES)

MODULE = f"""
import os
from taskroute import Service
{WIRING.replace("packing", "orders")}
service = Service(topology, registry, worker={{"declare": os.environ["DECLARE"]}})
older = Topology(queues=[QueueSpec(name="orders", bindings=[shop.bind("order.*.paid"), shop.bind("order.*.gone")])])
retired = Topology(exchanges=[shop], retired=["orders"])
bounded = Topology(queues=[QueueSpec(name="orders", max_length=9, overflow="drop-head")])
"""
"""The file wiring.py of every command here."""

SHOPS: Final = ExchangeSpec(name="shop")
BOUND: Final = QueueSpec(name="orders", bindings=[SHOPS.bind("order.*.paid")])
SITUATIONS: Final[Mapping[str, Topology]] = {
    "empty": Topology(),
    "declared": Topology(queues=[BOUND]),
    "letters": Topology(queues=[BOUND]),
    # Of classic queues the management API says at once what there is.
    "classic letters": Topology(queues=[BOUND.model_copy(update={"type": "classic"})]),
    "a stale key": Topology(queues=[QueueSpec(name="orders", bindings=[*BOUND.bindings, SHOPS.bind("order.*.gone")])]),
    "a retired queue": Topology(exchanges=[SHOPS], queues=[QueueSpec(name="orders", type="classic")]),
}
"""What a virtual host has before a command is run."""

LOOKS_NEED_A_RIGHT = (4, 2, 6)
"""The RabbitMQ from which on a user without any right to a queue or an exchange may not look at it."""

UNSEEN = "publishers of other versions are not seen: that takes the tag monitoring; look for them yourself"
NO_API = "without the management API it is only seen whether queues and exchanges are there"


@dataclass(frozen=True, kw_only=True)
class Need:
    """Rights, and the commands that they suffice for.

    Attributes:
        situation: what there is before each of them.
        code: that they end with when nothing is missing.
        told: on stderr by then.
        shown: kinds of rights without which they go on, show what they may, and end with 1.
        later: rights that are missed only by a message that fails, each as its kind and the name.
        newer: kinds of rights that are needed from RabbitMQ 4.2.6 on.
        by_kind: without a right to one name they do the rest, so that a kind is taken for all its names at once.
        declare: of their worker.
    """

    rights: Rights
    commands: tuple[str, ...]
    situation: str = "declared"
    code: int = 0
    told: str = ""
    shown: tuple[str, ...] = ()
    later: tuple[tuple[str, str], ...] = ()
    newer: tuple[str, ...] = ()
    by_kind: bool = False
    declare: str = "create"


PUBLISH = "publish wiring:routes order.7.paid --body {}"
RUN = "run wiring:service UNTIL"
LOOK = ("dead list wiring:routes", "dead show wiring:routes ID", "dead stats wiring:routes")
KEEP = ("dead export wiring:routes --file FILE", "dead remove wiring:routes --yes --file FILE")
SEND = ("dead retry wiring:routes --limit 1 --yes", "dead move wiring:routes --to orders --yes")
APPLY = "apply wiring:routes --yes"
CREATING = Rights(configure=EVERYTHING, write=(DEFAULT, QUEUE), read=(SHOP, QUEUE, WAITS))

NEEDS: Final[Mapping[str, Need]] = {
    "`publish`, a publisher": Need(
        rights=Rights(configure=(SHOP,), write=(SHOP,)),
        commands=(PUBLISH,),
    ),
    '`publish --declare verify`, a publisher with `declare="verify"`': Need(
        rights=Rights(write=(SHOP,)),
        commands=(f"{PUBLISH} --declare verify",),
    ),
    "`run`, a worker": Need(
        rights=CREATING,
        commands=(RUN,),
        situation="empty",
    ),
    '`run`, a worker, each with `declare="verify"`': Need(
        rights=Rights(write=(DEFAULT,), read=QUEUES),
        commands=(RUN,),
        later=(("write", DEFAULT), ("read", WAITS), ("read", DEAD)),
        declare="verify",
    ),
    "`stats`, `graph --url`": Need(
        rights=Rights(read=QUEUES),
        commands=("stats wiring:routes", "graph wiring:routes"),
        shown=("read",),
        newer=("read",),
    ),
    "`stats --api`": Need(
        rights=Rights(tag="management", read=QUEUES),
        commands=("stats wiring:routes --api API",),
        shown=("read",),
        newer=("read",),
    ),
    "`import` of a live virtual host": Need(
        rights=Rights(tag="management"),
        commands=("import --api API",),
    ),
    "`plan`": Need(
        rights=Rights(read=EVERYTHING),
        commands=("plan wiring:routes",),
        newer=("read",),
    ),
    "`plan --api`": Need(
        rights=Rights(tag="management"),
        commands=("plan wiring:routes --api API",),
    ),
    "`apply`": Need(
        rights=CREATING,
        commands=(APPLY,),
        situation="empty",
        told=NO_API,
    ),
    "`apply --api`": Need(
        rights=CREATING._replace(tag="management"),
        commands=(f"{APPLY} --api API",),
        situation="empty",
        told=UNSEEN,
    ),
    "`prune --api` of keys": Need(
        rights=Rights(tag="management", write=(QUEUE,), read=(SHOP,)),
        commands=("prune wiring:routes --was was.json --yes --api API",),
        situation="a stale key",
        told=UNSEEN,
    ),
    "`prune --api` of queues": Need(
        rights=Rights(tag="management", configure=QUEUES),
        commands=("prune wiring:retired --yes --api API",),
        situation="a retired queue",
        by_kind=True,
        told=UNSEEN,
    ),
    "`dead list`, `show`, `stats`, `export`, `remove`": Need(
        rights=Rights(configure=(DEAD,), read=(DEAD,)),
        commands=(*LOOK, *KEEP),
        situation="letters",
        shown=("configure", "read"),
    ),
    "`dead retry`, `move`": Need(
        rights=Rights(configure=(DEAD,), write=(DEFAULT,), read=(DEAD,)),
        commands=SEND,
        situation="letters",
        shown=("configure", "read"),
    ),
    "`dead list`, `show`, `stats`, `export`, `remove`, each with `--api`": Need(
        rights=Rights(tag="management", read=(DEAD,)),
        commands=tuple(f"{command} --api API" for command in (*LOOK, *KEEP)),
        situation="classic letters",
        shown=("read",),
    ),
    "`dead retry`, `move`, each with `--api`": Need(
        rights=Rights(tag="management", write=(DEFAULT,), read=(DEAD,)),
        commands=tuple(f"{command} --api API" for command in SEND),
        situation="classic letters",
        shown=("read",),
    ),
    "`dead import`": Need(
        rights=Rights(write=(DEFAULT,)),
        commands=("dead import wiring:routes letters.jsonl --yes",),
        situation="letters",
    ),
}
"""The table of docs/deployment.md, in its order."""


class Place:
    """A virtual host, the user whose rights are tried, and the command line."""

    def __init__(self, line: CommandLine, url: str, api: str, user: LimitedUser) -> None:
        (node,) = parse_urls(url)
        self.line = line
        self.url = url
        self.api = api
        self.user = user
        self.virtual_host = node.virtual_host
        self.management = ManagementApi(api, user=node.user, password=node.password)
        self._files = 0

    @property
    def version(self) -> tuple[int, ...]:
        overview: Any = self.management.get("overview")
        return tuple(map(int, re.findall("[0-9]+", overview["rabbitmq_version"])[:3]))

    def misses(self, need: Need, kind: str, names: Names) -> bool:
        """Return whether a command says at once that it lacks these rights."""
        return (kind, *names) not in need.later and (kind not in need.newer or self.version >= LOOKS_NEED_A_RIGHT)

    def prepare(self, situation: str) -> None:
        """Have there be what a command needs, and the files that it reads."""
        assert self.line.run("lock", "wiring:older", "--file", "was.json").code == 0
        declare(self.url, SITUATIONS[situation])
        if "letters" in situation:
            with looking(self.url) as peer:
                put(peer, 4)
            where = ("--url", self.url, "--api", self.api) if "classic" in situation else ("--url", self.url)
            self.line.write("letters.jsonl", self.line.run("dead", "export", "wiring:routes", *where).out)

    def wipe(self) -> None:
        """Delete what a command has made before it was denied something."""
        for name in self._names("queues"):
            self.management.delete("queues", self.virtual_host, name)
        for name in self._names("exchanges"):
            self.management.delete("exchanges", self.virtual_host, name)

    def run(self, command: str, rights: Rights, until: str = "--max-time=30") -> Ended:
        """Run a command as a user who has these rights. `until`: an option of a worker that nothing is denied."""
        self.user.may(rights)
        self._files += 1
        given = {"API": self.api, "FILE": f"letters-{self._files}.jsonl", "ID": self._letter_id, "UNTIL": until}
        return self.line.run(*(given.get(word, word) for word in command.split()), "--url", self.user.url)

    def publish_once_bound(self) -> None:
        """Publish a message that the handler takes, as soon as it can come to its queue."""
        until(lambda: self._definitions()["bindings"])
        with looking(self.url) as peer:
            peer.publish(b"{}", "order.7.paid", "shop")

    def wait_for(self, state: Mapping[str, Any]) -> None:
        """Wait until there is nothing else than this, and as much in each queue."""
        until(lambda: self.state() == state)

    def state(self) -> dict[str, Any]:
        """Return what there is, and how much is in each queue."""
        found = self._definitions()
        with looking(self.url) as peer:
            ready = {name: peer.ready(name) for name in self._names("queues")}
        entities = {kind: sorted(map(json.dumps, found[kind])) for kind in ("queues", "exchanges", "bindings")}
        return {**entities, "ready": ready}

    @property
    def _letter_id(self) -> str:
        """Return the id of the first letter in the file of letters, if there is one."""
        file = self.line.folder / "letters.jsonl"
        return str(json.loads(file.read_text().splitlines()[0])["id"]) if file.exists() else ""

    def _names(self, kind: str) -> list[str]:
        return [each["name"] for each in self._definitions()[kind]]

    def _definitions(self) -> Any:
        return self.management.get("definitions", self.virtual_host)


@pytest.fixture
def place(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rabbitmq_url: str,
    rabbitmq_api: str,
) -> Iterator[Place]:
    line = CommandLine(tmp_path, capfd, monkeypatch)
    line.write("wiring.py", MODULE)
    monkeypatch.setenv("DECLARE", "create")
    monkeypatch.setattr("taskroute.cli.planning.pause", lambda seconds: threading.Event().wait(min(seconds, 1.1)))
    with limited_user(rabbitmq_api, rabbitmq_url, SECRET) as user:
        yield Place(line, rabbitmq_url, rabbitmq_api, user)


@pytest.mark.row(76, 84)
@pytest.mark.parametrize("row", NEEDS)
def test_command_needs_each_of_its_rights_and_no_others(
    place: Place, monkeypatch: pytest.MonkeyPatch, row: str
) -> None:
    """Without one of them it says which, and changes nothing but what it may, which is where nothing is there yet."""
    need = NEEDS[row]
    monkeypatch.setenv("DECLARE", need.declare)
    place.prepare(need.situation)
    before = place.state()
    for command in need.commands:
        for kind, names, rights in need.rights.each_less(by_kind=need.by_kind):
            is_missed = place.misses(need, kind, names)
            ended = place.run(command, rights, "--max-time=30" if is_missed else "--max-time=0.2")
            if is_missed:
                check_denied(need, kind, names, ended)
            else:
                assert ended.code == need.code, (kind, names, ended)
            if need.situation == "empty":
                place.wipe()
            place.wait_for(before)

        published = in_thread(place.publish_once_bound) if command == RUN else None
        enough = place.run(command, need.rights, "--max-messages=1")

        assert (enough.code, enough.err.count("\n")) == (need.code, bool(need.told)), enough
        assert need.told in enough.err
        if published is not None:
            published.result()
        before = place.state()


def check_denied(need: Need, kind: str, names: Names, ended: Ended) -> None:
    """Check what a command says that lacks a right to what has these names."""
    told = f"{ended.out}{ended.err}"
    assert ended.code == (1 if kind in need.shown else 3), (kind, names, ended)
    if kind == "tag":
        assert (ended.out, ended.err.count("\n")) == ("", 1)
        assert "the tag management" in ended.err
    else:
        assert all(re.search(name, told) for name in names), (kind, names, ended)
        assert re.search("grant|the right to it", told), (kind, names, ended)
        assert need.told or need.shown or ended.err.count("\n") == 1, (kind, names, ended)


@pytest.mark.row(84)
def test_publishers_that_cannot_be_seen_are_told_before_the_question(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the tag monitoring they are seen, and told before the question instead."""
    apply, question = f"{APPLY.removesuffix(' --yes')} --api API", "do 7 steps? [y/N]"
    enough = NEEDS["`apply --api`"].rights

    def answered(answer: str, rights: Rights) -> Ended:
        monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
        return place.run(apply, rights)

    with Publisher(place.url, Topology(queues=[QueueSpec(name="other")]), name="an older one"):
        until(lambda: connections_of_others(place.management, place.virtual_host, ()))
        before = place.state()
        refused = answered("n", enough)
        after = place.state()
        agreed = answered("y", enough)
        place.wipe()
        seen = answered("n", enough._replace(tag="monitoring"))

    assert [ended.code for ended in (refused, agreed, seen)] == [1, 0, 1]
    assert after == before
    for ended in (refused, agreed):
        assert ended.err.index(UNSEEN) < ended.err.index(question)
        assert "an older one" not in ended.err
    assert UNSEEN not in seen.err
    assert seen.err.index("connected with another topology: an older one") < seen.err.index(question)


@pytest.mark.row(84)
@pytest.mark.parametrize("is_there", [True, False])
def test_letter_stays_whose_queue_may_drop_messages_and_cannot_be_counted(place: Place, is_there: bool) -> None:
    """From RabbitMQ 4.2.6 on that takes a right to the queue."""
    declare(place.url, Topology(queues=[QueueSpec(name="orders", max_length=9, overflow="drop-head")]))
    with looking(place.url) as peer:
        put(peer, 2)
    if not is_there:
        place.management.delete("queues", place.virtual_host, "orders")
    before = place.state()

    ended = place.run("dead retry wiring:bounded --yes", NEEDS["`dead retry`, `move`"].rights)

    if is_there and place.version < LOOKS_NEED_A_RIGHT:
        assert (ended.code, ended.out) == (0, "2 letters sent again\n")
    else:
        assert (ended.code, ended.out, ended.err.count("\n")) == (1, "0 letters sent again\n", 1)
        assert "2 letters stay: queue 'orders' drops messages at its limit, and is not counted: " in ended.err
        place.wait_for(before)


@pytest.mark.row(84)
@pytest.mark.parametrize("command", ["apply wiring:routes", "prune wiring:routes --was was.json"])
def test_change_that_nobody_can_be_asked_about_is_not_made(place: Place, command: str) -> None:
    place.prepare("a stale key")
    before = place.state()

    ended = place.run(f"{command} --api API", Rights("management", (".*",), (".*",), (".*",)))

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "no terminal is there to ask: give --yes" in ended.err
    assert place.state() == before


def test_page_about_deployment_has_the_rights_that_were_tried() -> None:
    page = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
    _, _, section = page.partition("\n### Which rights suffice\n")
    rows = [line.replace("\\|", "\0") for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip().replace("\0", "|") for cell in row.strip("|").split("|")] for row in rows[2:]]

    shown = {
        label: [f"`{need.rights.tag}`" if need.rights.tag else "", *map("`{}`".format, need.rights.patterns)]
        for label, need in NEEDS.items()
    }

    assert {label: rights for label, *rights in cells} == shown

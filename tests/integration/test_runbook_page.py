"""The runbook: what it shows of dead letters and of a deployment that is half way is what a broker makes of them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine, Ended

from taskroute import ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, RetryPolicy, Topology, Worker

PAGE = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
SHOWN = re.findall(r"^\$ taskroute (.*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
TOPOLOGY = """
from pydantic import BaseModel
from taskroute import ExchangeSpec, QueueSpec, RetryPolicy, Topology

class Order(BaseModel):
    customer: str
    items: list[str]

shop = ExchangeSpec(name="shop")
keys = [shop.bind("order.*.paid"), shop.bind("order.*.cancelled")]
"""
ONE_QUEUE = """
packing = QueueSpec(name="packing", bindings=keys, retry=False)
topology = Topology(queues=[packing])
"""
HANDLERS = """from pathlib import Path
from shop.topology import Order, packing, topology
from taskroute import HandlerRegistry, Routes

registry = HandlerRegistry()
"""
RAISES = """
@registry.handler("order.{number}.paid", queue=packing)
def pack(order: Order, number: int) -> None:
    if not Path("mended").exists():
        raise ConnectionError("the carrier does not answer")
"""
"""Its last line is the 29th of the file, as on the page."""


class Shop:
    """The service of the page, on a virtual host of its own."""

    def __init__(self, line: CommandLine, url: str, api: str) -> None:
        self.line, self.url, self.api = line, url, api
        line.write("shop/topology.py", TOPOLOGY + ONE_QUEUE)
        line.write("shop/handlers.py", HANDLERS.ljust(len(HANDLERS) + 19, "\n") + RAISES)
        line.write("shop/service.py", "from shop.handlers import registry, topology\nfrom taskroute import Service\n")
        with (line.folder / "shop" / "service.py").open("a") as file:
            file.write("service = Service(topology, registry)\n")

    def run(self, command: str) -> Ended:
        return self.line.run(*shlex.split(command.replace("$API", self.api)), "--url", self.url)

    def shows(self, beginning: str) -> None:
        """Run the commands of the page that begin so, and compare what they print."""
        chosen = [(command, prints) for command, prints in SHOWN if command.startswith(beginning)]
        assert chosen
        for command, prints in chosen:
            ended = self.run(command)
            pattern = re.escape(varying(prints).strip()).replace("…", ".*")
            assert re.fullmatch(pattern, varying(ended.out).strip(), re.DOTALL), f"{command}:\n{ended.out}{ended.err}"


def varying(text: str) -> str:
    """Return a text without what differs from run to run: digests."""
    return re.sub(r"\([0-9a-f]{12}\)", "(digest)", text)


@pytest.fixture
def shop(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rabbitmq_url: str,
    rabbitmq_api: str,
) -> Shop:
    return Shop(CommandLine(tmp_path, capsys, monkeypatch), rabbitmq_url, rabbitmq_api)


def test_dead_letters_are_looked_at_sent_again_and_removed_as_on_the_page(shop: Shop) -> None:
    exchange = ExchangeSpec(name="shop")
    keys = [exchange.bind("order.*.paid"), exchange.bind("order.*.cancelled")]
    topology = Topology(queues=[QueueSpec(name="packing", bindings=keys, retry=False)])
    with Publisher(shop.url, topology) as publisher:
        for number in range(33):
            body = {"customer": "acme", "items": ["tea"]}
            publisher.publish(body, f"order.{number}.paid", exchange=exchange)
        publisher.publish({"customer": "acme"}, "order.77.paid", exchange=exchange)
    assert shop.run("run shop.service:service --max-messages 34").code == 0

    shop.shows("dead stats shop.service:service --by error")
    (shop.line.folder / "mended").touch()
    shop.shows("dead retry shop.service:service")
    shop.shows("dead remove shop.service:service")


def test_plan_of_a_deployment_that_is_half_way_is_that_of_the_page(shop: Shop) -> None:
    exchange = ExchangeSpec(name="shop")
    keys = [exchange.bind("order.*.paid"), exchange.bind("order.*.cancelled")]
    delays = RetryPolicy(delays=(1, 2))
    before = QueueSpec(name="packing", bindings=keys, retry=delays)
    after = QueueSpec(name="packing.2", bindings=keys, retry=delays, message_ttl=3600, replaces="packing")
    shop.line.write(
        "shop/topology.py",
        TOPOLOGY
        + "packing = QueueSpec(name='packing.2', bindings=keys, retry=RetryPolicy(delays=(1, 2)), message_ttl=3600, "
        "replaces='packing')\ntopology = Topology(queues=[packing])\n",
    )

    with worker_of(shop.url, before), worker_of(shop.url, after):
        half_way = next(prints for command, prints in SHOWN if command.startswith("plan") and "'packing.2'" in prints)
        ended = shop.run("plan shop.service:service --api $API")

    pattern = re.escape(varying(half_way).strip()).replace("…", ".*")
    assert re.fullmatch(pattern, varying(ended.out).strip(), re.DOTALL), ended.out + ended.err


def worker_of(url: str, queue: QueueSpec) -> Worker:
    registry = HandlerRegistry()
    registry.fallback(queue=queue)(ignore)
    return Worker(url, Topology(queues=[queue]), registry)


def ignore() -> None: ...

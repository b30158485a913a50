"""The page about policies: plan prints on a broker what the page says, and the command in it does what it says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.kit.command_line import CommandLine, Ended
from tests.kit.rabbitmq import Node
from tests.kit.waiting import until

from taskroute.operate.management import ManagementApi

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text().split("## What `plan` prints")[1]
SHOWN = re.findall(r"^\$ taskroute (?P<command>plan .*)\n(?P<prints>(?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
SET = re.compile(r"rabbitmqctl (set_policy .*)$", re.MULTILINE)


class Shop:
    """The service of the page, on a virtual host of its own."""

    def __init__(self, line: CommandLine, node: Node, url: str) -> None:
        self._line, self._node, self._url = line, node, url
        self.vhost = unquote(urlsplit(url).path[1:])
        self._api = ManagementApi(node.api, user="guest", password="guest")

    def apply(self, topology: str) -> None:
        ended = self._run(f"apply {topology} --yes --api http://127.0.0.1:15672")
        assert ended.code == 0, ended

    def plan(self, command: str) -> str:
        return self._run(command).out.replace(f"-p {self.vhost} ", "-p shop ")

    def set_policy(self, command: str) -> None:
        """Run a set_policy of the page on this virtual host, and wait until the API tells it."""
        words = shlex.split(command.replace("-p shop ", f"-p {self.vhost} "))
        self._node.ctl(*words)
        until(lambda: (self._api.queue(self.vhost, "orders") or {}).get("policy") in words)

    def _run(self, command: str) -> Ended:
        return self._line.run(*command.replace("http://127.0.0.1:15672", self._node.api).split(), "--url", self._url)


@pytest.fixture
def shop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, rabbitmq: Node
) -> Iterator[Shop]:
    line = CommandLine(tmp_path, capsys, monkeypatch)
    (module,) = re.findall(r"^```python shop.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    # A quorum queue tells its policy some seconds later.
    soon = 'name="orders", type="classic", retry=False, dead_letter=False,'
    line.write("shop.py", module.replace('name="orders",', soon))
    with rabbitmq.vhost() as url:
        yield Shop(line, rabbitmq, url)


def test_plan_of_the_page_prints_what_it_says_and_its_command_holds(shop: Shop) -> None:
    (with_limits, printed), (with_both, then) = SHOWN
    by_operator, from_plan = SET.findall(PAGE)
    shop.apply("shop:before")

    shop.set_policy(by_operator)
    assert is_as_shown(shop.plan(with_limits), printed)
    shop.set_policy(from_plan)
    assert is_as_shown(shop.plan(with_both), then)


def is_as_shown(text: str, shown: str) -> bool:
    return re.fullmatch(re.escape(shown.strip()).replace("…", ".*"), text.strip(), re.DOTALL) is not None

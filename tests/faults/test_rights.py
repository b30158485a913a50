"""What a user must be allowed for a worker, a publisher and each command, and what each says that is denied it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.faults.site import SECRET, Site
from tests.kit.command_line import CommandLine

NOTHING = "^$"
QUEUES = r"packing(\.retry\.[0-9]+|\.dead)?"
PUBLISH = ("publish", "wiring:routes", "order.7.paid", "--body", "{}")
RUN = ("run", "program:service", "--max-time", "0.2")
PROGRAM = """
import os
from taskroute import Service
from wiring import registry, topology

service = Service(topology, registry, worker={"declare": os.environ["DECLARE"]})
"""
LOOKS_NEED_A_RIGHT = (4, 2, 6)
"""The RabbitMQ from which on a user without any right to a queue may not look at it."""


class Rights(NamedTuple):
    """Patterns of the names that a user may configure, write and read."""

    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING


class Need(NamedTuple):
    """A command, and the rights that suffice for it. `declare`: of its worker. `told`: what it misses at once."""

    words: tuple[str, ...]
    rights: Rights
    told: tuple[str, ...]
    declare: str = "create"


NEEDS = {
    "publish": Need(PUBLISH, Rights("^shop$", "^shop$"), ("configure", "write")),
    "publish --declare verify": Need((*PUBLISH, "--declare", "verify"), Rights(write="^shop$"), ("write",)),
    "run": Need(
        RUN,
        Rights(f"^(shop|{QUEUES})$", rf"^(amq\.default|{QUEUES})$", f"^(shop|{QUEUES})$"),
        ("configure", "write", "read"),
    ),
    "run, declare='verify'": Need(RUN, Rights(write=r"^amq\.default$", read=f"^{QUEUES}$"), ("read",), "verify"),
}


@pytest.fixture
def line(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capfd, monkeypatch)


@pytest.mark.row(76)
@pytest.mark.parametrize("name", NEEDS)
def test_command_needs_each_of_its_rights_and_no_others(
    line: CommandLine, site: Site, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Without the right to write to the default exchange a worker starts: only a failed message needs that."""
    words, rights, told, declare = NEEDS[name]
    line.write("program.py", PROGRAM)
    monkeypatch.setenv("DECLARE", declare)
    assert line.run(*PUBLISH, "--url", site.url).code == 0  # which has declared it

    enough = line.run(*words, "--url", url_with(site, rights))

    assert (enough.code, enough.err) == (0, "")
    for right in told:
        denied = line.run(*words, "--url", url_with(site, rights._replace(**{right: NOTHING})))
        assert (denied.code, denied.out, denied.err.count("\n")) == (3, "", 1)
        assert "ACCESS_REFUSED" in denied.err


@pytest.mark.row(76)
def test_stats_says_which_queues_the_user_may_not_look_at(line: CommandLine, site: Site) -> None:
    """Before RabbitMQ 4.2.6 a look needs no right."""
    assert line.run(*PUBLISH, "--url", site.url).code == 0

    enough = line.run("stats", "wiring:routes", "--url", url_with(site, Rights(read=f"^{QUEUES}$")))
    denied = line.run("stats", "wiring:routes", "--url", url_with(site, Rights()))

    assert (enough.code, enough.err) == (0, "")
    if site.version >= LOOKS_NEED_A_RIGHT:
        assert (denied.code, denied.err.count("\n")) == (1, 1)
        assert "packing (denied)" in denied.out
    else:
        assert denied == enough


def test_page_about_deployment_names_the_rights_that_were_tried() -> None:
    page = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()

    said = {tuple(re.findall(r"`(\^[^`]*)`", row)) for row in page.splitlines() if row.startswith("| `")}

    for need in NEEDS.values():
        shown = (pattern.replace("packing", "orders") for pattern in need.rights)
        assert tuple(pattern.replace("|", "\\|") for pattern in shown) in said


def url_with(site: Site, rights: Rights) -> str:
    """Return the URL of a user who has these rights, and no tag."""
    patterns = ", ".join(f'<<"{pattern}">>'.replace("\\", "\\\\") for pattern in rights)
    site.node.eval(
        f'catch rabbit_auth_backend_internal:add_user(<<"exact">>, <<"{SECRET}">>, <<"test">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"exact">>, <<"{site.name}">>, {patterns}, <<"test">>).'
    )
    return site.node.url(site.name, user=f"exact:{SECRET}")

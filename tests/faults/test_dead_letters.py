"""Dead letters on their way when a connection is cut or the process is killed, at each frame: nothing is lost."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from amqp.transport import TCPTransport
from tests.faults import processes
from tests.faults.crash_points import PUBLISH
from tests.faults.site import Site
from tests.kit.command_line import CommandLine
from tests.kit.command_process import running
from tests.kit.cutting import cut_at
from tests.kit.dead import declare, put
from tests.kit.peer import Peer, looking
from tests.kit.waiting import DEADLINE, until

from taskroute import DeadLetters, ExchangeSpec, QueueSpec, TaskrouteError, Topology
from taskroute.broker.session import Session
from taskroute.operate.dead_letters import delivering

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", retry=False)
topology = Topology(exchanges=[shop], queues=[orders])
COUNT = 3
QUEUES = ("orders.dead", "orders")


@pytest.fixture
def line(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capfd, monkeypatch)


def retry(letters: DeadLetters, _: Path) -> Any:
    return letters.retry()


def remove(letters: DeadLetters, file: Path) -> Any:
    return letters.remove(file, ids=[letter.id for letter in letters.find().letters[:1]])


def move(letters: DeadLetters, _: Path) -> Any:
    return letters.move(orders)


def take_until(peer: Peer, condition: Callable[[Counter[str]], bool]) -> Counter[str]:
    """Take what is in the queues, until a condition holds of how often each letter was there."""
    there: Counter[str] = Counter()

    def take() -> bool:
        there.update(each.properties["message_id"] for queue in QUEUES for each in peer.get_all(queue))
        return condition(there)

    until(take)
    return there


@pytest.mark.row(83)
@pytest.mark.parametrize("act", [retry, move, remove])
def test_cut_at_any_frame_loses_no_letter_and_makes_one_copy_at_most(act: Any, site: Site, tmp_path: Path) -> None:
    """What is removed is in its file then; what is not done is where it was, for the next run."""
    declare(site.url, topology)
    letters = DeadLetters(site.url, topology)
    with looking(site.url) as peer:
        for nth in itertools.count(1):
            ids = {f"m{number}" for number in range(COUNT * nth, COUNT * (nth + 1))}
            put(peer, COUNT, first=COUNT * nth)
            file = tmp_path / str(nth)
            with cut_at(nth) as is_cut, suppress(TaskrouteError):
                act(letters, file)
            lines = file.read_text().splitlines() if file.exists() else []
            kept = [json.loads(line)["properties"]["message_id"] for line in lines]

            # What the cut connection had is there when the broker has seen its end, a copy that it sent before that.
            there = take_until(peer, lambda there: ids <= {*there, *kept})  # noqa: B023
            assert max(there.values()) <= 2, nth
            if not is_cut():
                assert [there[each] + kept.count(each) for each in ids] == [1] * COUNT
                break
    assert nth > 20


def run_retry(url: str, nth: int) -> None:
    """Send letters again, and die in the middle of it: when so many are published."""
    original, published = TCPTransport.write, Counter[str]()

    def write(transport: Any, data: Any) -> None:
        original(transport, data)
        published["letters"] += bytes(data).count(PUBLISH)  # those that come together are written together
        if published["letters"] >= nth:
            os.kill(os.getpid(), signal.SIGKILL)

    TCPTransport.write = write
    DeadLetters(url, topology).retry(rate=1000)


@pytest.mark.row(83)
def test_process_killed_after_a_publish_leaves_one_copy_more(site: Site) -> None:
    declare(site.url, topology)
    with looking(site.url) as peer:
        put(peer, COUNT)

    assert processes.run(run_retry, site.url, 2) == -signal.SIGKILL

    with looking(site.url) as peer:
        # Its consumer was ended before, and what it had is back only when the broker has noticed its end.
        there = take_until(peer, lambda there: there.keys() >= {"m1", "m2", "m3"})
    assert set(there) == {"m1", "m2", "m3"}
    assert max(there.values()) <= 2


@pytest.mark.row(83)
def test_connection_lost_in_flight_leaves_the_letter_and_says_so(site: Site) -> None:
    """Whether the broker has the copy is not known then. It is not written again, which might make two of it."""
    declare(site.url, topology)
    with looking(site.url) as peer:
        put(peer, 1)
        original, published, proxy = TCPTransport.write, itertools.count(1), site.proxy()

        def write(transport: Any, data: Any) -> None:
            if PUBLISH not in bytes(data) or next(published) > 1:
                original(transport, data)
                return
            with proxy.stalled("to_client"):  # or the confirm might be here first
                original(transport, data)
                proxy.reset()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TCPTransport, "write", write)
            patch.setattr(delivering, "TICK", DEADLINE)  # or the loss of the other connection might be seen first
            settled = DeadLetters(site.url_by(proxy), topology).retry()

        (left,) = settled.left
        assert (left.may_be_twice, settled.done, next(published)) == (True, (), 2)
        assert "the connection was lost before it was confirmed" in left.why
        until(lambda: peer.ready("orders.dead") == 1)  # once the broker has seen the end of what had taken it


@pytest.mark.row(92)
def test_interrupt_while_a_letter_is_handed_in_removes_it_once_it_is_sent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come as soon as another thread writes the message. What is not known to be sent would be there twice."""
    declare(site.url, topology)
    with looking(site.url) as peer:
        put(peer, COUNT)
        original, handed_in = Session.wake, itertools.count(1)

        def wake(session: Session) -> bool:
            is_open = original(session)
            if next(handed_in) == 2:
                until(lambda: peer.ready("orders") == 2)
                raise KeyboardInterrupt
            return is_open

        monkeypatch.setattr(Session, "wake", wake)
        with pytest.raises(KeyboardInterrupt):
            DeadLetters(site.url, topology).retry(rate=50)

        until(lambda: peer.ready("orders.dead") == 1)
        assert [each.properties["message_id"] for each in peer.get_all("orders")] == ["m1", "m2"]


@pytest.mark.row(92)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_a_retry_ends_it_by_the_signal_and_says_how_far_it_came(
    line: CommandLine, site: Site, number: int
) -> None:
    """What the broker has by then is removed, so that nothing is there twice but what it has not confirmed in time."""
    count = 300
    assert line.run("publish", "wiring:routes", "order.1.paid", "--body", "{}", "--url", site.url).code == 0
    words = ("dead", "retry", "wiring:routes", "--yes", "--rate", "50", "--url", site.url)
    with looking(site.url) as peer:
        peer.get_all("packing")
        put(peer, count, lies_in="packing.dead", queue="packing")
        with running(*words, folder=line.folder) as command:
            until(lambda: peer.ready("packing") >= 5)
            command.send(number)

            assert command.wait() == -number
            told = re.fullmatch(
                r"taskroute dead: interrupted: ([0-9]+) of 300 letters are done, the others stay"
                r"(?:; the broker may have ([0-9]+) of them twice: it has not said so in time)?\n",
                command.text,
            )
        assert told is not None, command.text
        until(lambda: peer.ready("packing.dead") + peer.ready("packing") >= count)
        left, sent = (
            Counter(each.properties["message_id"] for each in peer.get_all(queue))
            for queue in ("packing.dead", "packing")
        )
    done, unknown = int(told[1]), int(told[2] or 0)
    assert set(left | sent) == {f"m{number}" for number in range(1, count + 1)}
    assert done <= sent.total() <= done + unknown < count
    assert (left & sent).total() <= unknown

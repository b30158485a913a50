"""Dead letters under any sequence of what operators do, with interrupts and kills: none is lost, or given to others."""

from __future__ import annotations

import random
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.cutting import cut_at
from tests.kit.dead import declare, put
from tests.kit.peer import Peer, looking
from tests.kit.waiting import until

from taskroute import DeadLetters, ExchangeSpec, QueueSpec, TaskrouteError, Topology
from taskroute.broker.embedded.transport import drop

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", retry=False)
full = QueueSpec(name="full", retry=False, max_length=1, overflow="reject-publish")
graveyard = QueueSpec(name="graveyard", retry=False, dead_letter=False, delivery_limit=1_000_000)
shared = QueueSpec(name="shared", retry=False, dead_letter=graveyard)
topology = Topology(exchanges=[shop], queues=[orders, full, graveyard, shared])
FOREIGN = ("payments", "payments.dead")
OWN = ("orders", "orders.dead", "full", "full.dead", "graveyard", "shared")

KINDS = ["find", "retry", "move", "bury", "remove", "import"]
STEPS = st.tuples(st.sampled_from(KINDS), st.one_of(st.none(), st.integers(min_value=1, max_value=4)))
SEEDS = range(2)
FRAMES = (20, 70)
"""Before that a step has begun nothing, after that most are done."""
OF_ORDERS = {1, 2, 3, *range(10, 100, 2)}
OF_FULL = {4, 5, 6, *range(11, 100, 2)}
"""Numbers of messages that failed in these queues. The others failed in what is another service's."""


def do(step: str, letters: DeadLetters, folder: Path, interrupt_at: int | None) -> None:
    def on_progress(done: int, of: int) -> None:
        if done == interrupt_at:
            raise KeyboardInterrupt

    def put_back() -> None:
        for file in sorted(folder.iterdir())[:1]:
            letters.import_from(file.read_text().splitlines(), on_progress=on_progress)

    steps: dict[str, Callable[[], object]] = {
        "find": lambda: letters.find(queue="orders"),
        "retry": lambda: letters.retry(on_progress=on_progress),
        "move": lambda: letters.move("shared", queue="full", on_progress=on_progress),
        "bury": lambda: letters.move(graveyard, on_progress=on_progress),
        "remove": lambda: letters.remove(folder / f"{len(list(folder.iterdir()))}.jsonl", on_progress=on_progress),
        "import": put_back,
    }
    steps[step]()


def put_some(peer: Peer) -> set[str]:
    """Put letters of several queues where they lie, and some of another service; return their ids."""
    for queue in FOREIGN:
        peer.queue(queue)
    put(peer, 3)
    put(peer, 3, first=4, lies_in="full.dead", queue="full")
    put(peer, 2, first=7, queue="payments")
    put(peer, 1, first=9, lies_in="graveyard", queue="orders.dead")
    return {f"m{number}" for number in range(1, 10)}


class Seen:
    """What has been taken out of each queue in the end, by id of the message."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        self._peer = peer
        self._kept = "".join(file.read_text() for file in folder.iterdir())
        self._found = {queue: Counter[str]() for queue in (*OWN, *FOREIGN)}

    def has_all(self, ids: set[str]) -> bool:
        """Look once more; return whether each is somewhere."""
        for queue, found in self._found.items():
            found.update(str(each.properties["message_id"]) for each in self._peer.get_all(queue))
        return {name for name in ids if f'"{name}"' not in self._kept} <= set().union(*self._found.values())

    def check_owners(self) -> None:
        """Fail if a queue was given what is not its own."""
        assert [self._found[queue] for queue in FOREIGN] == [Counter(), Counter()]
        assert set(self._found["orders"]) <= {f"m{number}" for number in OF_ORDERS}
        assert set(self._found["full"]) <= {f"m{number}" for number in OF_FULL}


@given(steps=st.lists(STEPS, max_size=8))
@settings(max_examples=60)
def test_any_sequence_loses_no_letter_and_gives_none_to_others(steps: list[Any]) -> None:
    name = uuid.uuid4().hex
    url = f"memory://{name}"
    declare(url, topology)
    with looking(url) as peer, tempfile.TemporaryDirectory() as folder:
        ids, letters = put_some(peer), DeadLetters(url, topology)

        for step, interrupt_at in steps:
            with suppress(KeyboardInterrupt):
                do(step, letters, Path(folder), interrupt_at)

        seen = Seen(peer, Path(folder))
        assert seen.has_all(ids)
        seen.check_owners()
    drop(name)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_sequence_with_kills_loses_no_letter_and_gives_none_to_others(
    rabbitmq_url: str, tmp_path: Path, seed: int
) -> None:
    """A kill closes every connection at any frame, and whoever comes next begins anew."""
    chance = random.Random(seed)
    declare(rabbitmq_url, topology)
    with looking(rabbitmq_url) as peer:
        ids = put_some(peer)

        for number in range(10, 90, 2):
            put(peer, 1, first=number)
            put(peer, 1, first=number + 1, lies_in="full.dead", queue="full")
            ids |= {f"m{number}", f"m{number + 1}"}
            with cut_at(chance.randint(*FRAMES)), suppress(KeyboardInterrupt, TaskrouteError):
                do(chance.choice(KINDS), DeadLetters(rabbitmq_url, topology), tmp_path, chance.choice([None, 1, 3]))

        seen = Seen(peer, tmp_path)
        until(lambda: seen.has_all(ids))  # the broker puts back what a killed process held once it has noticed
        seen.check_owners()

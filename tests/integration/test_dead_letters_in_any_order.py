"""Dead letters under any sequence of what operators do, with interrupts: none is lost, or given to others."""

from __future__ import annotations

import tempfile
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.dead import declare, put
from tests.kit.peer import Peer, looking

from taskroute import DeadLetters, ExchangeSpec, QueueSpec, Topology
from taskroute.broker.embedded.transport import drop

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", retry=False)
full = QueueSpec(name="full", retry=False, max_length=1, overflow="reject-publish")
graveyard = QueueSpec(name="graveyard", retry=False, dead_letter=False, delivery_limit=1_000_000)
shared = QueueSpec(name="shared", retry=False, dead_letter=graveyard)
topology = Topology(exchanges=[shop], queues=[orders, full, graveyard, shared])
FOREIGN = ("payments", "payments.dead")
OWN = ("orders", "orders.dead", "full", "full.dead", "graveyard", "shared")

STEPS = st.tuples(
    st.sampled_from(["find", "retry", "move", "bury", "remove", "import"]),
    st.one_of(st.none(), st.integers(min_value=1, max_value=4)),
)


def do(step: str, letters: DeadLetters, files: list[Path], folder: Path, interrupt_at: int | None) -> None:
    def on_progress(done: int, of: int) -> None:
        if done == interrupt_at:
            raise KeyboardInterrupt

    def remove() -> None:
        file = folder / f"{len(files)}.jsonl"
        if letters.remove(file, limit=interrupt_at).done:
            files.append(file)

    def put_back() -> None:
        for file in files[:1]:
            letters.import_from(file.read_text().splitlines(), on_progress=on_progress)

    steps: dict[str, Callable[[], object]] = {
        "find": lambda: letters.find(queue="orders"),
        "retry": lambda: letters.retry(on_progress=on_progress),
        "move": lambda: letters.move("shared", queue="full", on_progress=on_progress),
        "bury": lambda: letters.move(graveyard, on_progress=on_progress),
        "remove": remove,
        "import": put_back,
    }
    steps[step]()


def ids_in(peer: Peer, queues: tuple[str, ...]) -> Counter[str]:
    return Counter(str(each.properties["message_id"]) for queue in queues for each in peer.get_all(queue))


@given(steps=st.lists(STEPS, max_size=8))
@settings(max_examples=60)
def test_any_sequence_loses_no_letter_and_gives_none_to_others(steps: list[Any]) -> None:
    name = uuid.uuid4().hex
    url = f"memory://{name}"
    declare(url, topology)
    with looking(url) as peer, tempfile.TemporaryDirectory() as folder:
        for queue in FOREIGN:
            peer.queue(queue)
        put(peer, 3)
        put(peer, 3, first=4, lies_in="full.dead", queue="full")
        put(peer, 2, first=7, queue="payments")
        put(peer, 1, first=9, lies_in="graveyard", queue="orders.dead")
        letters, files = DeadLetters(url, topology), list[Path]()

        for step, interrupt_at in steps:
            try:
                do(step, letters, files, Path(folder), interrupt_at)
            except KeyboardInterrupt:
                continue

        kept = "".join(file.read_text() for file in files)
        there = ids_in(peer, OWN)
        assert {f"m{number}" for number in range(1, 10) if f'"m{number}"' not in kept} <= set(there)
        assert ids_in(peer, FOREIGN) == Counter()
    drop(name)

"""Dead letters on both brokers: found, sent again, removed, moved, exported and imported."""

from __future__ import annotations

import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from tests.kit.calls import Calls
from tests.kit.dead import FAILED_AT, declare, letter, put
from tests.kit.peer import Peer, looking
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import (
    BrokerUnavailableError,
    ConfigurationError,
    DeadLetters,
    ExchangeSpec,
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    Routes,
    SettledLetters,
    Topology,
    UnknownQueueError,
    Worker,
)
from taskroute.broker import taking
from taskroute.broker.embedded.channel import Channel
from taskroute.broker.taking import Taking
from taskroute.operate.dead_letters import dead_letters, delivering
from taskroute.operate.dead_letters import looking as looking_at
from taskroute.operate.dead_letters.delivering import WINDOW
from taskroute.operate.dead_letters.sending import Once, Sending
from taskroute.topology.queue import NO_DELIVERY_LIMIT


class Order(BaseModel):
    n: int


shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("order.#")], retry=False)
invoices = QueueSpec(name="invoices", retry=False, dead_letter="orders.dead")
topology = Topology(exchanges=[shop], queues=[orders, invoices])
registry = HandlerRegistry()


@registry.handler("order.{number}", queue=orders)
def pay(order: Order, number: str) -> None: ...


routes = Routes(topology, registry)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run puts back is there when it ends, however busy the broker is."""
    monkeypatch.setattr(taking, "RETURN_TIME", 10.0)


@pytest.fixture
def peer(broker_url: str) -> Iterator[Peer]:
    declare(broker_url, topology)
    with looking(broker_url) as peer:
        yield peer


@pytest.fixture
def letters(peer: Peer, broker_url: str) -> DeadLetters:
    return DeadLetters(broker_url, routes)


def test_letters_are_found_with_their_origin_and_stay_in_order(letters: DeadLetters, peer: Peer) -> None:
    put(peer, 3)

    first, second = letters.find(), letters.find()

    assert [letter.routing_key for letter in first.letters] == ["order.1", "order.2", "order.3"]
    assert first.is_complete
    found = first.letters[0]
    assert (found.queue, found.exchange, found.reason, found.handler) == ("orders", "shop", "handler_error", "shop.pay")
    assert (found.lies_in, found.attempt, found.written_by) == ("orders.dead", 4, "worker")
    assert found.failed_at == datetime.fromisoformat(FAILED_AT)
    assert [letter.id for letter in second.letters] == [letter.id for letter in first.letters]
    assert [message.properties["message_id"] for message in peer.get_all("orders.dead")] == ["m1", "m2", "m3"]


def test_looking_leaves_many_letters_in_their_order(letters: DeadLetters, peer: Peer) -> None:
    """RabbitMQ 3.10 shuffles what goes back to a quorum queue with a delivery limit, but for 32 at once."""
    put(peer, 2_000)

    found = [[each.routing_key for each in letters.find().letters] for _ in range(3)]

    assert found == [[f"order.{number}" for number in range(1, 2_001)]] * 3


@pytest.mark.parametrize(
    ("which", "numbers"),
    [
        ({"queue": "invoices"}, [4]),
        ({"queue": "orders.dead"}, [1, 2, 3, 4]),
        ({"reason": "invalid_body"}, [2]),
        ({"handler": "shop.refund"}, [3]),
        ({"key": "order.{n}"}, [1, 2, 3, 4]),
        ({"key": "order.2"}, [2]),
        ({"error": "int_parsing"}, [2]),
        ({"error": "said so"}, [3]),
        ({"since": 60}, [1]),
        ({"older": timedelta(seconds=60)}, [2, 3, 4]),
        ({"written_by": "broker"}, []),
        ({"reason": "handler_error", "queue": "orders"}, [1, 3]),
    ],
)
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_letters_are_chosen_by_what_they_are(letters: DeadLetters, peer: Peer, which: Any, numbers: list[int]) -> None:
    told = {
        1: letter(1, failed_at=datetime.now(UTC).isoformat()),
        2: letter(2, reason="invalid_body", error="n: int_parsing"),
        3: letter(3, handler="shop.refund", error_text="he said so"),
        4: letter(4, queue="invoices"),
    }
    for properties in told.values():
        peer.publish(b"{}", "orders.dead", **properties)

    found = letters.find(**which).letters

    assert [int(each.routing_key[-1]) for each in found] == numbers
    assert len(letters.find().letters) == 4


def test_retry_is_a_first_attempt_in_the_queue_that_failed_alone(
    letters: DeadLetters, peer: Peer, broker_url: str
) -> None:
    """The other queue that its exchange feeds gets nothing, and the properties are those of the message."""
    peer.queue("other")
    peer.bind("other", "shop", "#")
    properties = letter(1, original_cc=["other"])
    peer.publish(b'{"n": 1}', "orders.dead", correlation_id="c", expiration="600000", **properties)
    seen = Calls()

    settled = letters.retry()

    def tell(message: Message) -> None:
        seen(message)

    told = HandlerRegistry()
    told.add("order.{number}", tell, queue=orders)
    with Worker(broker_url, topology, told):
        seen.wait()
    assert (len(settled.done), settled.is_complete) == (1, True)
    (message,) = seen.calls
    assert (message.exchange, message.routing_key, message.attempt) == ("shop", "order.1", 1)
    assert (message.message_id, message.correlation_id, message.body) == ("m1", "c", b'{"n": 1}')
    assert message.headers["x-taskroute-original-expiration"] == "600000"
    assert [peer.ready(queue) for queue in ("orders.dead", "other")] == [0, 0]


def test_retry_keeps_every_property_of_the_message(letters: DeadLetters, peer: Peer) -> None:
    kept: dict[str, Any] = {
        "message_id": "m",
        "correlation_id": "c",
        "type": "t",
        "reply_to": "r",
        "timestamp": 5,
        "priority": 3,
        "app_id": "a",
        "content_type": "text/plain",
        "content_encoding": "gzip",
        "delivery_mode": 2,
    }
    headers = letter(1, replays=2)["application_headers"]
    peer.publish(b"\x00\xff", "orders.dead", **kept, application_headers={**headers, "tenant": "a"})

    letters.retry()

    (again,) = peer.receive("orders", 1)
    assert bytes(again.body) == b"\x00\xff"
    assert again.properties == {
        **kept,
        "application_headers": {
            "tenant": "a",
            "x-taskroute-attempt": 1,
            "x-taskroute-queue": "orders",
            "x-taskroute-exchange": "shop",
            "x-taskroute-routing-key": "order.1",
            "x-taskroute-replays": 3,
        },
    }


def test_message_that_fails_again_counts_how_often_it_was_sent(
    letters: DeadLetters, peer: Peer, broker_url: str
) -> None:
    """It is a letter anew, and the run that has sent it again does not look at it."""
    failed = Calls()

    def fail(message: Message) -> None:
        failed(message)
        raise RuntimeError("again")

    failing = HandlerRegistry()
    failing.add("order.{number}", fail, queue=orders)
    put(peer, 1)

    with Worker(broker_url, topology, failing) as worker:
        for _ in range(3):
            assert len(letters.retry().done) == 1
            assert worker.wait_idle(DEADLINE)
    asked = letters.retry()

    assert len(failed.calls) == 3
    (left,) = asked.left
    assert (left.is_replayed, left.why, left.letter.replays) == (True, "it was sent again 3 times before", 3)
    assert len(letters.retry(max_replays=None).done) == 1


def test_letter_of_a_queue_that_is_nobodys_here_stays(letters: DeadLetters, peer: Peer) -> None:
    put(peer, 1, queue="payments")
    peer.queue("payments")

    settled = letters.retry()

    assert (settled.done, settled.is_complete) == ((), False)
    assert settled.left[0].why.startswith("it failed in 'payments', which is no queue of this target")
    assert [peer.ready(queue) for queue in ("orders.dead", "payments")] == [1, 0]


def test_message_of_another_client_is_listed_and_goes_nowhere(letters: DeadLetters, peer: Peer) -> None:
    """Without what a worker writes down nobody says where it failed. It can be moved."""
    peer.publish(b"{}", "orders.dead")

    (found,) = letters.find().letters
    retried, moved = letters.retry(), letters.move(orders)

    assert (found.written_by, found.message_id, found.failed_at) == ("publisher", None, None)
    assert (len(retried.left), len(moved.done)) == (1, 1)
    assert peer.ready("orders") == 1


def test_letter_of_the_broker_has_its_reason_and_origin(letters: DeadLetters, peer: Peer) -> None:
    """What its publisher has written into it is not believed."""
    forged = letter(1, queue="invoices")["application_headers"]
    peer.publish(b"{}", "order.7", "shop", application_headers=forged)
    message = peer.receive_one("orders")
    peer.give_up(message.delivery_info["delivery_tag"])
    until(lambda: peer.ready("orders.dead") == 1)

    (found,) = letters.find().letters

    assert (found.written_by, found.reason, found.queue, found.routing_key) == (
        "broker",
        "rejected",
        "orders",
        "order.7",
    )
    assert (found.handler, found.attempt, found.failed_at is not None) == ("", 1, True)
    assert [death["reason"] for death in found.history] == ["rejected"]
    assert len(letters.retry().done) == 1


def test_equal_letters_have_one_id_which_stands_for_all(letters: DeadLetters, peer: Peer) -> None:
    for _ in range(2):
        peer.publish(b"{}", "orders.dead", **letter(1))
    peer.publish(b"{}", "orders.dead", **letter(2))

    first, second, third = letters.find().letters
    settled = letters.retry(ids=[first.id])

    assert first.id == second.id != third.id
    assert len(settled.done) == 2
    assert [peer.ready(queue) for queue in ("orders.dead", "orders")] == [1, 2]


def test_letters_are_removed_once_they_are_in_a_file(letters: DeadLetters, peer: Peer, tmp_path: Path) -> None:
    put(peer, 3)
    file = tmp_path / "removed.jsonl"
    kept = letters.find(key="order.2").letters[0]

    settled = letters.remove(file, key="order.2")

    (record,) = map(json.loads, file.read_text().splitlines())
    assert (record["id"], record["body"], file.stat().st_mode & 0o777) == (kept.id, '{"n": 2}', 0o600)
    assert [letter.id for letter in settled.done] == [kept.id]
    assert [letter.routing_key for letter in letters.find().letters] == ["order.1", "order.3"]


def test_no_letter_is_back_that_was_removed_or_sent_again(letters: DeadLetters, peer: Peer, tmp_path: Path) -> None:
    """A quorum queue settles later than it is told. What it was not told when the channel ended would be back."""
    put(peer, 600)

    removed, sent = letters.remove(tmp_path / "removed.jsonl", limit=500), letters.retry()

    peer.publish(b"{}", "orders.dead")  # the queue has heard of the end of their connections before it confirms
    assert (len(removed.done), len(sent.done)) == (500, 100)
    assert [peer.ready(queue) for queue in ("orders.dead", "orders")] == [1, 100]


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_queue_is_waited_for_after_every_16_letters_and_after_the_last(
    letters: DeadLetters, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a consumer: whether letters are back without it is a matter of how busy a broker is."""
    put(peer, 40)
    said: list[str] = []

    def note(method: str) -> None:
        original = getattr(Channel, method)

        def noted(channel: Channel, *arguments: Any, **options: Any) -> Any:
            said.append(method)
            return original(channel, *arguments, **options)

        monkeypatch.setattr(Channel, method, noted)

    note("acknowledge")
    note("basic_consume")

    letters.remove(tmp_path / "removed.jsonl")

    assert [(method, len(list(each))) for method, each in itertools.groupby(said)] == [
        ("basic_consume", 1),
        *(("acknowledge", 16), ("basic_consume", 1)) * 2,
        ("acknowledge", 8),
        ("basic_consume", 1),
    ]


def test_letters_are_removed_from_a_queue_with_a_single_active_consumer(broker_url: str, tmp_path: Path) -> None:
    """RabbitMQ lets nobody take a single message from such a quorum queue, which is how others are asked to settle."""
    kept = QueueSpec(
        name="kept", retry=False, dead_letter=False, single_active_consumer=True, delivery_limit=NO_DELIVERY_LIMIT
    )
    wiring = Topology(queues=[kept, QueueSpec(name="orders", retry=False, dead_letter=kept)])
    declare(broker_url, wiring)
    with looking(broker_url) as peer:
        put(peer, 100, lies_in="kept")

        settled = DeadLetters(broker_url, wiring).remove(tmp_path / "removed.jsonl", limit=70)

        peer.publish(b"{}", "kept")
        assert (len(settled.done), settled.problem, peer.ready("kept")) == (70, None, 31)


def test_letter_that_comes_while_others_are_settled_stays_behind_those_that_are_left(
    letters: DeadLetters, peer: Peer
) -> None:
    """The queue is asked for it to find out what is settled."""
    put(peer, 40)

    settled = letters.retry(limit=30, on_progress=lambda done, of: put(peer, 3, first=41) if done == 1 else None)

    assert len(settled.done) == 30
    ids = [message.properties["message_id"] for message in peer.get_all("orders.dead")]
    assert ids == [f"m{number}" for number in range(31, 44)]


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_letter_that_may_be_there_twice_is_told_though_none_is_done(
    letters: DeadLetters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error alone would say that nothing was done."""
    put(peer, 1)

    def lose(*_: object) -> None:
        raise BrokerUnavailableError("the connection was lost")

    monkeypatch.setattr(Taking, "acknowledge", lose)
    monkeypatch.setattr(Taking, "_put_back", lose)

    settled = letters.retry()

    assert (settled.done, [each.may_be_twice for each in settled.left]) == ((), [True])
    assert settled.problem == "the connection was lost"


def test_nothing_is_removed_when_its_file_cannot_be_written(letters: DeadLetters, peer: Peer, tmp_path: Path) -> None:
    put(peer, 1)
    (tmp_path / "there").write_text("mine")

    for file in (tmp_path / "there", tmp_path / "no" / "folder"):
        with pytest.raises(OSError, match=r"exists|No such"):
            letters.remove(file)

    assert (tmp_path / "there").read_text() == "mine"
    assert peer.ready("orders.dead") == 1


def test_exported_letters_can_be_imported_and_are_the_same(letters: DeadLetters, peer: Peer) -> None:
    file = io.StringIO()
    peer.publish(b"\xff", "orders.dead", **letter(1, original_cc=["a"]))
    peer.publish(b"{}", "order.7", "shop", message_id="m7", application_headers={"blob": b"\xff", "$a": {"$b": [1.5]}})
    peer.give_up(peer.receive_one("orders").delivery_info["delivery_tag"])
    until(lambda: peer.ready("orders.dead") == 2)

    before = letters.export(file.write).letters
    peer.get_all("orders.dead")
    settled = letters.import_from(file.getvalue().splitlines())

    after = letters.find().letters
    assert (len(settled.done), settled.is_complete) == (2, True)
    assert [(each.id, each.body, each.reason, each.queue) for each in after] == [
        (each.id, each.body, each.reason, each.queue) for each in before
    ]
    assert (after[1].headers["blob"], after[1].headers["$a"]) == (b"\xff", {"$b": [1.5]})


def test_broken_line_is_named_and_nothing_is_imported(letters: DeadLetters, peer: Peer) -> None:
    file = io.StringIO()
    put(peer, 1)
    letters.export(file.write)

    for broken in ("{", "[]", '{"version": 2}', "{}", file.getvalue().replace("orders.dead", "payments")):
        with pytest.raises(ConfigurationError, match=r"line 2 is no letter|letter 2 lay in 'payments'"):
            letters.import_from([file.getvalue(), broken])

    assert peer.ready("orders.dead") == 1


def test_letter_moved_to_a_dead_letter_queue_stays_a_letter(peer: Peer, broker_url: str) -> None:
    graveyard = QueueSpec(name="graveyard", retry=False, dead_letter=False, delivery_limit=1_000_000)
    old = QueueSpec(name="old", retry=False, dead_letter=graveyard)
    more = Topology(exchanges=[shop], queues=[orders, graveyard, old])
    declare(broker_url, more)
    letters = DeadLetters(broker_url, more)
    put(peer, 1)
    (before,) = letters.find().letters

    assert len(letters.move(graveyard).done) == 1

    (after,) = letters.find().letters
    assert (after.lies_in, after.id, after.reason, after.attempt) == ("graveyard", before.id, "handler_error", 4)
    assert len(letters.retry().done) == 1
    assert peer.ready("orders") == 1


def test_target_that_is_nobodys_here_is_refused_by_name(letters: DeadLetters) -> None:
    theirs = Topology(queues=[orders, QueueSpec(name="theirs", passive=True)])

    with pytest.raises(UnknownQueueError, match="no queue 'payments'"):
        letters.move("payments")
    with pytest.raises(ConfigurationError, match="'theirs' is somebody else's"):
        DeadLetters("memory://", theirs).move("theirs")


@pytest.mark.parametrize(
    ("dead", "problem"),
    [
        (QueueSpec(name="orders.dead", retry=False, dead_letter=False), "its delivery limit is 20"),
        (QueueSpec(name="orders.dead", retry=False, dead_letter=False, delivery_limit=999_999), "limit is 999,999"),
        (QueueSpec(name="orders.dead", type="classic", retry=False, dead_letter=False), None),
        (QueueSpec(name="orders.dead", retry=False, dead_letter=False, delivery_limit=1_000_000), None),
    ],
)
def test_only_a_queue_that_counts_no_looks_is_looked_into(
    broker_url: str, dead: QueueSpec, problem: str | None
) -> None:
    """A look counts as a delivery. The others are counted, and named."""
    own = Topology(queues=[orders, dead])
    declare(broker_url, own)
    with looking(broker_url) as peer:
        put(peer, 2)

    found = DeadLetters(broker_url, own).find()

    (queue,) = found.queues
    assert (queue.queue, queue.ready, len(found.letters)) == ("orders.dead", 2, 0 if problem else 2)
    assert (problem or "") in (queue.problem or "")
    assert found.is_complete == (problem is None)


def test_queue_that_is_not_as_its_spec_says_is_not_looked_into(broker_url: str) -> None:
    """As one that was declared by an older release, with a low limit."""
    with looking(broker_url) as peer:
        peer.queue("orders.dead", x_queue_type="quorum", x_delivery_limit=2)
        put(peer, 1)

    found = DeadLetters(broker_url, topology).find()

    assert (found.letters, found.is_complete) == ((), False)
    assert "x-delivery-limit" in str(found.queues[0].problem)


def test_queue_that_is_not_there_is_named(broker_url: str) -> None:
    found = DeadLetters(broker_url, topology).find()

    assert [(each.queue, each.ready, each.problem) for each in found.queues] == [
        ("orders.dead", None, "it is not there")
    ]


def test_queue_that_refuses_stops_and_the_others_go_on(broker_url: str) -> None:
    full = QueueSpec(name="full", max_length=1, overflow="reject-publish", retry=False, dead_letter="orders.dead")
    own = Topology(exchanges=[shop], queues=[orders, full])
    declare(broker_url, own)
    with looking(broker_url) as peer:
        for queue in ("full", "full", "full", "orders"):
            peer.publish(b"{}", "orders.dead", **letter(1, queue=queue))
        for _ in range(2):
            peer.publish(b"{}", "full")

        settled = DeadLetters(broker_url, own).retry()

        assert [each.queue for each in settled.done] == ["orders"]
        assert {each.why for each in settled.left} == {"queue 'full' refuses it: it is full, or has failed"}
        assert peer.ready("orders.dead") == 3


@pytest.mark.parametrize("act", ["retry", "move", "import"])
def test_letter_stays_whose_queue_is_gone(letters: DeadLetters, peer: Peer, act: str) -> None:
    """The broker confirms what no queue takes, so that it is asked to send it back."""
    put(peer, 2)
    file = io.StringIO()
    letters.export(file.write)
    peer.channel.queue_delete("orders.dead" if act == "import" else "orders")
    acts: dict[str, Callable[[], SettledLetters]] = {
        "retry": letters.retry,
        "move": lambda: letters.move(orders),
        "import": lambda: letters.import_from(file.getvalue().splitlines()),
    }

    settled = acts[act]()

    gone = "queue 'orders.dead' is not there" if act == "import" else "queue 'orders' is not there"
    assert (settled.done, {each.why for each in settled.left}) == ((), {gone})
    assert act == "import" or peer.ready("orders.dead") == 2


@pytest.mark.parametrize("limits", [{"max_length": 2}, {"max_length_bytes": 2_000}])
def test_queue_that_drops_its_head_is_filled_below_its_limit(broker_url: str, limits: Any) -> None:
    """Beyond it the broker would drop another message for each letter."""
    lossy = QueueSpec(name="lossy", overflow="drop-head", retry=False, dead_letter="orders.dead", **limits)
    own = Topology(exchanges=[shop], queues=[orders, lossy])
    declare(broker_url, own)
    with looking(broker_url) as peer:
        put(peer, 3, queue="lossy")
        if "max_length" in limits:
            peer.publish(b"{}", "lossy")

        settled = DeadLetters(broker_url, own).retry()

        assert len(settled.done) == 1
        assert "queue 'lossy' is full" in settled.left[0].why
        assert [peer.ready(queue) for queue in ("orders.dead", "lossy")] == [2, 1 + ("max_length" in limits)]


def test_rehearsal_says_what_would_become_of_a_letter(letters: DeadLetters, peer: Peer) -> None:
    for body, key in ((b'{"n": 1}', "order.1"), (b'{"n": "x"}', "order.2"), (b"{}", "other")):
        peer.publish(body, "orders.dead", **letter(1, routing_key=key))
    peer.publish(b"{}", "orders.dead", **letter(1, queue="payments"))

    told = [str(letters.rehearse(each)) for each in letters.find().letters]

    name = f"{__name__}.pay"
    assert told[:3] == [
        f"would now go to {name}",
        f"still does not validate: invalid_body: n: int_parsing (of {name})",
        "no handler: none of 'orders' takes 'other'",
    ]
    assert told[3].startswith("it failed in 'payments'")


def test_two_people_at_once_lose_nothing_and_double_nothing(letters: DeadLetters, peer: Peer) -> None:
    """One holds the letters, so that the other one finds none."""
    put(peer, 20)
    seen: list[int] = []

    settled = letters.retry(
        on_progress=lambda done, of: seen.append(len(letters.find().letters)) if done == 1 else None
    )

    assert (len(settled.done), seen) == (20, [0])
    assert [peer.ready(queue) for queue in ("orders.dead", "orders")] == [0, 20]


def test_two_retries_at_once_send_each_letter_once(letters: DeadLetters, peer: Peer) -> None:
    put(peer, 200)
    both = threading.Barrier(2)

    def retry() -> int:
        both.wait(DEADLINE)
        return len(letters.retry().done)

    runs = [in_thread(retry), in_thread(retry)]

    assert sum(run.result(DEADLINE) for run in runs) == 200
    assert [peer.ready(queue) for queue in ("orders.dead", "orders")] == [0, 200]


def test_letters_that_come_meanwhile_are_not_settled(letters: DeadLetters, peer: Peer) -> None:
    put(peer, 2)

    settled = letters.retry(on_progress=lambda *_: put(peer, 1))

    assert len(settled.done) == 2
    assert peer.ready("orders.dead") == 2


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_letter_that_came_meanwhile_is_waited_for_besides_those_that_are_ready(
    letters: DeadLetters, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked what it has settled, the queue gives one of the two, and takes it back later than it is told."""
    put_back, cancel, count = Channel.put_back, Channel.basic_cancel, Taking.count
    late, told = list[int](), list[int]()

    def take_back_later(channel: Channel, *arguments: Any) -> None:
        late.append(1)
        put_back(channel, *arguments)

    def cancel_with_a_message(channel: Channel, *arguments: Any, **options: Any) -> Any:
        connection: Any = channel.connection
        connection.drain_available(1)
        return cancel(channel, *arguments, **options)

    def count_what_is_back(taking: Taking, queue: str) -> int:
        told.append(count(taking, queue) - len(late))
        late.clear()
        return told[-1]

    monkeypatch.setattr(Channel, "put_back", take_back_later)
    monkeypatch.setattr(Channel, "basic_cancel", cancel_with_a_message)
    monkeypatch.setattr(Taking, "count", count_what_is_back)
    put(peer, 2)

    letters.retry(on_progress=lambda *_: put(peer, 1))

    assert told[-1] == 2


def test_limit_leaves_the_later_letters(letters: DeadLetters, peer: Peer) -> None:
    put(peer, 3)

    assert [each.routing_key for each in letters.retry(limit=2).done] == ["order.1", "order.2"]
    assert [each.routing_key for each in letters.find().letters] == ["order.3"]


def test_interrupt_in_a_run_loses_nothing_and_puts_the_rest_back(letters: DeadLetters, peer: Peer) -> None:
    def interrupt(done: int, of: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    put(peer, 200)

    with pytest.raises(KeyboardInterrupt):
        letters.retry(on_progress=interrupt)

    left, sent = peer.get_all("orders.dead"), peer.get_all("orders")
    ids = [each.properties["message_id"] for each in (*left, *sent)]
    assert len(set(ids)) == 200
    assert len(ids) - 200 <= WINDOW  # what the broker had not confirmed in time
    assert 5 <= len(sent) < 200


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_interrupt_in_a_run_leaves_nothing_twice_that_is_confirmed(letters: DeadLetters, peer: Peer) -> None:
    told: list[int] = []

    def interrupt(done: int, of: int) -> None:
        told.append(done)
        if done == 5:
            raise KeyboardInterrupt

    put(peer, 200)

    with pytest.raises(KeyboardInterrupt):
        letters.retry(on_progress=interrupt)

    assert told[-1] == peer.ready("orders") > 5
    assert peer.ready("orders.dead") == 200 - told[-1]


def test_published_then_handled_and_mended_is_what_users_do(letters: DeadLetters, peer: Peer, broker_url: str) -> None:
    is_mended = False

    def pay_now(order: Order) -> None:
        if not is_mended:
            raise ConnectionError("the bank does not answer")

    own = HandlerRegistry()
    own.add("order.#", pay_now, queue=orders)
    with Worker(broker_url, topology, own) as worker, Publisher(broker_url, topology) as publisher:
        publisher.publish(Order(n=1), "order.1", exchange=shop)
        assert worker.wait_idle(DEADLINE)
        is_mended = True

        assert len(letters.retry(handler="test_dead_letters.pay_now").done) == 0
        assert len(letters.retry(reason="handler_error").done) == 1
        assert worker.wait_idle(DEADLINE)

    assert letters.find().letters == ()


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_letter_of_a_replaced_queue_goes_to_its_replacement(broker_url: str, kind: Any) -> None:
    """Its dead-letter queue is looked into for as long as it is there, though nothing but a name is said of it."""
    old = Topology(exchanges=[shop], queues=[QueueSpec(name="orders", type=kind)])
    declare(broker_url, old)
    new = QueueSpec(name="orders.2", replaces="orders", bindings=[shop.bind("order.#")])
    replacing = Topology(exchanges=[shop], queues=[new])
    declare(broker_url, replacing)
    with looking(broker_url) as peer:
        put(peer, 1)

        settled = DeadLetters(broker_url, replacing).retry(queue="orders")

        assert (len(settled.done), settled.is_complete) == (1, True)
        assert [peer.ready(queue) for queue in ("orders.dead", "orders", "orders.2")] == [0, 0, 1]


def test_letter_of_a_retired_queue_goes_back_to_it(broker_url: str) -> None:
    declare(broker_url, topology)
    retiring = Topology(queues=[QueueSpec(name="other")], retired=["orders"])
    declare(broker_url, retiring)
    with looking(broker_url) as peer:
        put(peer, 1)

        assert len(DeadLetters(broker_url, retiring).retry().done) == 1
        assert peer.ready("orders") == 1


def test_dead_letter_queue_of_a_retired_queue_may_be_gone(broker_url: str) -> None:
    retiring = Topology(queues=[QueueSpec(name="other")], retired=["orders"])
    declare(broker_url, retiring)

    found = DeadLetters(broker_url, retiring).find()

    assert ([each.queue for each in found.queues], found.is_complete) == (["other.dead"], True)


def test_letter_of_a_passive_queue_goes_back_if_it_is_handled_here(broker_url: str) -> None:
    theirs = QueueSpec(name="theirs", passive=True)
    declare(broker_url, Topology(queues=[QueueSpec(name="theirs")]))
    own = Topology(queues=[theirs])
    handling = HandlerRegistry()
    handling.add("#", lambda body: None, queue=theirs)
    with looking(broker_url) as peer:
        put(peer, 1, lies_in="theirs.dead", queue="theirs")

        refused = DeadLetters(broker_url, own).retry()
        sent = DeadLetters(broker_url, Routes(own, handling)).retry()

    assert "somebody else owns" in refused.left[0].why
    assert len(sent.done) == 1


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_run_looks_at_ten_thousand_of_a_hundred_thousand_letters(letters: DeadLetters, peer: Peer) -> None:
    """It says how many there are, and the next run goes on where this one has ended."""
    put(peer, 100_000)

    found, settled = letters.find(), letters.retry()
    next_one = peer.receive_one("orders.dead")

    (queue,) = found.queues
    assert (queue.ready, queue.looked_at, found.is_complete) == (100_000, 10_000, False)
    assert (len(settled.done), settled.is_complete) == (10_000, False)
    assert next_one.properties["message_id"] == "m10001"
    assert (peer.ready("orders.dead"), peer.ready("orders")) == (89_999, 10_000)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many letters as a test can wait for stand for those that a run takes and looks at."""
    for name, number in {"MOST": 10, "MOST_LOOKED_AT": 40, "_LEAST_ROOM": 2}.items():
        monkeypatch.setattr(looking_at, name, number)


def test_letters_that_are_not_meant_hide_none_behind_them(letters: DeadLetters, peer: Peer, few: None) -> None:
    """They are passed over, and stay where they are."""
    put(peer, 25)
    peer.publish(b'{"n": 26}', "orders.dead", **letter(26, reason="invalid_body"))
    put(peer, 4, first=27)

    settled = letters.retry(reason="invalid_body")

    assert ([each.routing_key for each in settled.done], settled.is_complete) == (["order.26"], True)
    ids = [message.properties["message_id"] for message in peer.get_all("orders.dead")]
    assert ids == [f"m{number}" for number in range(1, 31) if number != 26]


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_run_ends_when_enough_letters_are_meant_or_looked_at(letters: DeadLetters, peer: Peer, few: None) -> None:
    for number in range(1, 51):
        reason = "invalid_body" if number % 2 else "handler_error"
        peer.submit(b"{}", "orders.dead", **letter(number, reason=reason))
    peer.flush()

    half, none = letters.find(reason="invalid_body"), letters.find(reason="expired")

    assert (len(half.letters), half.queues[0].looked_at, half.is_complete) == (9, 17, False)
    assert (none.letters, none.queues[0].looked_at, none.is_complete) == ((), 40, False)
    assert peer.ready("orders.dead") == 50


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_run_whose_time_is_over_takes_no_more_letters(peer: Peer, broker_url: str, few: None) -> None:
    put(peer, 30)

    found = DeadLetters(broker_url, routes, consumer_timeout=0).find(reason="expired")

    assert (found.queues[0].looked_at, found.is_complete) == (10, False)


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_run_has_half_of_the_consumer_timeout(peer: Peer, broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other half is for what holds it up once it has ended."""
    deadlines: list[float] = []

    def look(*arguments: Any) -> looking_at.Look:
        deadlines.append(arguments[-1])
        return looking_at.look(*arguments)

    monkeypatch.setattr(dead_letters, "look", look)
    began = time.monotonic()

    DeadLetters(broker_url, routes, consumer_timeout=600).retry()

    assert began + 300 <= deadlines[0] <= time.monotonic() + 300


@pytest.mark.parametrize("act", ["retry", "move", "remove"])
@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_letter_that_comes_after_the_count_is_left(
    letters: DeadLetters, peer: Peer, act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is settled is what was there at the start, though more is there when it is taken."""
    original = Taking.count
    came: list[str] = []

    def count(taking: Taking, queue: str) -> int:
        found = original(taking, queue)
        if not came:
            came.append(queue)
            put(peer, 1, first=3)
        return found

    put(peer, 2)
    monkeypatch.setattr(Taking, "count", count)
    acts: dict[str, Callable[[], SettledLetters]] = {
        "retry": letters.retry,
        "move": lambda: letters.move(invoices),
        "remove": lambda: letters.remove(tmp_path / "removed.jsonl"),
    }

    settled = acts[act]()

    assert [letter.routing_key for letter in settled.done] == ["order.1", "order.2"]
    assert [message.properties["message_id"] for message in peer.get_all("orders.dead")] == ["m3"]


@pytest.mark.parametrize("broker_url", ["memory"], indirect=True)
def test_queue_that_refuses_one_letter_is_sent_no_other(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    full = QueueSpec(name="full", max_length=1, overflow="reject-publish", retry=False, dead_letter="orders.dead")
    own = Topology(exchanges=[shop], queues=[orders, full])
    declare(broker_url, own)
    original, sent = Sending.send, list[str]()

    def send(sending: Sending, submission: Once) -> None:
        sent.append(submission.routing_key)
        original(sending, submission)

    monkeypatch.setattr(Sending, "send", send)
    monkeypatch.setattr(delivering, "WINDOW", 1)
    with looking(broker_url) as peer:
        for _ in range(2):
            peer.publish(b"{}", "full")
        put(peer, 3, queue="full")
        put(peer, 1, first=4)

        settled = DeadLetters(broker_url, own).retry()

        assert sent == ["full", "orders"]
        assert (len(settled.done), len(settled.left), peer.ready("orders.dead")) == (1, 3, 3)


def test_letters_that_are_exported_stay(letters: DeadLetters, peer: Peer) -> None:
    put(peer, 2)
    lines: list[str] = []

    letters.export(lines.append)

    assert (len(lines), peer.ready("orders.dead")) == (2, 2)

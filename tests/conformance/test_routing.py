"""Where messages go: both brokers, and the pure `Topology.route`, agree."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

import amqp.exceptions
import pytest
from tests.kit.peer import Peer
from tests.kit.strategies import accepts, words_of
from tests.kit.vectors import HEADER_RULES, MOMENT, SECONDS

from taskroute.broker.declare import Declaration
from taskroute.topology.exchange import BindingSpec, ExchangeSpec, Match
from taskroute.topology.queue import QueueSpec
from taskroute.topology.routing import Destination, binding_table
from taskroute.topology.topology import Topology

END = b"end"


def route_all(peer: Peer, queues: Iterable[str], messages: Iterable[tuple[str, str, dict[str, Any]]]) -> list[set[str]]:
    """Publish each (exchange, key, headers) once; return the queues that each arrived in."""
    arrived: list[set[str]] = []
    for number, (exchange, key, headers) in enumerate(messages):
        arrived.append(set())
        peer.submit(str(number).encode(), key, exchange, application_headers=headers)
    names = list(queues)
    for queue in names:
        peer.submit(END, queue)  # behind everything that the queue has got
    peer.flush()
    ended: set[str] = set()
    for queue in names:

        def take(message: Any, queue: str = queue) -> None:
            if bytes(message.body) == END:
                ended.add(queue)
            else:
                arrived[int(message.body)].add(queue)

        peer.channel.basic_consume(queue, callback=take, no_ack=True)
    peer.until(lambda: len(ended) == len(names))
    return arrived


def some_words(chance: random.Random, alphabet: tuple[str, ...], longest: int) -> str:
    while True:
        words = [chance.choice(alphabet) for _ in range(chance.randint(0, longest))]
        if words != [""]:  # an empty word alone would be the empty key, which is here already
            return ".".join(words)


def distinct(chance: random.Random, alphabet: tuple[str, ...], longest: int, count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[some_words(chance, alphabet, longest)] = None
    return list(found)


def test_topic_routing_agrees_with_a_naive_matcher_on_50000_pairs(peer: Peer) -> None:
    """The broker and the table of bindings both reach the queues that word-by-word matching reaches."""
    chance = random.Random(20)
    most = 2 if peer.version >= (4, 3) else 5  # RabbitMQ 4.3.5 takes no binding key with more `#`
    some = distinct(chance, ("a", "b", "", "*", "#", "#", "a*", "#b"), 5, 250)
    binding_keys = [key for key in some if words_of(key).count("#") <= most][:200]
    routing_keys = distinct(chance, ("a", "b", "", "z", "*", "#", "a*"), 6, 260)
    assert len(binding_keys) * len(routing_keys) >= 50_000

    peer.exchange("topics")
    table = binding_table("topic")
    queues = {f"q{number}": key for number, key in enumerate(binding_keys)}
    for queue, key in queues.items():
        peer.queue(queue)
        peer.bind(queue, "topics", key)
        table.add(Destination("queue", queue), key, {})

    arrived = route_all(peer, queues, [("topics", key, {}) for key in routing_keys])

    for key, reached in zip(routing_keys, arrived, strict=True):
        naive = {queue for queue, binding_key in queues.items() if accepts(words_of(binding_key), words_of(key))}
        assert reached == naive, key
        assert {name for _, name in table.destinations([key], {})} == naive, key
    assert 2_000 < sum(map(len, arrived)) < 40_000  # neither nothing nor everything matched


KEYS = ("a", "a.b", "b.a", "", "a..b", "c")
TOPICS = ("#", "a.#", "*", "*.b", "a.b", "#.a.#", "")
HEADERS: tuple[dict[str, Any], ...] = (
    {},
    {"n": 1},
    {"n": True},
    {"n": "1", "t": "x"},
    {"x-t": "x"},
    {"t": "x", "x-t": "x", "n": 1},
    {"n": None},
)


def random_topology(chance: random.Random) -> Topology:
    """Exchanges of all types, bound to each other in circles too, with alternates; and queues."""
    names = [f"e{number}" for number in range(chance.randint(3, 6))]
    bare = {
        name: ExchangeSpec(name=name, type=chance.choice(("topic", "direct", "fanout", "headers"))) for name in names
    }

    def bindings(most: int) -> list[BindingSpec]:
        return [random_binding(chance, bare[chance.choice(names)]) for _ in range(chance.randint(0, most))]

    exchanges = [
        ExchangeSpec(
            name=name,
            type=bare[name].type,
            internal=chance.random() < 0.15,
            alternate_exchange=chance.choice(names) if chance.random() < 0.4 else None,
            bindings=bindings(2),
        )
        for name in names
    ]
    queues = [
        QueueSpec(name=f"q{number}", type="classic", retry=False, dead_letter=False, bindings=bindings(3))
        for number in range(4)
    ]
    return Topology(exchanges=exchanges, queues=queues)


def random_binding(chance: random.Random, source: ExchangeSpec) -> BindingSpec:
    if source.type == "topic":
        return source.bind(chance.choice(TOPICS))
    if source.type == "direct":
        return source.bind(chance.choice((*KEYS, "*", "#")))
    if source.type == "fanout":
        return source.bind()
    wanted = dict(chance.choice(HEADERS[:-1]))
    with_x = any(name.startswith("x-") for name in wanted)
    matches: list[Match] = ["all-with-x", "any-with-x"] if with_x else ["all", "any", "all-with-x", "any-with-x"]
    return source.bind(headers=wanted, match=chance.choice(matches) if wanted else "all")


def random_message(chance: random.Random, exchange: str) -> tuple[str, str, dict[str, Any]]:
    headers = dict(chance.choice(HEADERS))
    for name in ("CC", "BCC"):
        if chance.random() < 0.2:
            headers[name] = [chance.choice(KEYS) for _ in range(chance.randint(0, 2))]
    return exchange, chance.choice((*KEYS, "*", "#")), headers


@pytest.mark.parametrize("seed", range(12))
def test_brokers_route_random_topologies_as_topology_route_does(peer: Peer, seed: int) -> None:
    chance = random.Random(seed)
    reached = 0
    for number in range(4):
        topology = renamed(random_topology(chance), f"{number}-")
        Declaration(topology, "create").on(peer.new_channel())
        sources = [exchange.name for exchange in topology.exchanges if not exchange.internal]
        messages = [random_message(chance, chance.choice(sources)) for _ in range(60 if sources else 0)]
        messages += [("", chance.choice([queue.name for queue in topology.queues] + ["nowhere"]), {}) for _ in range(5)]
        arrived = route_all(peer, [queue.name for queue in topology.queues], messages)
        for (exchange, key, headers), queues in zip(messages, arrived, strict=True):
            assert queues == topology.route(key, exchange=exchange, headers=headers), (exchange, key, headers, topology)
        reached += sum(map(len, arrived))
    assert reached > 20


def renamed(topology: Topology, prefix: str) -> Topology:
    """The same topology under other names, so that several fit into one broker."""
    data = topology.model_dump()
    for exchange in data["exchanges"]:
        exchange["name"] = prefix + exchange["name"]
        if exchange["alternate_exchange"] is not None:
            exchange["alternate_exchange"] = prefix + exchange["alternate_exchange"]
    for queue in data["queues"]:
        queue["name"] = prefix + queue["name"]
    for target in (*data["exchanges"], *data["queues"]):
        for binding in target["bindings"]:
            binding["exchange"] = prefix + binding["exchange"]
    return Topology.model_validate(data)


def test_headers_exchanges_match_by_the_table_of_rules(peer: Peer) -> None:
    for number, (arguments, _, _) in enumerate(HEADER_RULES):
        peer.exchange(f"h{number}", "headers")
        peer.queue(f"q{number}")
        peer.channel.queue_bind(f"q{number}", f"h{number}", "ignored", arguments=arguments)

    messages = [(f"h{number}", "key", headers) for number, (_, headers, _) in enumerate(HEADER_RULES)]
    arrived = route_all(peer, [f"q{number}" for number in range(len(HEADER_RULES))], messages)

    for (arguments, headers, matches), queues in zip(HEADER_RULES, arrived, strict=True):
        assert bool(queues) is matches, (arguments, headers)


@pytest.mark.parametrize("key", ["#.a.#.b.#", "#.#.#"])
def test_a_binding_key_with_more_than_two_hashes_is_refused_from_4_3_on(peer: Peer, key: str) -> None:
    peer.queue("q")
    peer.bind("q", "amq.topic", "#.a.#")
    peer.bind("q", "amq.direct", key)
    if peer.version < (4, 3):
        peer.bind("q", "amq.topic", key)
        return

    with pytest.raises(amqp.exceptions.PreconditionFailed):
        peer.bind("q", "amq.topic", key)


def test_header_integers_equal_floats_before_version_4(peer: Peer) -> None:
    if peer.version >= (4, 0):
        expected: list[set[str]] = [set()]
    else:
        expected = [{"q"}]  # RabbitMQ 3 and the embedded broker

    peer.exchange("h", "headers")
    peer.queue("q")
    peer.channel.queue_bind("q", "h", "", arguments={"n": 1})

    assert route_all(peer, ["q"], [("h", "", {"n": 1.0})]) == expected


def test_a_moment_among_headers_is_of_milliseconds_from_version_4_on(peer: Peer) -> None:
    """It counts as a number: before version 4 the seconds, then the milliseconds. In a binding it is of seconds."""
    peer.exchange("h", "headers")
    for queue, wanted in (("moment", MOMENT), ("seconds", SECONDS), ("milliseconds", 1000 * SECONDS)):
        peer.queue(queue)
        peer.channel.queue_bind(queue, "h", "", arguments={"n": wanted})

    expected = {"milliseconds"} if peer.version >= (4, 0) else {"moment", "seconds"}
    queues = ["moment", "seconds", "milliseconds"]
    assert route_all(peer, queues, [("h", "", {"n": MOMENT})]) == [expected]


def test_an_unknown_x_match_is_refused(peer: Peer) -> None:
    peer.exchange("h", "headers")
    peer.queue("q")

    with pytest.raises(amqp.exceptions.PreconditionFailed):
        peer.channel.queue_bind("q", "h", "", arguments={"x-match": "some"})


# --- exchanges and bindings ---


def test_a_direct_exchange_takes_wildcards_literally(peer: Peer) -> None:
    peer.exchange("d", "direct")
    for queue, key in (("q1", "a.*"), ("q2", "#"), ("q3", "a.b")):
        peer.queue(queue)
        peer.bind(queue, "d", key)

    arrived = route_all(peer, ["q1", "q2", "q3"], [("d", "a.b", {}), ("d", "a.*", {}), ("d", "#", {}), ("d", "", {})])

    assert arrived == [{"q3"}, {"q1"}, {"q2"}, set()]


def test_a_message_routed_by_several_bindings_arrives_once(peer: Peer) -> None:
    peer.exchange("top")
    peer.exchange("fan", "fanout")
    peer.channel.exchange_bind("fan", "top", "#")
    peer.queue("q")
    for key in ("a", "*", "#"):
        peer.bind("q", "top", key)
    peer.bind("q", "fan")

    peer.publish(b"once", "a", "top")

    assert peer.get_all("q").bodies == [b"once"]


def test_routing_through_a_cycle_of_exchanges_ends(peer: Peer) -> None:
    for name in ("one", "two", "three"):
        peer.exchange(name)
    for destination, source in (("two", "one"), ("three", "two"), ("one", "three")):
        peer.channel.exchange_bind(destination, source, "#")
    peer.queue("q")
    peer.bind("q", "three", "a.#")

    assert route_all(peer, ["q"], [("one", "a.b", {}), ("one", "b", {})]) == [{"q"}, set()]


def test_an_alternate_exchange_takes_unrouted_messages_alone(peer: Peer) -> None:
    """A message that is routed to an exchange without bindings counts as routed."""
    peer.exchange("rest", "fanout")
    peer.exchange("main", arguments={"alternate-exchange": "rest"})
    peer.exchange("bound")  # a destination that leads nowhere is a destination
    peer.channel.exchange_bind("bound", "main", "b.#")
    for queue in ("q", "other"):
        peer.queue(queue)
    peer.bind("q", "main", "a.#")
    peer.bind("other", "rest")

    arrived = route_all(peer, ["q", "other"], [("main", "a", {}), ("main", "b", {}), ("main", "c", {})])

    assert arrived == [{"q"}, set(), {"other"}]


def test_a_message_to_a_missing_alternate_exchange_is_returned(peer: Peer) -> None:
    peer.exchange("main", arguments={"alternate-exchange": "nobody"})

    peer.submit(b"lost", "a", "main", mandatory=True)
    peer.flush()

    assert peer.log == ["return 312 main a lost", "ack"]


def test_the_default_exchange_routes_to_the_queue_named_by_the_key(peer: Peer) -> None:
    peer.queue("a.b")
    assert route_all(peer, ["a.b"], [("", "a.b", {}), ("", "a.*", {}), ("", "#", {})]) == [{"a.b"}, set(), set()]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("amq.direct", "direct"),
        ("amq.topic", "topic"),
        ("amq.fanout", "fanout"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ],
)
def test_a_predeclared_exchange_exists_and_routes(peer: Peer, name: str, kind: str) -> None:
    peer.exchange(name, kind, passive=True)
    peer.queue("q")
    peer.bind("q", name, "key")

    peer.publish(b"here", "key", name)

    assert peer.get_all("q").bodies == [b"here"]


def test_an_unbound_queue_or_exchange_gets_no_more_messages(peer: Peer) -> None:
    """A binding that is left still brings messages to the queue."""
    peer.exchange("top")
    peer.exchange("next")
    peer.queue("q")
    peer.queue("far")
    peer.bind("q", "top", "a")
    peer.bind("q", "top", "#")
    peer.channel.exchange_bind("next", "top", "#")
    peer.bind("far", "next", "#")

    peer.publish(b"1", "b", "top")

    peer.channel.queue_unbind("q", "top", "#", arguments={})
    peer.channel.exchange_unbind("next", "top", "#", arguments={})
    peer.publish(b"2", "b", "top")
    peer.publish(b"3", "a", "top")

    assert peer.get_all("q").bodies == [b"1", b"3"]
    assert peer.get_all("far").bodies == [b"1"]


def test_a_binding_is_removed_only_with_its_own_arguments(peer: Peer) -> None:
    peer.exchange("h", "headers")
    peer.queue("q")
    for value in (1, True, "1"):
        peer.channel.queue_bind("q", "h", "", arguments={"v": value})

    peer.channel.queue_unbind("q", "h", "", arguments={"v": 1})

    arrived = route_all(peer, ["q"], [("h", "", {"v": 1}), ("h", "", {"v": True}), ("h", "", {"v": "1"})])
    assert arrived == [set(), {"q"}, {"q"}]


def test_a_deleted_queue_or_exchange_loses_its_bindings(peer: Peer) -> None:
    """A queue or exchange declared again under the same name begins without bindings."""
    peer.exchange("top")
    peer.exchange("next", "fanout")
    peer.channel.exchange_bind("next", "top", "#")
    peer.queue("q")
    peer.bind("q", "top", "#")

    peer.channel.queue_delete("q")
    peer.channel.exchange_delete("next")
    peer.queue("q")
    peer.exchange("next", "fanout")
    peer.bind("q", "next")

    peer.publish(b"nobody", "a", "top")
    assert peer.get_all("q").bodies == []


# --- CC, BCC and forged headers ---


def test_cc_and_bcc_are_routing_keys_and_only_cc_is_delivered(peer: Peer) -> None:
    peer.exchange("top")
    for queue, key in (("user", "user.#"), ("admin", "admin.#"), ("hidden", "hidden")):
        peer.queue(queue)
        peer.bind(queue, "top", key)

    headers = {"CC": ["admin.y"], "BCC": ["hidden", "nobody"], "own": 1}
    peer.publish(b"x", "user.x", "top", application_headers=headers)

    for queue in ("user", "admin", "hidden"):
        inbox = peer.get_all(queue)
        assert inbox.bodies == [b"x"]
        assert inbox.headers == {"CC": ["admin.y"], "own": 1}
        assert inbox[0].delivery_info["routing_key"] == "user.x"


def test_cc_passes_over_what_is_no_text(peer: Peer) -> None:
    peer.queue("one")
    peer.publish(b"x", "nowhere", application_headers={"CC": [None, "one", 5], "BCC": [True]})
    assert peer.get_all("one").bodies == [b"x"]


def test_the_default_exchange_follows_cc(peer: Peer) -> None:
    peer.queue("one")
    peer.queue("two")

    peer.publish(b"x", "one", application_headers={"CC": ["two"]})
    assert peer.get_all("one").bodies == peer.get_all("two").bodies == [b"x"]


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_a_cc_or_bcc_other_than_a_list_closes_the_channel(peer: Peer, header: str) -> None:
    peer.queue("one")

    peer.submit(b"x", "one", application_headers={header: "one"})
    with pytest.raises(amqp.exceptions.PreconditionFailed):
        peer.until(lambda: False)


def test_a_forged_x_death_arrives_untouched(peer: Peer) -> None:
    forged = [{"queue": "elsewhere", "reason": "rejected", "count": 99}]
    peer.queue("q")

    peer.publish(b"x", "q", application_headers={"x-death": forged})
    assert peer.get_all("q").headers == {"x-death": forged}


def test_brokers_and_topology_route_every_small_pair_alike(peer: Peer) -> None:
    """Every key of three words at most arrives where the topology says, for nine patterns with wildcards."""
    media = ExchangeSpec(name="media")
    keys = [".".join(words) for length in range(4) for words in itertools.product(("a", "b"), repeat=length)]
    patterns = ["#", "*", "a.#", "#.b", "a.*", "*.*", "a.b", "#.a.#", "*.#"]
    queues = [
        QueueSpec(name=f"q{number}", type="classic", retry=False, dead_letter=False, bindings=[media.bind(pattern)])
        for number, pattern in enumerate(patterns)
    ]
    topology = Topology(exchanges=[media], queues=queues)
    Declaration(topology, "create").on(peer.new_channel())

    arrived = route_all(peer, [queue.name for queue in queues], [("media", key, {}) for key in keys])
    assert arrived == [topology.route(key, exchange=media) for key in keys]

"""Explain: its text, and its agreement with the route of the topology."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.strategies import keys, token_lists

from taskroute import ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology

rest = ExchangeSpec(name="rest", type="fanout")
media = ExchangeSpec(name="media", alternate_exchange=rest)
inner = ExchangeSpec(name="inner", internal=True, bindings=[media.bind("video.#")])
video = QueueSpec(name="video", bindings=[media.bind("video.*")])
copy = QueueSpec(name="copy", bindings=[inner.bind("#")], retry=False, dead_letter=False)
left = QueueSpec(name="left", bindings=[rest.bind()])
topology = Topology(exchanges=[media, rest, inner], queues=[video, copy, left])


def transcode(task: dict[str, str], action: str) -> None: ...
def upload(task: dict[str, str]) -> None: ...
def anything(task: dict[str, str]) -> None: ...


def routes() -> Routes:
    registry = HandlerRegistry()
    registry.add("video.{action}", transcode, queue=video)
    registry.add("video.upload", upload)
    registry.fallback(queue=video)(anything)
    return Routes(topology, registry)


def test_text_shows_each_hop_and_why_other_handlers_lost() -> None:
    here = __name__

    assert str(routes().explain("video.upload", exchange=media)).splitlines() == [
        "key 'video.upload' published to exchange 'media'",
        "  exchange 'media', binding 'video.*' -> queue 'video'",
        "  exchange 'media', binding 'video.#' -> exchange 'inner'",
        "  exchange 'inner', binding '#' -> queue 'copy'",
        "  queue 'copy'",
        f"    handled by {here}.upload ('video.upload' of any queue)",
        "    if that fails: dropped",
        "  queue 'video'",
        f"    handled by {here}.transcode ('video.{{action}}' of queue 'video') with action='upload'",
        "    if that fails: 'video.retry.1000' -> 'video.retry.5000' -> 'video.retry.25000' -> 'video.dead'",
        f"    not by {here}.upload ('video.upload' of any queue): is for any queue, and the queue's own come first",
        f"    not by {here}.anything (fallback of queue 'video'): is a fallback",
    ]


def test_text_says_where_unhandled_messages_go() -> None:
    text = str(routes().explain("image.upload", exchange="media"))
    assert "exchange 'media', as nothing else takes it, its alternate -> exchange 'rest'" in text
    assert "no handler takes it, and it goes to 'left.dead'" in text

    text = str(routes().explain("video.a.b", exchange="media"))
    assert "no handler takes it, and it is dropped" in text
    assert "reaches no queue" in str(routes().explain("nowhere", exchange=""))


def test_default_exchange_is_one_hop() -> None:
    explanation = routes().explain("video", exchange="")

    assert [str(hop) for hop in explanation.hops] == ["the default exchange -> queue 'video'"]
    assert [arrival.queue for arrival in explanation.arrivals] == ["video"]


def test_many_handlers_without_a_match_are_counted_not_listed() -> None:
    registry = HandlerRegistry()
    for number in range(50):
        registry.add(f"video.{number}", upload, queue=video)

    text = str(Routes(topology, registry).explain("video.7", exchange=media))

    assert text.count("does not match") == 8
    assert "nor by 41 others that do not match" in text


@settings(max_examples=80)
@given(st.lists(token_lists(3).map(".".join), max_size=3), keys(4))
def test_arrivals_and_hops_agree_with_the_route(bound: list[str], key: str) -> None:
    queues = [QueueSpec(name=f"q{n}", bindings=[media.bind(binding)]) for n, binding in enumerate(bound)]
    graph = Routes(Topology(exchanges=[media, rest], queues=queues), HandlerRegistry())

    explanation = graph.explain(key, exchange=media)

    assert {arrival.queue for arrival in explanation.arrivals} == graph.route(key, exchange=media)
    assert {hop.destination.name for hop in explanation.hops if hop.destination.kind == "queue"} == {
        arrival.queue for arrival in explanation.arrivals
    }


def test_queue_that_replaces_another_one_says_so() -> None:
    media = ExchangeSpec(name="media")
    topology = Topology(queues=[QueueSpec(name="video.2", bindings=[media.bind("#")], replaces="video")])

    told = str(Routes(topology, HandlerRegistry()).explain("a", exchange=media))

    assert "or 'video', which it replaces and which is consumed while it is there" in told

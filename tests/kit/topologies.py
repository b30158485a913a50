"""Random topologies: every kind of exchange, queue and binding, each valid."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from taskroute import BindingSpec, ExchangeSpec, QueueSpec, RetryPolicy, Topology

WORDS = st.sampled_from(("a", "b.c", "*", "#", "a.*", "*.b.#"))
VALUES: st.SearchStrategy[str | int | bool] = st.sampled_from(("shop", 7, True, ""))
ARGUMENTS = st.dictionaries(st.sampled_from(("x-owner", "x-note")), VALUES, max_size=2)
MILLISECONDS = st.sampled_from((0.001, 0.25, 1, 1.001, 60, 86400))
NAMES = st.sampled_from(("jobs", "order.7", "mail room", "ünï", "class", "7", 'a"b', "it's", "jobs.dead", "x/y", "%"))
DELAYS = st.lists(st.sampled_from((1, 5, 25, 0.5, 60)), min_size=1, max_size=3).map(
    lambda each: RetryPolicy(delays=each)
)


@st.composite
def topologies(draw: st.DrawFn, prefix: str = "", *, transient: bool = True) -> Topology:
    """A topology. `prefix`: of every name. `transient`: some queues are neither durable nor exclusive."""
    exchanges: list[ExchangeSpec] = []
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        exchanges.append(draw(_exchange(prefix + name, tuple(exchanges))))
    names = draw(st.lists(NAMES, max_size=5, unique=True))
    queues = [draw(_queue(prefix + name, [prefix + each for each in names], exchanges, transient)) for name in names]
    return Topology(exchanges=exchanges, queues=queues)


@st.composite
def _exchange(draw: st.DrawFn, name: str, known: tuple[ExchangeSpec, ...]) -> ExchangeSpec:
    return ExchangeSpec(
        name=name,
        type=draw(st.sampled_from(("topic", "direct", "fanout", "headers"))),
        durable=draw(st.booleans()),
        internal=draw(st.booleans()),
        alternate_exchange=draw(st.sampled_from((None, *known))),
        bindings=draw(st.lists(_binding(known), max_size=2)) if known else [],
        arguments=draw(ARGUMENTS),
    )


@st.composite
def _binding(draw: st.DrawFn, exchanges: tuple[ExchangeSpec, ...]) -> BindingSpec:
    source = draw(st.sampled_from(exchanges))
    if source.type == "headers":
        headers = draw(st.dictionaries(st.sampled_from(("kind", "size")), VALUES, max_size=2))
        return source.bind(headers=headers, match=draw(st.sampled_from(("all", "any")))) if headers else source.bind()
    return source.bind("" if source.type == "fanout" else draw(WORDS))


@st.composite
def _queue(draw: st.DrawFn, name: str, names: list[str], exchanges: list[ExchangeSpec], transient: bool) -> QueueSpec:
    fields: dict[str, Any] = {"name": name, "arguments": draw(ARGUMENTS)}
    if exchanges:
        fields["bindings"] = draw(st.lists(_binding(tuple(exchanges)), max_size=3))
    kind = draw(st.sampled_from(("quorum", "classic", "stream", *(["passing"] if transient else []))))
    limit = st.sampled_from((None, None, 10))
    fields |= {"max_length_bytes": draw(limit)}
    if kind == "stream" and not name.endswith(".dead"):
        return QueueSpec(type="stream", **fields)
    bounded = draw(limit)
    fields |= {"max_length": bounded, "single_active_consumer": draw(st.booleans())}
    fields |= {"message_ttl": draw(st.none() | MILLISECONDS), "expires": draw(st.sampled_from((None, 86400)))}
    others = [each for each in names if each != name and not each.endswith(".dead")]
    fields["dead_letter"] = draw(st.sampled_from((None, False, *others)))
    fields["retry"] = draw(st.sampled_from((None, False)) | DELAYS)
    if bounded is not None:
        fields["overflow"] = draw(st.sampled_from((None, "drop-head", "reject-publish")))
    if kind == "quorum":
        return QueueSpec(delivery_limit=draw(st.sampled_from((None, 20, 3))), **fields)
    if kind == "passing":
        fields[draw(st.sampled_from(("auto_delete", "exclusive")))] = True
        fields["durable"] = draw(st.booleans())
    return QueueSpec(type="classic", max_priority=draw(st.sampled_from((None, 5))), **fields)

"""Capabilities: what brokers of different versions do differently with what can be declared, as one table. Pure.

It is read when something is declared, by `Routes.check`, and by the page that shows it. A `QueueSpec` does not know
which broker it will meet: it refuses what every broker refuses or ignores, and this table says the rest.

A version tells what a broker does by default. Where its operator may permit what it denies, only its answer tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from taskroute.topology.broker_facts import AMAZON_MQ, LAVINMQ, RABBITMQ, BrokerFacts
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec

Support = Literal["taken", "ignored", "denied", "refused"]
"""``denied``: refused unless the broker's operator permits it."""

_VERBS: Final[Mapping[Support, str]] = {
    "taken": "takes",
    "ignored": "ignores",
    "denied": "denies, unless its operator permits it,",
    "refused": "refuses",
}

_OLDEST: Final = (3, 10)
_MOST_HASHES: Final = 2


@dataclass(frozen=True, slots=True)
class Stage:
    """What a broker does with a feature from a version on. `note`: more of it, for people."""

    since: tuple[int, ...]
    support: Support
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """Something that not every broker does.

    Attributes:
        code: its name.
        field: of the spec that asks for it, empty for what no spec asks for.
        what: it is, for people.
        stages: by product, the oldest version first. Amazon MQ is RabbitMQ but for what stands here.
        instead: what to do where it is not to be had.
        answer: what a broker's refusal says of it and of nothing else.
        in_queue: whether a queue asks for it.
        in_binding: whether a binding from an exchange asks for it.
    """

    code: str
    field: str = ""
    what: str
    stages: Mapping[str, Sequence[Stage]]
    instead: str
    answer: str | None = None
    in_queue: Callable[[QueueSpec], bool] = lambda _: False
    in_binding: Callable[[ExchangeSpec, BindingSpec], bool] = lambda *_: False

    def stage_of(self, broker: BrokerFacts) -> Stage | None:
        """Return what a broker does with it, None if that is not known."""
        known = self.stages.get(broker.product)
        if known is None and broker.product == AMAZON_MQ:
            known = self.stages.get(RABBITMQ)
        return next((stage for stage in reversed(known or ()) if broker.is_from(stage.since)), None)


@dataclass(frozen=True, slots=True)
class Limit:
    """A feature that is asked for, and that a broker does not take."""

    feature: Feature
    stage: Stage
    broker: BrokerFacts

    def __str__(self) -> str:
        feature, note = self.feature, f" ({self.stage.note})" if self.stage.note else ""
        return f"{feature.field}: {self.broker} {_VERBS[self.stage.support]} {feature.what}{note}: {feature.instead}"


def limits_of_queue(queue: QueueSpec, broker: BrokerFacts) -> Iterator[Limit]:
    """Yield what a broker does not take of a queue, its bindings apart."""
    for feature in FEATURES:
        if feature.in_queue(queue):
            yield from _limit(feature, broker)


def limits_of_binding(source: ExchangeSpec, binding: BindingSpec, broker: BrokerFacts) -> Iterator[Limit]:
    """Yield what a broker does not take of a binding from an exchange."""
    for feature in FEATURES:
        if feature.in_binding(source, binding):
            yield from _limit(feature, broker)


def _limit(feature: Feature, broker: BrokerFacts) -> Iterator[Limit]:
    stage = feature.stage_of(broker)
    if stage is not None and stage.support != "taken":
        yield Limit(feature, stage, broker)


def has(feature: Feature, broker: BrokerFacts | None) -> bool:
    """Return whether a broker is known to have a feature."""
    stage = None if broker is None else feature.stage_of(broker)
    return stage is not None and stage.support == "taken"


def feature_refused(answer: str) -> Feature | None:
    """Return the feature that a broker's refusal is about, None if it names none that is known."""
    return next((feature for feature in FEATURES if feature.answer is not None and feature.answer in answer), None)


def _is_classic(queue: QueueSpec) -> bool:
    return queue.queue_type == "classic"


def _argument(*names: str, of: str) -> Callable[[QueueSpec], bool]:
    return lambda queue: queue.queue_type == of and not queue.arguments.keys().isdisjoint(names)


RETURNS_UNCOUNTED: Final = Feature(
    code="returns_uncounted",
    what="returning a message to a quorum queue by basic.nack without a failed delivery",
    stages={RABBITMQ: (Stage(_OLDEST, "ignored", "it counts"), Stage((4, 3), "taken"))},
    instead="nothing: a worker returns messages early only where that costs nothing",
)

FEATURES: Final[tuple[Feature, ...]] = (
    Feature(
        code="transient_queue",
        field="durable",
        what="a queue that is neither durable nor exclusive",
        stages={
            RABBITMQ: (
                Stage(_OLDEST, "taken"),
                Stage((4, 3), "denied", "deprecated_features.permit.transient_nonexcl_queues, as in Debian's package"),
            ),
            AMAZON_MQ: (Stage(_OLDEST, "taken"), Stage((4, 3), "refused")),
            LAVINMQ: (Stage((0,), "taken"),),
        },
        instead="use exclusive=True, or durable=True with expires=",
        answer="transient_nonexcl_queues",
        in_queue=lambda queue: not queue.durable and not queue.exclusive,
    ),
    Feature(
        code="binding_of_many_hashes",
        field="binding_key",
        what="a topic binding with more than two `#`",
        stages={RABBITMQ: (Stage(_OLDEST, "taken"), Stage((4, 3, 5), "refused"))},
        instead="bind the key up to its second `#`, and let handlers choose, whose patterns may have any number",
        answer="'#' wildcards",
        in_binding=lambda source, binding: (
            source.type == "topic" and binding.binding_key.split(".").count("#") > _MOST_HASHES
        ),
    ),
    Feature(
        code="quorum_queue",
        field="type",
        what="a quorum queue",
        stages={
            RABBITMQ: (Stage(_OLDEST, "taken"),),
            LAVINMQ: (
                Stage(
                    (0,),
                    "ignored",
                    "it makes a queue that its own cluster replicates, whose dead letters are at-most-once and whose "
                    "delivery_limit counts each delivery",
                ),
            ),
        },
        instead="use type='classic', which says what you get",
        in_queue=lambda queue: queue.queue_type == "quorum",
    ),
    Feature(
        code="stream",
        field="type",
        what="a stream",
        stages={
            RABBITMQ: (Stage(_OLDEST, "taken"),),
            AMAZON_MQ: (Stage(_OLDEST, "refused", "its data may be lost"),),
            LAVINMQ: (Stage((0,), "taken"),),
        },
        instead="use a queue",
        in_queue=lambda queue: queue.queue_type == "stream",
    ),
    Feature(
        code="queue_mode",
        field="arguments",
        what="x-queue-mode of a classic queue",
        stages={RABBITMQ: (Stage(_OLDEST, "taken"), Stage((3, 12), "ignored", "every classic queue is lazy"))},
        instead="leave it out",
        in_queue=_argument("x-queue-mode", of="classic"),
    ),
    Feature(
        code="queue_version",
        field="arguments",
        what="x-queue-version of a classic queue other than 2",
        stages={RABBITMQ: (Stage(_OLDEST, "taken"), Stage((4, 3), "refused"))},
        instead="leave it out",
        in_queue=lambda queue: _is_classic(queue) and queue.arguments.get("x-queue-version", 2) != 2,
    ),
    Feature(
        code="queue_master_locator",
        field="arguments",
        what="x-queue-master-locator of a classic queue",
        stages={
            RABBITMQ: (
                Stage(_OLDEST, "taken"),
                Stage((4, 3), "denied", "deprecated_features.permit.queue_master_locator"),
            )
        },
        instead="leave it out, or use x-queue-leader-locator where every node is of 4.0 or newer",
        answer="queue_master_locator",
        in_queue=_argument("x-queue-master-locator", of="classic"),
    ),
    Feature(
        code="classic_leader_locator",
        field="arguments",
        what="x-queue-leader-locator of a classic queue",
        stages={RABBITMQ: (Stage(_OLDEST, "refused"), Stage((4, 0), "taken"))},
        instead="leave it out, or use x-queue-master-locator",
        in_queue=_argument("x-queue-leader-locator", of="classic"),
    ),
    Feature(
        code="classic_consumer_timeout",
        field="arguments",
        what="x-consumer-timeout of a classic queue",
        stages={
            RABBITMQ: (
                Stage(_OLDEST, "ignored"),
                Stage((3, 12), "taken"),
                Stage((4, 3), "refused", "its consumers are not timed"),
            )
        },
        instead="leave it out",
        in_queue=_argument("x-consumer-timeout", of="classic"),
    ),
    Feature(
        code="quorum_consumer_timeout",
        field="arguments",
        what="x-consumer-timeout of a quorum queue",
        stages={RABBITMQ: (Stage(_OLDEST, "ignored"), Stage((3, 12), "taken"))},
        instead="leave it out, and have consumer_timeout set in the broker's configuration",
        in_queue=_argument("x-consumer-timeout", of="quorum"),
    ),
    Feature(
        code="delayed_retry",
        field="arguments",
        what="x-delayed-retry-... of a quorum queue",
        stages={RABBITMQ: (Stage(_OLDEST, "ignored"), Stage((4, 3), "taken"))},
        instead="leave it out, and use retry=, which needs no version",
        in_queue=_argument("x-delayed-retry-type", "x-delayed-retry-min", "x-delayed-retry-max", of="quorum"),
    ),
    Feature(
        code="memory_limits",
        field="arguments",
        what="x-max-in-memory-length and x-max-in-memory-bytes of a quorum queue",
        stages={RABBITMQ: (Stage(_OLDEST, "ignored", "its messages are on disk"),)},
        instead="leave it out",
        in_queue=_argument("x-max-in-memory-length", "x-max-in-memory-bytes", of="quorum"),
    ),
    Feature(
        code="quorum_priorities",
        what="priorities of messages in a quorum queue",
        stages={
            RABBITMQ: (
                Stage(_OLDEST, "ignored"),
                Stage((4, 0), "taken", "two: those above 4 get two turns of three"),
                Stage((4, 3), "taken", "32, strictly: 0 to 31"),
            )
        },
        instead="use type='classic' and max_priority=",
    ),
    RETURNS_UNCOUNTED,
    Feature(
        code="passive_declare",
        what="looking whether a queue or exchange is there (a passive declare), without any right to it",
        stages={
            RABBITMQ: (
                Stage(_OLDEST, "taken"),
                Stage((4, 2, 6), "refused", "the right to configure it is needed"),
                Stage((4, 2, 7), "refused", "one right to it is enough"),
                Stage((4, 3, 0), "refused", "the right to configure it is needed"),
                Stage((4, 3, 1), "refused", "one right to it is enough"),
            )
        },
        instead="grant a right, or go on without: what cannot be looked at is not taken for missing",
    ),
    Feature(
        code="classic_timeout",
        what="taking back what a consumer of a classic queue holds for longer than consumer_timeout",
        stages={RABBITMQ: (Stage(_OLDEST, "taken"), Stage((4, 3), "ignored", "quorum queues only"))},
        instead="give handlers a timeout=",
    ),
    Feature(
        code="line_of_single_active",
        what="the consumer that came first is next in line for a quorum queue with single_active_consumer",
        stages={RABBITMQ: (Stage(_OLDEST, "taken"), Stage((4, 0), "ignored", "the one with the largest prefetch is"))},
        instead="give every worker of such a queue the same prefetch=: each then keeps its place",
    ),
    Feature(
        code="global_prefetch",
        what="a prefetch for a whole channel (global)",
        stages={
            RABBITMQ: (
                Stage(_OLDEST, "taken", "not with quorum queues"),
                Stage((4, 3), "ignored", "it is each consumer's"),
            ),
            AMAZON_MQ: (Stage(_OLDEST, "taken", "not with quorum queues"), Stage((4, 3), "refused")),
        },
        instead="nothing: this library never asks for it",
    ),
)
"""The first ones are those that a spec can ask for."""

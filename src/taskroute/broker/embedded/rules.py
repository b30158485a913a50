"""Rules: what the versions of RabbitMQ do differently, as a table. The model reads it and asks for no version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from taskroute.broker.embedded.queue_arguments import ARGUMENTS, Arguments
from taskroute.broker.embedded.refusal import COMMAND_INVALID, PRECONDITION_FAILED
from taskroute.broker.url import Version

Return = Literal["nack", "reject", "recover", "lost"]
"""How a delivery comes back: put back by its consumer, or its channel is closed."""

Levels = Literal[1, 2, 32]
"""How many priorities a quorum queue tells apart; two are served two to one, 32 strictly."""

Rejection = Literal["nack", "reject"]
"""How a consumer gives up a delivery."""

_ANY: Final[frozenset[Return]] = frozenset(("nack", "reject", "recover", "lost"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one version."""

    release: str
    """The release that stands for the version, as its connections name it."""

    arguments: Arguments
    """Of queues."""
    has_transient_queues: bool
    """Whether a queue that is neither durable nor exclusive can be declared."""
    most_hashes: int | None
    """How many ``#`` a topic binding key may have; None: any number."""
    global_prefetch: bool
    """Whether a ``global`` prefetch is taken, and counts for each consumer. Before, it is the channel's."""
    unknown_exchange_type: int
    """What an exchange of an unknown type is refused with."""
    tells_number_types: bool
    """Whether ``1`` and ``1.0`` are different headers to a headers exchange."""

    delivery_limit: int | None
    """Of a quorum queue that names none."""
    negative_limit_is_none: bool
    """Whether a delivery limit below zero is none. Before, everything that comes back has passed it."""
    requeues_last_without_limit: bool
    """Whether what is put back into a quorum queue without a limit goes behind all others."""
    failing_returns: frozenset[Return]
    """Which ways of coming back to a quorum queue count as a failed delivery."""
    limits_returns: bool
    """Whether a delivery limit counts every return. Otherwise it counts failed deliveries."""
    get_tells_zero: bool
    """Whether basic.get from a quorum queue tells of 0 failed deliveries."""
    has_acquired_count: bool
    """Whether ``x-acquired-count`` counts the returns, and ``x-delivery-count`` the failed deliveries alone."""
    failing_rejections: tuple[Rejection, ...]
    """Which rejections are failed deliveries, too."""
    carrying_queues: tuple[str, ...]
    """The types of queue whose dead letters go on counting failed deliveries."""
    quorum_levels: Levels
    """Priorities that a quorum queue tells apart."""
    turns_dropped: bool
    """Whether what a quorum queue drops at once for its limits is dead-lettered the last one first."""
    loses_by_tag: bool
    """Whether a quorum queue takes back what a channel has lost by consumer tag. Otherwise the consumer that started
    first comes first, and basic.get last. What it gives to several consumers at once it sorts in the same way."""
    waits_by_prefetch: bool
    """Whether those who wait to be the single active consumer of a quorum queue do so by their prefetch."""
    limits_room: bool
    """Whether a consumer of a quorum queue that has taken over more than its prefetch never has room for more."""

    rewrites_expiration: bool
    """Whether a message's `expiration` arrives as the number that it is: ``60000`` for ``+60000``."""
    has_own_deaths: bool
    """Whether the broker remembers the deaths of a message. Before, it reads them from ``x-death``, and believes a
    publisher's own."""
    tells_last_death: bool
    """Whether a dead letter has headers ``x-last-death-...``."""
    turns_x_death: bool
    """Whether each death turns the older entries of ``x-death`` around."""
    keeps_cc: bool
    """Whether a dead letter under a key of its queue's own keeps the header ``CC``, which is not followed."""


RULES: Final[Mapping[Version, Rules]] = {
    "3.10": Rules(
        release="3.10.8",
        arguments=ARGUMENTS["3.10"],
        has_transient_queues=True,
        most_hashes=None,
        global_prefetch=False,
        unknown_exchange_type=COMMAND_INVALID,
        tells_number_types=False,
        delivery_limit=None,
        negative_limit_is_none=False,
        requeues_last_without_limit=True,
        failing_returns=_ANY,
        limits_returns=False,
        get_tells_zero=True,
        has_acquired_count=False,
        failing_rejections=(),
        carrying_queues=(),
        quorum_levels=1,
        turns_dropped=True,
        loses_by_tag=True,
        waits_by_prefetch=False,
        limits_room=False,
        rewrites_expiration=False,
        has_own_deaths=False,
        tells_last_death=False,
        turns_x_death=True,
        keeps_cc=False,
    ),
    "3.13": Rules(
        release="3.13.7",
        arguments=ARGUMENTS["3.10"],
        has_transient_queues=True,
        most_hashes=None,
        global_prefetch=False,
        unknown_exchange_type=COMMAND_INVALID,
        tells_number_types=False,
        delivery_limit=None,
        negative_limit_is_none=False,
        requeues_last_without_limit=True,
        failing_returns=_ANY,
        limits_returns=False,
        get_tells_zero=True,
        has_acquired_count=False,
        failing_rejections=(),
        carrying_queues=(),
        quorum_levels=1,
        turns_dropped=True,
        loses_by_tag=True,
        waits_by_prefetch=False,
        limits_room=True,
        rewrites_expiration=False,
        has_own_deaths=False,
        tells_last_death=False,
        turns_x_death=True,
        keeps_cc=False,
    ),
    "4.0": Rules(
        release="4.0.5",
        arguments=ARGUMENTS["4.0"],
        has_transient_queues=True,
        most_hashes=None,
        global_prefetch=False,
        unknown_exchange_type=PRECONDITION_FAILED,
        tells_number_types=True,
        delivery_limit=20,
        negative_limit_is_none=True,
        requeues_last_without_limit=True,
        failing_returns=frozenset({"lost"}),
        limits_returns=True,
        get_tells_zero=False,
        has_acquired_count=False,
        failing_rejections=("nack", "reject"),
        carrying_queues=("quorum",),
        quorum_levels=2,
        turns_dropped=True,
        loses_by_tag=False,
        waits_by_prefetch=True,
        limits_room=True,
        rewrites_expiration=True,
        has_own_deaths=True,
        tells_last_death=True,
        turns_x_death=False,
        keeps_cc=True,
    ),
    "4.3": Rules(
        release="4.3.6",
        arguments=ARGUMENTS["4.3"],
        has_transient_queues=False,
        most_hashes=2,
        global_prefetch=True,
        unknown_exchange_type=PRECONDITION_FAILED,
        tells_number_types=True,
        delivery_limit=20,
        negative_limit_is_none=True,
        requeues_last_without_limit=False,
        failing_returns=frozenset({"reject", "lost"}),
        limits_returns=False,
        get_tells_zero=False,
        has_acquired_count=True,
        failing_rejections=("reject",),
        carrying_queues=("quorum", "classic"),
        quorum_levels=32,
        turns_dropped=False,
        loses_by_tag=False,
        waits_by_prefetch=True,
        limits_room=True,
        rewrites_expiration=True,
        has_own_deaths=True,
        tells_last_death=True,
        turns_x_death=False,
        keeps_cc=True,
    ),
}

NEWEST: Final = RULES["4.3"]
"""What an embedded broker follows for which nobody names a version."""

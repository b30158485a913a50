"""Rules: what the versions of RabbitMQ do differently, as a table. The model reads it and asks for no version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from taskroute.broker.url import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The rules of one version."""

    release: str
    """The release that stands for the version, as its connections name it."""

    has_transient_queues: bool
    """Whether a queue that is neither durable nor exclusive can be declared."""
    most_hashes: int | None
    """How many ``#`` a topic binding key may have; None: any number."""
    global_prefetch: bool
    """Whether a ``global`` prefetch is taken, and counts for each consumer. Before, it is the channel's."""
    tells_number_types: bool
    """Whether ``1`` and ``1.0`` are different headers to a headers exchange."""

    delivery_limit: int | None
    """Of a quorum queue that names none."""
    nack_counts: bool
    """Whether what basic.nack puts back into a quorum queue has failed a delivery, as with basic.reject."""

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
        has_transient_queues=True,
        most_hashes=None,
        global_prefetch=False,
        tells_number_types=False,
        delivery_limit=None,
        nack_counts=True,
        has_own_deaths=False,
        tells_last_death=False,
        turns_x_death=True,
        keeps_cc=False,
    ),
    "3.13": Rules(
        release="3.13.7",
        has_transient_queues=True,
        most_hashes=None,
        global_prefetch=False,
        tells_number_types=False,
        delivery_limit=None,
        nack_counts=True,
        has_own_deaths=False,
        tells_last_death=False,
        turns_x_death=True,
        keeps_cc=False,
    ),
    "4.0": Rules(
        release="4.0.5",
        has_transient_queues=True,
        most_hashes=None,
        global_prefetch=False,
        tells_number_types=True,
        delivery_limit=20,
        nack_counts=True,
        has_own_deaths=True,
        tells_last_death=True,
        turns_x_death=False,
        keeps_cc=True,
    ),
    "4.3": Rules(
        release="4.3.6",
        has_transient_queues=False,
        most_hashes=2,
        global_prefetch=True,
        tells_number_types=True,
        delivery_limit=20,
        nack_counts=False,
        has_own_deaths=True,
        tells_last_death=True,
        turns_x_death=False,
        keeps_cc=True,
    ),
}

NEWEST: Final = RULES["4.3"]
"""What an embedded broker follows for which nobody names a version."""

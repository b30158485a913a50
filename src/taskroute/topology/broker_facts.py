"""BrokerFacts: which broker it is, and of which version, as its connection says or as a person names it. Pure."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.quoting import printable, shorten

RABBITMQ: Final = "RabbitMQ"
LAVINMQ: Final = "LavinMQ"
AMAZON_MQ: Final = "Amazon MQ"
"""It calls itself RabbitMQ: only a person can name it."""

_NUMBERS: Final = re.compile(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?")
_NAMED: Final = re.compile(
    rf"(?:({RABBITMQ}|{LAVINMQ}|{AMAZON_MQ})\s+)?(\d+(?:\.\d+){{0,2}}(?:[-+~.][\w.+-]+)?)", re.IGNORECASE
)


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """A broker's product and version.

    Args:
        product: ``RabbitMQ``, ``LavinMQ``, ``Amazon MQ`` (whose connections say ``RabbitMQ``), or whatever it says.
        version: whatever it says, such as ``4.3.6``.

    Example:
        >>> print(BrokerFacts("RabbitMQ", "4.3.6"))
        RabbitMQ 4.3.6
    """

    product: str
    version: str

    def __str__(self) -> str:
        return f"{self.product} {self.version}"

    @property
    def numbers(self) -> tuple[int, ...]:
        """The first three numbers of the version, or as many as it has.

        >>> BrokerFacts("RabbitMQ", "4.3.0-rc.1").numbers
        (4, 3, 0)
        """
        found = _NUMBERS.match(self.version)
        return tuple(int(number) for number in found.groups() if number is not None) if found else ()

    def is_from(self, since: tuple[int, ...]) -> bool:
        """Return whether it is a version, or a later one. 4.3 stands for the newest 4.3.x that there is.

        >>> BrokerFacts("RabbitMQ", "4.3").is_from((4, 3, 5)), BrokerFacts("RabbitMQ", "4.3.4").is_from((4, 3, 5))
        (True, False)
        """
        return bool(self.numbers) and (*self.numbers, math.inf) >= since


def facts_of(properties: Mapping[str, Any]) -> BrokerFacts | None:
    """Return what the properties of a connection say of its broker, None if they do not name it."""
    product, version = properties.get("product"), properties.get("version")
    return BrokerFacts(printable(str(product)), printable(str(version))) if product and version else None


def facts_named(broker: BrokerFacts | str) -> BrokerFacts:
    """Return the facts of a broker that a person names: ``4.3`` is RabbitMQ's, others are ``LavinMQ 2.9``.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if isinstance(broker, BrokerFacts):
        return broker
    found = _NAMED.fullmatch(broker.strip()) if isinstance(broker, str) else None
    if found is None:
        raise ConfigurationError(
            f"broker={shorten(str(broker))} names no broker: write '4.3' for RabbitMQ's version, "
            f"'{LAVINMQ} 2.9' or '{AMAZON_MQ} 4.2'"
        )
    named = (found[1] or RABBITMQ).lower()
    product = next(each for each in (RABBITMQ, LAVINMQ, AMAZON_MQ) if each.lower() == named)
    return BrokerFacts(product, found[2])


class Met(NamedTuple):
    """The brokers that a client has met: the one that it is connected to, or was last, and the lowest version."""

    now: BrokerFacts | None = None
    lowest: BrokerFacts | None = None

    def meeting(self, broker: BrokerFacts | None) -> "Met":
        """Return the same with one that it has connected to."""
        return Met(broker, lowest(self.lowest, broker))


def lowest(one: BrokerFacts | None, other: BrokerFacts | None) -> BrokerFacts | None:
    """Return the lower version of two brokers, `other` if they cannot be compared, and the one that is known."""
    if one is None or other is None:
        return other or one
    return one if one.product == other.product and one.numbers < other.numbers else other

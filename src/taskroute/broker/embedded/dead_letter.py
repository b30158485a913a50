"""A message on its way to a dead-letter exchange: its new headers and keys. Pure; `dead_lettering` places it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.broker.embedded.rules import Rules

Reason = Literal["rejected", "expired", "maxlen", "delivery_limit"]
Death = Mapping[str, object]

_DEATHS: Final = "x-death"


def dead_letter(
    message: StoredMessage,
    *,
    queue: str,
    reason: Reason,
    at: datetime,
    exchange: str,
    routing_key: str | None,
    rules: Rules,
) -> StoredMessage:
    """Return the message that goes to the dead-letter exchange, by RabbitMQ's rules.

    With a routing key of the queue (``x-dead-letter-routing-key``) ``CC`` is not followed; without one the message
    keeps every key that it had, ``BCC`` included. Its expiration is dropped, so that it does not expire again.
    """
    headers = dict(message.headers)
    known = _known_deaths(message, rules)
    deaths = _with_death(known, _death(message, queue, reason, at), rules)
    if rules.tells_last_death:
        headers |= _told("last", reason, queue, message.exchange)
    if not known and (rules.has_own_deaths or _DEATHS not in headers):
        headers |= _told("first", reason, queue, message.exchange)
    headers[_DEATHS] = deaths
    key, copy_keys = message.routing_key, message.copy_keys
    if routing_key is not None:
        key, copy_keys = routing_key, ()
        if not rules.keeps_cc:
            headers.pop("CC", None)
    properties = {name: value for name, value in message.properties.items() if name != "expiration"}
    properties["application_headers"] = headers
    return message._replace(
        exchange=exchange, routing_key=key, properties=properties, copy_keys=copy_keys, deaths=tuple(deaths)
    )


def is_cycle(letter: StoredMessage, queue: str, rules: Rules) -> bool:
    """Return whether a dead letter would come back to `queue` without a rejection on the way: RabbitMQ drops it."""
    deaths = _known_deaths(letter, rules)
    for at, death in enumerate(deaths):
        if death.get("queue") == queue:
            return all(earlier.get("reason") != "rejected" for earlier in deaths[: at + 1])
    return False


def _death(message: StoredMessage, queue: str, reason: Reason, at: datetime) -> Death:
    death: dict[str, object] = {
        "count": 1,
        "reason": reason,
        "queue": queue,
        "time": at.replace(microsecond=0, tzinfo=None),
        "exchange": message.exchange,
        "routing-keys": [message.routing_key, *message.cc],
    }
    if "expiration" in message.properties:
        death["original-expiration"] = message.properties["expiration"]
    return death


def _told(which: Literal["first", "last"], reason: Reason, queue: str, exchange: str) -> dict[str, object]:
    """Return the headers that tell of one death."""
    start = f"x-{which}-death-"
    return {f"{start}reason": reason, f"{start}queue": queue, f"{start}exchange": exchange}


def _with_death(known: Sequence[Death], death: Death, rules: Rules) -> list[Death]:
    """Put the newest death first. Another one in the same queue for the same reason adds to its count."""
    again = next((one for one in known if _is_same(one, death)), None)
    if again is not None:
        count = again.get("count")
        death = {**again, "count": count + 1 if isinstance(count, int) else 1}
    others = [one for one in known if not _is_same(one, death)]
    return [death, *(reversed(others) if rules.turns_x_death else others)]


def _is_same(known: Death, death: Death) -> bool:
    return all(known.get(name) == death[name] for name in ("queue", "reason"))


def _known_deaths(message: StoredMessage, rules: Rules) -> Sequence[Death]:
    """Return the deaths that count. The header may hold anything: a publisher can write it."""
    if rules.has_own_deaths:
        return message.deaths
    deaths = message.headers.get(_DEATHS)
    return [death for death in deaths if isinstance(death, Mapping)] if isinstance(deaths, list) else []

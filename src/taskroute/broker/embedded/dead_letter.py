"""A message on its way to a dead-letter exchange: its new headers and keys. Pure; `dead_lettering` places it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.topology.routing import all_routing_keys

Reason = Literal["rejected", "expired", "maxlen", "delivery_limit"]

_DEATHS: Final = "x-death"


def dead_letter(
    message: StoredMessage, *, queue: str, reason: Reason, at: datetime, exchange: str, routing_key: str | None
) -> StoredMessage:
    """Return the message that goes to the dead-letter exchange, by RabbitMQ's rules.

    With a routing key of the queue (``x-dead-letter-routing-key``) ``CC`` is dropped; without one the message keeps
    every key that it had, ``BCC`` included. Its expiration is dropped, so that it does not expire again.
    """
    headers = dict(message.headers)
    death = _death(message, queue, reason, at)
    _add_death(headers, death)
    key, copy_keys = message.routing_key, message.copy_keys
    if routing_key is not None:
        headers.pop("CC", None)
        key, copy_keys = routing_key, ()
    properties = {name: value for name, value in message.properties.items() if name != "expiration"}
    properties["application_headers"] = headers
    return StoredMessage(exchange, key, message.body, properties, copy_keys)


def is_cycle(message: StoredMessage, queue: str) -> bool:
    """Return whether a dead letter would come back to `queue` without a rejection on the way: RabbitMQ drops it."""
    deaths = [death for death in _deaths(message.headers) if isinstance(death, Mapping)]
    for at, death in enumerate(deaths):
        if death.get("queue") == queue:
            return all(earlier.get("reason") != "rejected" for earlier in deaths[: at + 1])
    return False


def _death(message: StoredMessage, queue: str, reason: Reason, at: datetime) -> dict[str, object]:
    keys = all_routing_keys(message.routing_key, message.headers)
    death: dict[str, object] = {
        "count": 1,
        "reason": reason,
        "queue": queue,
        "time": at.replace(microsecond=0, tzinfo=None),
        "exchange": message.exchange,
        "routing-keys": list(keys),
    }
    if "expiration" in message.properties:
        death["original-expiration"] = message.properties["expiration"]
    return death


def _add_death(headers: dict[str, object], death: dict[str, object]) -> None:
    """Put the newest death first. Another one in the same queue for the same reason adds to its count."""
    if _DEATHS not in headers:
        for name in ("reason", "queue", "exchange"):
            headers[f"x-first-death-{name}"] = death[name]
    deaths = _deaths(headers)
    again = [known for known in deaths if _is_same(known, death)]
    if again and isinstance(again[0], Mapping):
        count = again[0].get("count")
        death = {**again[0], "count": count + 1 if isinstance(count, int) else 1}
    headers[_DEATHS] = [death, *(known for known in deaths if not _is_same(known, death))]


def _is_same(known: object, death: Mapping[str, object]) -> bool:
    return isinstance(known, Mapping) and all(known.get(name) == death[name] for name in ("queue", "reason"))


def _deaths(headers: Mapping[str, object]) -> list[object]:
    """Return the list of deaths. The header may hold anything: a publisher can write it."""
    deaths = headers.get(_DEATHS)
    return list(deaths) if isinstance(deaths, list) else []

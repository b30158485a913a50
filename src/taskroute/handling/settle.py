"""Settle: what the broker is told about a delivery, given how its handling ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from taskroute.handling.retry import next_delay
from taskroute.message import headers as names
from taskroute.message.delivery import Delivery
from taskroute.message.origin import Origin, origin_of, replays_in
from taskroute.message.outcome import Failed, Handled, Outcome, Reason
from taskroute.quoting import escaped
from taskroute.topology.queue import QueueSpec

MAX_ERROR_LENGTH: Final = 500

_BROKERS_OWN: Final = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_NOT_COPIED: Final = {"CC": "cc", "BCC": "bcc"}
_PERSISTENT: Final = 2


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge. `dropped` is the reason when the message failed and its queue keeps no failures."""

    dropped: Failed | None = None


@dataclass(frozen=True, slots=True)
class Republish:
    """Publish to `queue` through the default exchange, await the confirm, and only then acknowledge.

    `delay`: seconds that a retry waits there.
    """

    queue: str
    body: bytes
    properties: Mapping[str, object]
    kind: Literal["retry", "dead_letter"]
    reason: Reason
    delay: float = 0.0


ACK = Ack()


def settle(delivery: Delivery, outcome: Outcome, queue: QueueSpec, now: datetime) -> Ack | Republish:
    """Decide between acknowledging, another attempt and the dead-letter queue.

    Args:
        delivery: as it came.
        outcome: how its handling ended.
        queue: the spec of the queue it came from.
        now: when it failed, in UTC.
    """
    if isinstance(outcome, Handled):
        return ACK
    delay = next_delay(delivery, outcome, queue)
    if delay is not None:
        return _retry(delivery, outcome.reason, queue.wait_queue(delay), delay.total_seconds())
    if queue.dead_letter_queue is None:
        return Ack(dropped=outcome)
    policy = queue.retry_policy
    reason: Reason = "retry_unavailable" if outcome.asked_for_retry and policy is None else outcome.reason
    return _dead_letter(delivery, outcome, reason, queue.dead_letter_queue, now)


def settle_without_retry(failed: Failed, delivery: Delivery, queue: QueueSpec, now: datetime) -> Republish | None:
    """Return what becomes of a delivery whose wait queue is missing, None if it has no dead-letter queue either."""
    if queue.dead_letter_queue is None:
        return None
    return _dead_letter(delivery, failed, "retry_unavailable", queue.dead_letter_queue, now)


def _retry(delivery: Delivery, reason: Reason, wait_queue: str, delay: float) -> Republish:
    headers = _copied_headers(delivery) | {
        names.ATTEMPT: delivery.attempt + 1,
        names.QUEUE: delivery.queue,
        names.EXCHANGE: delivery.exchange,
        names.ROUTING_KEY: delivery.routing_key,
    }
    return Republish(wait_queue, delivery.body, _copied_properties(delivery, headers), "retry", reason, delay)


def _dead_letter(delivery: Delivery, failed: Failed, reason: Reason, queue: str, now: datetime) -> Republish:
    headers = _copied_headers(delivery) | {
        names.REASON: reason,
        names.ERROR: failed.error[:MAX_ERROR_LENGTH],
        names.ATTEMPT: delivery.attempt,
        names.QUEUE: delivery.queue,
        names.EXCHANGE: delivery.exchange,
        names.ROUTING_KEY: delivery.routing_key,
        names.FAILED_AT: now.isoformat(timespec="milliseconds"),
        **_told(failed),
    }
    return Republish(queue, delivery.body, _copied_properties(delivery, headers), "dead_letter", reason)


def _told(failed: Failed) -> Mapping[str, str]:
    """Return the headers that name the handler, and tell of an exception what may be told."""
    told = {names.HANDLER: escaped(failed.handler or "")[:MAX_ERROR_LENGTH]}
    if (raised := failed.raised) is not None:
        told |= {names.ERROR_TEXT: escaped(raised.text)[:MAX_ERROR_LENGTH], names.ERROR_TRACEBACK: raised.traceback}
    return {name: text for name, text in told.items() if text}


def sent_again(
    properties: Mapping[str, object], *, queue: str, exchange: str, routing_key: str, to: str | None = None
) -> Mapping[str, object]:
    """Return the properties with which a dead letter goes back to the queue that it failed in, as a first attempt.

    Args:
        properties: of the letter.
        queue: where it lies.
        exchange: through which it came there, as its delivery says.
        routing_key: the same.
        to: where it goes; left out, the queue that it failed in.
    """
    letter, origin = _letter(properties, queue, exchange, routing_key)
    headers = _copied_headers(letter) | {
        names.ATTEMPT: 1,
        names.QUEUE: to or origin.queue,
        names.EXCHANGE: origin.exchange,
        names.ROUTING_KEY: origin.routing_key,
        names.REPLAYS: origin.replays + 1,
    }
    return _copied_properties(letter, headers)


def put_elsewhere(
    properties: Mapping[str, object], *, queue: str, exchange: str, routing_key: str
) -> Mapping[str, object]:
    """Return the properties with which a dead letter goes to another dead-letter queue, and stays what it is.

    What is believed of it is written down, as the broker's word of it does not go along. Arguments as of `sent_again`.
    """
    letter, origin = _letter(properties, queue, exchange, routing_key)
    told = {
        names.REASON: origin.reason,
        names.ERROR: origin.error,
        names.ERROR_TEXT: origin.error_text,
        names.ERROR_TRACEBACK: origin.error_traceback,
        names.HANDLER: origin.handler,
        names.FAILED_AT: origin.failed_at,
    }
    headers = _copied_headers(letter) | {
        names.ATTEMPT: origin.attempt,
        names.QUEUE: origin.queue,
        names.EXCHANGE: origin.exchange,
        names.ROUTING_KEY: origin.routing_key,
        **{name: text for name, text in told.items() if text},
    }
    return _copied_properties(letter, headers)


def _letter(properties: Mapping[str, object], queue: str, exchange: str, routing_key: str) -> tuple[Delivery, Origin]:
    letter = Delivery(queue=queue, exchange=exchange, routing_key=routing_key, body=b"", properties=properties)
    return letter, origin_of(letter.headers, queue=queue, exchange=exchange, routing_key=routing_key)


def _copied_properties(delivery: Delivery, headers: Mapping[str, object]) -> Mapping[str, object]:
    """The message's properties, without those that would expire it early or close the channel."""
    properties = {name: value for name, value in delivery.properties.items() if name not in ("expiration", "user_id")}
    return {**properties, "application_headers": headers, "delivery_mode": _PERSISTENT}


def _copied_headers(delivery: Delivery) -> dict[str, object]:
    """The message's headers, without those that would route it elsewhere or that only a broker may write."""
    headers = {name: value for name, value in delivery.headers.items() if not _is_reserved(name)}
    return headers | dict(_originals(delivery))


def _is_reserved(name: str) -> bool:
    return name in _NOT_COPIED or name.startswith((names.HEADER_PREFIX, *_BROKERS_OWN))


def _originals(delivery: Delivery) -> Iterator[tuple[str, object]]:
    if delivery.is_retry:  # the broker proves that these are ours
        for name, value in delivery.headers.items():
            if name.startswith(names.ORIGINAL_PREFIX):
                yield name, value
        if replays := replays_in(delivery.headers):
            yield names.REPLAYS, replays
    for header, suffix in _NOT_COPIED.items():
        if header in delivery.headers:
            yield names.ORIGINAL_PREFIX + suffix, delivery.headers[header]
    for prop in ("expiration", "user_id"):
        if prop in delivery.properties:
            yield names.ORIGINAL_PREFIX + prop.replace("_", "-"), delivery.properties[prop]

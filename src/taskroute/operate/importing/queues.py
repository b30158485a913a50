"""Queues that were found, as the fields of specs; wait and dead-letter queues are folded into what they serve. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final, get_args

from taskroute.errors import TopologyError
from taskroute.operate.importing.comparison import difference, same
from taskroute.operate.importing.found import Found, FoundQueue
from taskroute.topology.queue import DEAD_SUFFIX, DEFAULT_DELIVERY_LIMIT, QueueSpec
from taskroute.topology.queue_rules import QueueType
from taskroute.topology.retry_policy import RetryPolicy

Fields = dict[str, Any]

_TYPES: Final = get_args(QueueType)
_WAIT_QUEUE: Final = re.compile(r"(.+)\.retry\.([1-9][0-9]{0,9})", re.DOTALL)
_DEAD_LETTER: Final = ("x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy")
_DURATIONS: Final = {"x-message-ttl": "message_ttl", "x-expires": "expires"}
_FIELDS: Final = {
    "x-max-length": "max_length",
    "x-max-length-bytes": "max_length_bytes",
    "x-max-priority": "max_priority",
    "x-single-active-consumer": "single_active_consumer",
    "x-delivery-limit": "delivery_limit",
}


class QueueAdoption:
    """What becomes of each queue.

    Attributes:
        fields: by name, those of its spec, empty if it has none; and why it is passive or has none, None if it is
            neither.
        folded: the names of those that come with another one.
    """

    def __init__(self, found: Found) -> None:
        self._queues: Final = {queue.name: queue for queue in found.queues}
        self._bound: Final = {
            each.destination for each in found.bindings if each.destination_type == "queue" and each.source
        }
        self._delays: Final = _delays(self._queues)
        self.folded: Final[set[str]] = set()
        self.fields: Final[dict[str, tuple[Fields, str | None]]] = {}
        for queue in sorted(found.queues, key=lambda queue: len(queue.name)):  # a helper's name is the longer one
            if queue.name not in self.folded:
                self.fields[queue.name] = self._adopt(queue)

    def _adopt(self, queue: FoundQueue) -> tuple[Fields, str | None]:
        if queue.name.startswith("amq."):
            return {}, "the broker has named it, for a connection that has it"
        for fields in self._choices(queue):
            try:
                spec = QueueSpec(**fields)
                helpers = list(spec.helper_queues())
            except TopologyError:
                continue
            if _is_declared_so(queue, spec) and all(map(self._is_there, helpers)):
                self.folded.update(helper.name for helper in helpers if self._is_helper(helper))
                return fields, None
        return _passive(queue), _problem(queue)

    def _choices(self, queue: FoundQueue) -> Iterator[Fields]:
        """Yield the fields that may say it, those that say least first."""
        plain = _plain_fields(queue)
        keeps = queue.durable and not queue.auto_delete and queue.type != "stream"  # failed messages, by default
        retries = [*self._retries(queue, keeps), False] if keeps else [*self._retries(queue, keeps), None]
        deads = [
            *([None] if not keeps or queue.name + DEAD_SUFFIX in self._queues else []),
            *_dead_letters(queue),
            False,
        ]
        overflows = [None, queue.arguments["x-overflow"]] if "x-overflow" in queue.arguments else [None]
        for retry, dead, overflow in product(retries, dict.fromkeys(deads), overflows):
            named = {"overflow": overflow, "retry": retry, "dead_letter": dead}
            yield {**plain, **{name: value for name, value in named.items() if value is not None}, **_unknown(queue)}

    def _retries(self, queue: FoundQueue, keeps: bool) -> Iterator[RetryPolicy | None]:
        """Yield the policy whose wait queues are there, None if that is the default."""
        there = [delay for delay in sorted(self._delays[queue.name]) if self._is_helper(_wait_queue(queue, delay))]
        if there:
            policy = RetryPolicy(delays=[_seconds(delay) for delay in there])
            yield None if keeps and policy == RetryPolicy() else policy

    def _is_there(self, helper: QueueSpec) -> bool:
        """Return whether a helper was found; a dead-letter queue may be another one than the default."""
        if self._is_helper(helper):
            return True
        found = self._queues.get(helper.name)
        return found is not None and helper.message_ttl is None and found.type != "stream"

    def _is_helper(self, helper: QueueSpec) -> bool:
        found = self._queues.get(helper.name)
        return found is not None and _is_declared_so(found, helper) and helper.name not in self._bound


_LIFE: Final = ("type", "durable", "auto_delete")


def _delays(names: Mapping[str, object]) -> Mapping[str, Sequence[int]]:
    delays: dict[str, list[int]] = defaultdict(list)
    for name in names:
        if (found := _WAIT_QUEUE.fullmatch(name)) and int(found[2]) < 2**32:
            delays[found[1]].append(int(found[2]))
    return delays


def _wait_queue(queue: FoundQueue, delay: int) -> QueueSpec:
    """Return the wait queue that a queue of this name and type has."""
    kind: QueueType = "quorum" if queue.type == "quorum" else "classic"
    policy = RetryPolicy(delays=[_seconds(delay)])
    (helper,) = QueueSpec(name=queue.name, type=kind, retry=policy, dead_letter=False).helper_queues()
    return helper


def _plain_fields(queue: FoundQueue) -> Fields:
    """Return the fields that an argument each says, and those of its life."""
    fields: Fields = {"name": queue.name}
    is_shared = queue.durable and not queue.auto_delete
    if queue.type in _TYPES and queue.type != ("quorum" if is_shared else "classic"):
        fields["type"] = queue.type
    fields |= {} if queue.durable else {"durable": False}
    fields |= {"auto_delete": True} if queue.auto_delete else {}
    for name, value in queue.arguments.items():
        if name in _DURATIONS:
            fields[_DURATIONS[name]] = _seconds(value)
        elif name in _FIELDS and (name, value) != ("x-delivery-limit", DEFAULT_DELIVERY_LIMIT):
            fields[_FIELDS[name]] = value
    return fields


def _unknown(queue: FoundQueue) -> Fields:
    known = ("x-queue-type", "x-overflow", *_DEAD_LETTER, *_DURATIONS, *_FIELDS)
    arguments = {name: value for name, value in queue.arguments.items() if name not in known}
    return {"arguments": arguments} if arguments else {}


def _seconds(milliseconds: Any) -> Any:
    """Return a duration as a spec takes it, or what is none as it is."""
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return milliseconds
    return milliseconds / 1000 if milliseconds % 1000 else milliseconds // 1000


def _dead_letters(queue: FoundQueue) -> Iterator[str]:
    name = queue.arguments.get("x-dead-letter-routing-key")
    if queue.arguments.get("x-dead-letter-exchange") == "" and isinstance(name, str):
        yield name


def _is_declared_so(queue: FoundQueue, spec: QueueSpec) -> bool:
    life = (spec.durable, spec.auto_delete) == (queue.durable, queue.auto_delete)
    return life and same(_with_type(queue), spec.broker_arguments)


def _with_type(queue: FoundQueue) -> Mapping[str, Any]:
    """Return its arguments; the type may come from the broker's default, and to say it makes no difference."""
    return {**queue.arguments, "x-queue-type": queue.type}


def _passive(queue: FoundQueue) -> Fields:
    """Return the fields of the spec that looks for it, empty if there is none."""
    fields = _plain_fields(queue)
    kept: Fields = {name: fields[name] for name in ("name", *_LIFE) if name in fields}
    kept |= {"passive": True, "retry": False, "dead_letter": False}
    try:
        QueueSpec(**kept)
    except TopologyError:
        return {}
    return kept


def _problem(queue: FoundQueue) -> str:
    """Return why no spec declares it."""
    if queue.type not in _TYPES:
        return f"there is no spec of its type, {queue.type!r}"
    dead = next(_dead_letters(queue), False)
    named: Fields = {"overflow": queue.arguments.get("x-overflow"), "retry": False, "dead_letter": dead}
    try:
        spec = QueueSpec(**{**_plain_fields(queue), **named, **_unknown(queue)})
    except TopologyError as error:
        return str(error).partition(": ")[2]
    return difference(_with_type(queue), spec.broker_arguments) or "a spec of it has other helper queues"

"""What a `QueueSpec` refuses: what a broker would refuse, or accept and ignore. Pure.

A rule is a small generator over one queue that yields "field: reason; way out". Rules know nothing of each other. A
spec reports the first problem only, so their order in the tables decides which one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Final, Literal, Protocol

from taskroute.keys.short_string import MAX_KEY_BYTES, key_problem
from taskroute.topology.retry_policy import RetryPolicy
from taskroute.topology.spec import Value

QueueType = Literal["quorum", "classic", "stream"]
Overflow = Literal["drop-head", "reject-publish", "reject-publish-dlx"]

_TYPED_ARGUMENTS: Final = {
    "x-queue-type": "type",
    "x-message-ttl": "message_ttl",
    "x-expires": "expires",
    "x-max-length": "max_length",
    "x-max-length-bytes": "max_length_bytes",
    "x-overflow": "overflow",
    "x-max-priority": "max_priority",
    "x-single-active-consumer": "single_active_consumer",
    "x-delivery-limit": "delivery_limit",
    "x-dead-letter-exchange": "dead_letter",
    "x-dead-letter-routing-key": "dead_letter",
    "x-dead-letter-strategy": "dead_letter",
}

_ARGUMENTS_OF_ONE_TYPE: Final[Mapping[QueueType, tuple[str, ...]]] = {
    "classic": ("x-queue-mode", "x-queue-version", "x-queue-master-locator"),
    "quorum": (
        "x-quorum-initial-group-size",
        "x-max-in-memory-length",
        "x-max-in-memory-bytes",
        "x-delayed-retry-type",
        "x-delayed-retry-min",
        "x-delayed-retry-max",
        "x-consumer-disconnected-timeout",
    ),
    "stream": ("x-max-age", "x-stream-filter-size-bytes"),
}
"""Every broker refuses or ignores them for a queue of another type."""

_NOT_FOR_STREAMS: Final = (
    "message_ttl",
    "expires",
    "max_length",
    "overflow",
    "max_priority",
    "single_active_consumer",
    "delivery_limit",
    "retry",
    "dead_letter",
)


class _Queue(Protocol):
    """What the rules read of a `QueueSpec`, which itself imports this module."""

    @property
    def name(self) -> str: ...
    @property
    def queue_type(self) -> QueueType: ...
    @property
    def is_shared(self) -> bool: ...
    @property
    def durable(self) -> bool: ...
    @property
    def exclusive(self) -> bool: ...
    @property
    def passive(self) -> bool: ...
    @property
    def max_length(self) -> int | None: ...
    @property
    def max_length_bytes(self) -> int | None: ...
    @property
    def overflow(self) -> Overflow | None: ...
    @property
    def max_priority(self) -> int | None: ...
    @property
    def delivery_limit(self) -> int | None: ...
    @property
    def retry_policy(self) -> RetryPolicy | None: ...
    @property
    def dead_letter(self) -> str | Literal[False] | None: ...
    @property
    def dead_letter_queue(self) -> str | None: ...
    @property
    def replaces(self) -> str | None: ...
    @property
    def after(self) -> Literal["empty"] | None: ...
    @property
    def expires(self) -> timedelta | None: ...
    @property
    def arguments(self) -> Mapping[str, Value]: ...
    def wait_queue(self, delay: timedelta) -> str: ...


Rule = Callable[[_Queue], Iterator[str]]


def problems(queue: _Queue) -> Iterator[str]:
    """Yield what is wrong with the queue, rule by rule."""
    for rule in _RULES:
        yield from rule(queue)


def _unusable_name(queue: _Queue) -> Iterator[str]:
    if problem := key_problem(queue.name, "name"):
        yield f"name: {problem}"
    if queue.name == "":
        yield "name: a queue needs one; the broker would invent a new one at each reconnect"


def _reserved_name(queue: _Queue) -> Iterator[str]:
    if queue.name.startswith("amq.") and not queue.passive:
        yield "name: names that start with amq. are the broker's own; choose another, or passive=True"


def _unusable_dead_letter_name(queue: _Queue) -> Iterator[str]:
    if queue.dead_letter == "":
        yield "dead_letter: a queue needs a name; dead_letter=False switches dead letters off"
    if queue.dead_letter and (problem := key_problem(queue.dead_letter, "name")):
        yield f"dead_letter: {problem}"


def _helper_name_too_long(queue: _Queue) -> Iterator[str]:
    policy = queue.retry_policy
    helpers = [queue.wait_queue(delay) for delay in policy.delays] if policy else []
    for helper in [*helpers, queue.dead_letter_queue or ""]:
        if len(helper.encode()) > MAX_KEY_BYTES:
            yield (
                f"name: with {helper.removeprefix(queue.name)!r} for a helper queue it is longer than "
                f"{MAX_KEY_BYTES} bytes; shorten it, or set retry=False and dead_letter=False"
            )


def _not_for_its_type(queue: _Queue) -> Iterator[str]:
    for rule in _TYPE_PROBLEMS[queue.queue_type]:
        yield from rule(queue)


def _overflow_without_limit(queue: _Queue) -> Iterator[str]:
    limited = queue.max_length is not None or queue.max_length_bytes is not None
    if queue.overflow is not None and not limited:
        yield "overflow: nothing overflows without a limit; set max_length or max_length_bytes"


def _overflow_without_dead_letter_queue(queue: _Queue) -> Iterator[str]:
    if queue.overflow == "reject-publish-dlx" and queue.dead_letter_queue is None:
        yield "overflow: reject-publish-dlx needs a dead-letter queue; set dead_letter, or use 'reject-publish'"


def _its_own_dead_letter_queue(queue: _Queue) -> Iterator[str]:
    if queue.dead_letter == queue.name:
        yield "dead_letter: a queue cannot be its own dead-letter queue; name another, or leave it out"


def _unusable_replaced_name(queue: _Queue) -> Iterator[str]:
    if queue.replaces is None:
        return
    if queue.replaces == "":
        yield "replaces: the older queue has a name; leave it out if there is none"
    if problem := key_problem(queue.replaces, "name"):
        yield f"replaces: {problem}"
    if queue.replaces.startswith("amq."):
        yield "replaces: names that start with amq. are the broker's own; leave it out"
    if queue.replaces == queue.name:
        yield "replaces: a queue cannot replace itself; give it a new name"


def _replacement_that_is_not_ours(queue: _Queue) -> Iterator[str]:
    if queue.replaces is None:
        return
    if queue.passive:
        yield "replaces: someone else owns a passive queue; leave replaces out, or passive"
    if not queue.is_shared or queue.queue_type == "stream":
        yield "replaces: only a queue that keeps work can take another one's place; leave it out"
    if queue.replaces in (queue.dead_letter_queue, *_wait_queues(queue)):
        yield f"replaces: {queue.replaces!r} is declared with this queue; give the older one's name"


def _waiting_for_nothing(queue: _Queue) -> Iterator[str]:
    if queue.after is None:
        return
    if queue.replaces is None:
        yield "after: it says when to begin with a queue that replaces another one; give replaces, or leave it out"
    if queue.expires is not None:
        yield "after: the broker would delete this queue, which expires, while it waits; leave one out"


def _wait_queues(queue: _Queue) -> Iterator[str]:
    policy = queue.retry_policy
    return map(queue.wait_queue, policy.delays if policy else ())


def _argument_that_is_a_field(queue: _Queue) -> Iterator[str]:
    for name in sorted(_TYPED_ARGUMENTS.keys() & queue.arguments.keys()):
        yield f"arguments: {name} is the field {_TYPED_ARGUMENTS[name]}"


def _argument_of_another_type(queue: _Queue) -> Iterator[str]:
    for kind, names in _ARGUMENTS_OF_ONE_TYPE.items():
        for name in names if kind != queue.queue_type else ():
            if name in queue.arguments:
                yield f"arguments: {name} is for a {kind} queue, and this is a {queue.queue_type} one; leave it out"


def _not_shared(queue: _Queue) -> Iterator[str]:
    if not queue.is_shared:
        field = "durable" if not queue.durable else "exclusive" if queue.exclusive else "auto_delete"
        yield f"{field}: a {queue.queue_type} queue is durable and shared; use type='classic', or leave type out"


def _quorum_priorities(queue: _Queue) -> Iterator[str]:
    if queue.max_priority is not None:
        yield (
            "max_priority: a quorum queue takes none: from RabbitMQ 4.0 on it has priorities of its own, without being "
            "asked; leave it out, or use type='classic'"
        )


def _quorum_overflow(queue: _Queue) -> Iterator[str]:
    if queue.overflow == "reject-publish-dlx":
        yield "overflow: a quorum queue takes reject-publish-dlx for drop-head; use 'reject-publish'"


def _classic_delivery_limit(queue: _Queue) -> Iterator[str]:
    if queue.delivery_limit is not None:
        yield "delivery_limit: a classic queue does not count deliveries; use type='quorum'"


def _field_that_a_stream_lacks(queue: _Queue) -> Iterator[str]:
    for name in _NOT_FOR_STREAMS:
        if getattr(queue, name) not in (None, False):
            yield f"{name}: a stream has none; leave it out"


_TYPE_PROBLEMS: Final[Mapping[QueueType, tuple[Rule, ...]]] = {
    "quorum": (_not_shared, _quorum_priorities, _quorum_overflow),
    "classic": (_classic_delivery_limit,),
    "stream": (_not_shared, _field_that_a_stream_lacks),
}

_RULES: Final[tuple[Rule, ...]] = (
    _unusable_name,
    _reserved_name,
    _unusable_dead_letter_name,
    _helper_name_too_long,
    _not_for_its_type,
    _overflow_without_limit,
    _overflow_without_dead_letter_queue,
    _its_own_dead_letter_queue,
    _unusable_replaced_name,
    _replacement_that_is_not_ours,
    _waiting_for_nothing,
    _argument_that_is_a_field,
    _argument_of_another_type,
)

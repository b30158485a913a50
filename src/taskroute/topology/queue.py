"""QueueSpec: a queue, its bindings and the helper queues that are declared with it, as frozen data."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field

from taskroute.exported import exported_by
from taskroute.topology import queue_rules
from taskroute.topology.durations import Duration, PositiveDuration, milliseconds
from taskroute.topology.event_spec import AnyEvent, EventSpec
from taskroute.topology.exchange import BindingSpec
from taskroute.topology.queue_rules import Overflow, QueueType
from taskroute.topology.retry_policy import RetryPolicy
from taskroute.topology.spec import Spec, Table, Value, a_list

DEAD_SUFFIX: Final = ".dead"
DEFAULT_DELIVERY_LIMIT: Final = 20
NO_DELIVERY_LIMIT: Final = 2**31 - 1
"""For dead-letter queues: reading a message and returning it counts as a delivery, and a low limit would drop it."""

_WAIT_SUFFIX: Final = ".retry."


def _name_of(value: object) -> object:
    return value.name if isinstance(value, QueueSpec) else value


def _binding_of(value: object) -> object:
    return value.bind() if isinstance(value, EventSpec) else value


_NoRetries = Annotated[Literal[False], "no retries"]
"""A type of its own: `typing` takes unions of the same members for one, in whichever order the first of them has, and
this order matters."""


@exported_by("taskroute")
class QueueSpec(Spec, frozen=True):
    """A queue, its bindings, and what becomes of messages that fail.

    Args:
        name: at most 255 bytes together with the suffixes of its wait and dead-letter queues.
        bindings: from `ExchangeSpec.bind`; an `EventSpec` stands for the binding that its `bind` returns.
        type: ``quorum``, ``classic`` or ``stream``. Left out: quorum for a durable shared queue, classic for an
            exclusive, auto-delete or transient one.
        durable: survives a restart of the broker. RabbitMQ 4.3 denies a queue that is neither that nor exclusive.
        exclusive: one connection alone uses it, and it is deleted with that connection.
        auto_delete: the broker deletes it with its last consumer.
        message_ttl: seconds or timedelta until an unconsumed message expires.
        expires: seconds or timedelta until the unused queue is deleted.
        max_length: how many messages may be ready.
        max_length_bytes: how many bytes the bodies of ready messages may have together.
        overflow: what happens at the limit. ``drop-head`` drops the oldest message; ``reject-publish`` rejects the new
            one and tells its publisher; ``reject-publish-dlx`` also dead-letters it, in classic queues only. Left out:
            reject-publish for a quorum queue that has a dead-letter queue, otherwise drop-head.
        max_priority: 1 to 255; classic queues only: a quorum queue has priorities of its own from RabbitMQ 4.0 on.
        single_active_consumer: one consumer at a time gets all messages.
        delivery_limit: redeliveries until the broker dead-letters a message; quorum queues only, default 20.
        retry: a `RetryPolicy`; False for none. Left out: the default policy for durable shared queues.
        dead_letter: another queue of the topology (spec or name); False for none. Left out: ``NAME.dead`` for
            durable shared queues.
        replaces: an older queue, by its name, that this one takes the place of: a queue's arguments cannot be changed.
            While that one exists workers consume both with the handlers of this one, and do not bind this one.
        after: ``empty``: this queue is consumed only when the one that it replaces is empty and deleted, so that
            messages keep their order. Left out: both are consumed side by side.
        passive: someone else owns it. It must exist, and is never created, bound or changed.
        arguments: further arguments that have no field here.

    Raises:
        TopologyError: what the broker would refuse or ignore, with the field and the way out.

    Example:
        >>> QueueSpec(name="jobs", max_length=1000, overflow="reject-publish").queue_type
        'quorum'
    """

    _written: ClassVar[str] = "queues=[QueueSpec(name='x')]"

    name: str
    bindings: Annotated[
        tuple[Annotated[BindingSpec, BeforeValidator(_binding_of)], ...], a_list("bindings=[exchange.bind('a.#')]")
    ] = ()
    type: QueueType | None = None
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    message_ttl: Duration | None = None
    expires: PositiveDuration | None = None
    max_length: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    max_length_bytes: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    overflow: Overflow | None = None
    max_priority: Annotated[int, Field(ge=1, le=255)] | None = None
    single_active_consumer: bool = False
    delivery_limit: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    retry: Annotated[_NoRetries | RetryPolicy | None, Field(union_mode="left_to_right")] = None
    dead_letter: Annotated[str | Literal[False] | None, BeforeValidator(_name_of)] = None
    replaces: Annotated[str | None, BeforeValidator(_name_of)] = None
    after: Literal["empty"] | None = None
    passive: bool = False
    arguments: Table = Field(default_factory=dict, validate_default=True)

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str,
            bindings: Iterable[BindingSpec | AnyEvent] = ...,
            type: QueueType | None = ...,  # noqa: A002
            durable: bool = ...,
            exclusive: bool = ...,
            auto_delete: bool = ...,
            message_ttl: timedelta | float | None = ...,
            expires: timedelta | float | None = ...,
            max_length: int | None = ...,
            max_length_bytes: int | None = ...,
            overflow: Overflow | None = ...,
            max_priority: int | None = ...,
            single_active_consumer: bool = ...,
            delivery_limit: int | None = ...,
            retry: RetryPolicy | Literal[False] | None = ...,
            dead_letter: "QueueSpec | str | Literal[False] | None" = ...,
            replaces: "QueueSpec | str | None" = ...,
            after: Literal["empty"] | None = ...,
            passive: bool = ...,
            arguments: Mapping[str, Value] = ...,
        ) -> None: ...

    def __str__(self) -> str:
        return self.name

    def __hash__(self) -> int:
        return hash(("queue", self.name))

    @property
    def is_shared(self) -> bool:
        """Whether it is durable and neither exclusive nor auto-delete, so that it keeps work."""
        return self.durable and not self.exclusive and not self.auto_delete

    @property
    def queue_type(self) -> QueueType:
        """The declared type; left out, quorum for a shared queue and classic for any other."""
        return self.type or ("quorum" if self.is_shared else "classic")

    @property
    def retry_policy(self) -> RetryPolicy | None:
        """The policy in effect, None when failed messages are not tried again."""
        if self.retry is not None:
            return self.retry or None
        return RetryPolicy() if self._keeps_failures else None

    @property
    def dead_letter_queue(self) -> str | None:
        """Name of the queue for messages that failed for good, None when they are dropped and logged."""
        if self.dead_letter is not None:
            return self.dead_letter or None
        return self.name + DEAD_SUFFIX if self._keeps_failures else None

    @property
    def _keeps_failures(self) -> bool:
        return self.is_shared and self.queue_type != "stream"

    def wait_queue(self, delay: timedelta) -> str:
        """Return the name of the queue in which a message of this queue waits for `delay`."""
        return f"{self.name}{_WAIT_SUFFIX}{milliseconds(delay)}"

    def helper_queues(self) -> Iterator["QueueSpec"]:
        """Yield the wait queues and the default dead-letter queue that are declared with this queue."""
        kind: QueueType = "quorum" if self.queue_type == "quorum" else "classic"
        policy = self.retry_policy
        for delay in sorted(set(policy.delays)) if policy else ():
            yield QueueSpec(
                name=self.wait_queue(delay), type=kind, message_ttl=delay, retry=False, dead_letter=self.name
            )
        if self.dead_letter is None and self.dead_letter_queue is not None:
            limit = NO_DELIVERY_LIMIT if kind == "quorum" else None
            yield QueueSpec(
                name=self.dead_letter_queue, type=kind, retry=False, dead_letter=False, delivery_limit=limit
            )

    @property
    def broker_arguments(self) -> Mapping[str, Value]:
        """The arguments of the declaration. Those that decide behaviour are always there, never left to a default."""
        arguments: dict[str, Value] = {**self.arguments, "x-queue-type": self.queue_type}
        numbers = {
            "x-message-ttl": None if self.message_ttl is None else milliseconds(self.message_ttl),
            "x-expires": None if self.expires is None else milliseconds(self.expires),
            "x-max-length": self.max_length,
            "x-max-length-bytes": self.max_length_bytes,
            "x-max-priority": self.max_priority,
        }
        arguments.update({name: number for name, number in numbers.items() if number is not None})
        if self.overflow is not None:
            arguments["x-overflow"] = self.overflow
        if self.single_active_consumer:
            arguments["x-single-active-consumer"] = True
        if self.queue_type == "quorum":
            arguments["x-delivery-limit"] = self.delivery_limit or DEFAULT_DELIVERY_LIMIT
        return {**arguments, **self._dead_letter_arguments()}

    def _dead_letter_arguments(self) -> Mapping[str, Value]:
        if self.dead_letter_queue is None or not self._broker_dead_letters:
            return {}
        arguments: dict[str, Value] = {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.dead_letter_queue,
        }
        if self.queue_type == "quorum":
            # at-least-once needs reject-publish; with any other overflow the broker silently falls back.
            safe = self.overflow in (None, "reject-publish")
            arguments["x-dead-letter-strategy"] = "at-least-once" if safe else "at-most-once"
            if safe:
                arguments["x-overflow"] = "reject-publish"
        return arguments

    @property
    def _broker_dead_letters(self) -> bool:
        """Whether the broker itself dead-letters from here: by delivery limit, expiry or length."""
        bounded = self.max_length is not None or self.max_length_bytes is not None
        drops = bounded and self.overflow != "reject-publish"
        return self.queue_type == "quorum" or self.message_ttl is not None or drops

    def _problems(self) -> Iterator[str]:
        return queue_rules.problems(self)


def wait_queues_of(queue: QueueSpec) -> tuple[str, ...]:
    """Return the names of the queues in which its messages wait for their second, third, ... attempt."""
    policy = queue.retry_policy
    return tuple(map(queue.wait_queue, policy.delays)) if policy else ()

"""QueueSettings: a queue's declaration, read and refused as RabbitMQ does. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from taskroute.broker.embedded.queue_arguments import Arguments
from taskroute.broker.embedded.refusal import INTERNAL_ERROR, NOT_IMPLEMENTED, PRECONDITION_FAILED, Refusal
from taskroute.broker.embedded.rules import Rules

Overflow = Literal["drop-head", "reject-publish", "reject-publish-dlx"]

_READ: Final = (
    "message-ttl",
    "expires",
    "max-length",
    "max-length-bytes",
    "max-priority",
    "overflow",
    "single-active-consumer",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
)
"""The arguments that are fields of the same names; the others have no effect, or are read one by one."""

_DELAYING: Final = ("all", "failed", "returned")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDeclaration:
    """What a client asks for."""

    durable: bool
    exclusive: bool
    auto_delete: bool
    arguments: Mapping[str, object]

    def difference(self, other: QueueDeclaration, arguments: Arguments) -> tuple[str, object, object] | None:
        """Return the first property that a queue and a later declaration of it differ in, and both values."""
        for name in ("durable", "auto_delete"):
            if getattr(self, name) != getattr(other, name):
                return name, getattr(self, name), getattr(other, name)
        kind = self._compared("x-queue-type")
        for name, argument in arguments.items():
            ours, theirs = self._compared(name), other._compared(name)
            if kind in argument.kinds and (type(ours) is not type(theirs) or ours != theirs):
                return name, ours, theirs
        return None

    def _compared(self, name: str) -> object:
        default = "classic" if name == "x-queue-type" else _MISSING
        return self.arguments.get(name, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """A queue's properties. Durations in seconds. `delivery_limit` None: unlimited."""

    declaration: QueueDeclaration
    is_quorum: bool = False
    message_ttl: float | None = None
    expires: float | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    overflow: Overflow = "drop-head"
    max_priority: int = 0
    delivery_limit: int | None = None
    single_active_consumer: bool = False
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    dead_letter_strategy: Literal["at-most-once", "at-least-once"] = "at-most-once"

    @classmethod
    def of(cls, name: str, declaration: QueueDeclaration, rules: Rules) -> Self:
        """Read the declaration of a queue that does not exist yet.

        Raises:
            Refusal: 406 or 541, what RabbitMQ refuses, by its name; 540, what only RabbitMQ has.
        """
        arguments = declaration.arguments
        kind = str(arguments.get("x-queue-type", "classic"))
        _check_arguments(name, kind, arguments, rules)
        _check_transient(name, declaration, rules)
        values: dict[str, Any] = {
            field.replace("-", "_"): arguments[f"x-{field}"] for field in _READ if f"x-{field}" in arguments
        }
        for duration in ("message_ttl", "expires"):
            if duration in values:
                values[duration] /= 1000
        if kind == "quorum":
            values["delivery_limit"] = _delivery_limit(arguments, rules)
            if values.get("overflow") == "reject-publish-dlx":
                del values["overflow"]  # taken, and ignored
        if kind == "quorum":
            _check_properties(name, declaration)
        return cls(declaration=declaration, is_quorum=kind == "quorum", **values)

    @property
    def is_at_least_once(self) -> bool:
        """Whether a dead letter stays until its target has it.

        RabbitMQ ignores the strategy at-least-once unless the overflow is reject-publish.
        """
        return self.dead_letter_strategy == "at-least-once" and self.overflow == "reject-publish"


class _Missing:
    """The value of an argument that is not given, for which None may be given."""

    def __str__(self) -> str:
        return "none"


_MISSING: Final = _Missing()


def _check_arguments(name: str, kind: str, arguments: Mapping[str, object], rules: Rules) -> None:
    for key, value in arguments.items():
        argument = rules.arguments.get(key)
        if argument is None:
            continue
        if kind not in argument.kinds and key != "x-queue-type":
            raise Refusal(PRECONDITION_FAILED, f"invalid arg '{key}' for queue '{name}' of queue type {kind}")
        if not argument.takes(value):
            raise Refusal(argument.code, f"invalid arg '{key}' for queue '{name}': {value!r} is not {argument.wanted}")
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        raise Refusal(PRECONDITION_FAILED, f"invalid arg 'x-dead-letter-routing-key' for queue '{name}': no exchange")
    if kind == "stream":
        raise Refusal(NOT_IMPLEMENTED, f"the embedded broker has no streams (queue '{name}')")
    if "x-delayed-retry-type" in rules.arguments and arguments.get("x-delayed-retry-type") in _DELAYING:
        raise Refusal(NOT_IMPLEMENTED, f"the embedded broker delays no retries: x-delayed-retry-type (queue '{name}')")


def _check_transient(name: str, declaration: QueueDeclaration, rules: Rules) -> None:
    if not (declaration.durable or declaration.exclusive or rules.has_transient_queues):
        raise Refusal(
            INTERNAL_ERROR,
            f"Feature `transient_nonexcl_queues` is deprecated, and not permitted by default in RabbitMQ "
            f"{rules.release}: declare the queue '{name}' durable or exclusive",
        )


def _check_properties(name: str, declaration: QueueDeclaration) -> None:
    """Check that a quorum queue is durable, shared and stays."""
    wrong = {
        "non-durable": not declaration.durable,
        "exclusive-owner": declaration.exclusive,
        "auto-delete": declaration.auto_delete,
    }
    for what, is_so in wrong.items():
        if is_so:
            raise Refusal(PRECONDITION_FAILED, f"invalid property '{what}' for queue '{name}'")


def _delivery_limit(arguments: Mapping[str, object], rules: Rules) -> int | None:
    """Return the limit of a quorum queue. RabbitMQ takes any value, and to what is no number no count comes up."""
    limit = arguments.get("x-delivery-limit", rules.delivery_limit)
    if limit is None and "x-delivery-limit" not in arguments:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool):
        return sys.maxsize
    return None if limit < 0 and rules.negative_limit_is_none else limit

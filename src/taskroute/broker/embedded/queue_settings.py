"""QueueSettings: a queue's declaration, read and refused as RabbitMQ does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

from taskroute.broker.embedded.refusal import NOT_IMPLEMENTED, PRECONDITION_FAILED, Refusal
from taskroute.broker.embedded.rules import Rules

Overflow = Literal["drop-head", "reject-publish", "reject-publish-dlx"]

_OVERFLOWS: Final = ("drop-head", "reject-publish", "reject-publish-dlx")
_STRATEGIES: Final = ("at-most-once", "at-least-once")
_NUMBERS: Final = {
    "x-message-ttl": 0,
    "x-expires": 1,
    "x-max-length": 0,
    "x-max-length-bytes": 0,
    "x-max-priority": 0,
    "x-delivery-limit": 0,
}
_COMPARED: Final = (
    *_NUMBERS,
    "x-queue-type",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-single-active-consumer",
)
_MAX_PRIORITY: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """A queue's properties. Durations in seconds. `delivery_limit` None: unlimited."""

    durable: bool
    exclusive: bool
    auto_delete: bool
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
    arguments: Mapping[str, object]

    @classmethod
    def of(
        cls,
        name: str,
        *,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Mapping[str, object],
        rules: Rules,
    ) -> Self:
        """Read a declaration.

        Raises:
            Refusal: 406, an argument that RabbitMQ refuses, by its name; 540, a queue type that only RabbitMQ has.
        """
        _check_arguments(name, arguments)
        values: dict[str, Any] = {"delivery_limit": rules.delivery_limit}
        values |= {_field(key): arguments[key] for key in _COMPARED if key in arguments}
        kind = values.pop("queue_type", "classic")
        for duration in ("message_ttl", "expires"):
            if duration in values:
                values[duration] /= 1000
        settings = cls(
            durable=durable,
            exclusive=exclusive,
            auto_delete=auto_delete,
            is_quorum=kind == "quorum",
            arguments=dict(arguments),
            **values,
        )
        for problem in settings._problems():
            raise Refusal(PRECONDITION_FAILED, f"{problem} for queue '{name}'")
        return settings

    @property
    def is_at_least_once(self) -> bool:
        """Whether a dead letter stays until its target has it.

        RabbitMQ ignores the strategy at-least-once unless the overflow is reject-publish.
        """
        return self.dead_letter_strategy == "at-least-once" and self.overflow == "reject-publish"

    def difference(self, other: QueueSettings) -> tuple[str, object, object] | None:
        """Return the first property that two declarations of one queue differ in, and both values."""
        for name in ("durable", "auto_delete", "exclusive"):
            if getattr(self, name) != getattr(other, name):
                return name, getattr(self, name), getattr(other, name)
        for name in _COMPARED:
            ours, theirs = self._compared(name), other._compared(name)
            if ours != theirs:
                return name, ours, theirs
        return None

    def _compared(self, name: str) -> object:
        default = "classic" if name == "x-queue-type" else None
        return self.arguments.get(name, default)

    def _problems(self) -> Iterator[str]:
        if self.dead_letter_routing_key is not None and self.dead_letter_exchange is None:
            yield "invalid arg 'x-dead-letter-routing-key' without 'x-dead-letter-exchange'"
        if not self.is_quorum:
            for name in ("x-delivery-limit", "x-dead-letter-strategy"):
                if name in self.arguments:
                    yield f"invalid arg '{name}' (a classic queue has none)"
            return
        for given, what in ((not self.durable, "non-durable"), (self.exclusive, "exclusive-owner")):
            if given:
                yield f"invalid property '{what}'"
        if self.auto_delete:
            yield "invalid property 'auto-delete'"
        if "x-max-priority" in self.arguments:
            yield "invalid arg 'x-max-priority' (a quorum queue has none)"


def _field(argument: str) -> str:
    return argument.removeprefix("x-").replace("-", "_")


def _check_arguments(name: str, arguments: Mapping[str, object]) -> None:
    kind = arguments.get("x-queue-type", "classic")
    if kind == "stream":
        raise Refusal(NOT_IMPLEMENTED, f"the embedded broker has no streams (queue '{name}')")
    for argument, problem in _invalid(kind, arguments):
        raise Refusal(PRECONDITION_FAILED, f"invalid arg '{argument}' for queue '{name}': {problem}")


def _invalid(kind: object, arguments: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    if kind not in ("classic", "quorum"):
        yield "x-queue-type", f"{kind!r} is no queue type"
    for argument, least in _NUMBERS.items():
        value = arguments.get(argument, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield argument, f"{value!r} is not a whole number of at least {least}"
    choices = {"x-overflow": _OVERFLOWS, "x-dead-letter-strategy": _STRATEGIES}
    for argument, known in choices.items():
        if arguments.get(argument, known[0]) not in known:
            yield argument, f"{arguments[argument]!r} is not one of {', '.join(known)}"
    for argument in ("x-dead-letter-exchange", "x-dead-letter-routing-key"):
        if not isinstance(arguments.get(argument, ""), str):
            yield argument, "not a string"
    if not isinstance(arguments.get("x-single-active-consumer", False), bool):
        yield "x-single-active-consumer", "not a boolean"
    priority = arguments.get("x-max-priority", 0)
    if isinstance(priority, int) and priority > _MAX_PRIORITY:
        yield "x-max-priority", f"{priority} is more than {_MAX_PRIORITY}"

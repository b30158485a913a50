"""Mismatch: what a broker says of a queue or exchange that is there with other properties, in a user's words. Pure.

The broker counts in milliseconds and names its own arguments; a spec has seconds and fields. Then the ways out, the one
that costs least first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self

from taskroute.quoting import quoted

Kind = Literal["queue", "exchange"]

_INEQUIVALENT: Final = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for (?P<kind>queue|exchange) '.*' in vhost '.*': "
    r"received (?:none|(?:the value )?'(?P<declared>.*?)'(?: of type '\w+')?) "
    r"but current is (?:none|(?:the value )?'(?P<present>.*?)'(?: of type '\w+')?)$"
)
_FIELDS: Final[Mapping[str, str]] = {
    "x-queue-type": "type",
    "x-dead-letter-exchange": "dead_letter",
    "x-dead-letter-routing-key": "dead_letter",
    "x-dead-letter-strategy": "dead_letter",
    **{
        f"x-{field.replace('_', '-')}": field
        for field in (
            "message_ttl",
            "expires",
            "max_length",
            "max_length_bytes",
            "max_priority",
            "overflow",
            "single_active_consumer",
            "delivery_limit",
        )
    },
    "alternate-exchange": "alternate_exchange",
}
"""Of a spec, by the broker's argument. Properties that are no arguments have the same name in both."""

_DURATIONS: Final = ("x-message-ttl", "x-expires")
_LOWERED: Final = (*_DURATIONS, "x-max-length", "x-max-length-bytes", "x-delivery-limit")
"""Where a queue has one and a policy another, the lower one counts. Of all else the queue's own does, but for the
overflow of a quorum queue, where the policy's does."""

_LEFT_OUT: Final = (*_DURATIONS, "x-max-length", "x-max-length-bytes", "x-overflow", "alternate-exchange")
"""What a spec can leave to a policy: the others are always sent, or none has them."""

_TYPED: Final = (
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-overflow",
    "x-delivery-limit",
)
"""What a queue of one type is declared with and one of another is not."""

_SWITCHES: Final = ("durable", "exclusive", "auto_delete", "internal", "single_active_consumer")
_NUMBERS: Final = ("max_length", "max_length_bytes", "max_priority", "delivery_limit")
_NAMES: Final = ("type", "overflow", "alternate_exchange")
"""Fields, by how a spec has their value."""

_UNITS: Final = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"))
_UNLIMITED: Final = str(2**31 - 1)
_NONE: Final = ("none", "None")


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that the broker has otherwise than declared. None: there is none."""

    kind: Kind
    name: str
    present: str | None
    declared: str | None

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return what a broker's answer says, None if it is not put as RabbitMQ puts it."""
        found = _INEQUIVALENT.search(text)
        if found is None:
            return None
        kind: Kind = "queue" if found["kind"] == "queue" else "exchange"
        present, declared = (None if found[side] in _NONE else found[side] for side in ("present", "declared"))
        return cls(kind, found["name"], present, declared)

    def explain(self, serves: str | None = None) -> str:
        """Return both values as a user writes them, and the ways out. `serves`: the queue that this one is for.

        >>> Difference("queue", "x-max-length", "5", "9").explain().partition(" (")[0]
        'max_length: 5 on the broker, 9 declared'
        """
        notes = [self.name] if self._field != self.name and self.name in _FIELDS else []
        if self.name in _TYPED and None in (self.present, self.declared):
            notes.append("type may differ too: the broker names one field")
        values = f"{self._spoken(self.present)} on the broker, {self._spoken(self.declared)} declared"
        said = f" ({'; '.join(notes)})" if notes else ""
        return f"{self._field}: {values}{said}; {', or '.join(self._ways(serves))}"

    def _ways(self, serves: str | None) -> Iterator[str]:
        renamed = f"{self.kind} a new name"
        if serves is not None:  # what it is declared with follows from that one's spec
            renamed = f"queue {serves!r}, which it serves, a new name"
        else:
            policy = f"a policy ({self.name.removeprefix('x-')})"
            if self.name in _LEFT_OUT and self.present is None:
                yield f"leave it out of the spec and set it by {policy}"
            elif (written := self._written) is not None:
                lower = f" and lower it by {policy}" if self._can_be_lowered else ""
                yield f"declare {written} as it is there{lower}"
            if self.name in _LEFT_OUT and self.present is not None and not self._can_be_lowered:
                renamed += f" and set {self._field} by {policy}, which can be changed later"
        yield f"give the {renamed}"
        yield f"delete it on the broker{' when it is empty' if self.kind == 'queue' else ''}"

    @property
    def _field(self) -> str:
        return _FIELDS.get(self.name, f"arguments: {self.name}" if self.name.startswith("x-") else self.name)

    @property
    def _written(self) -> str | None:
        """What a spec says that declares what is there, None if that cannot be told from one answer."""
        field, value = self._field, self.present or ""
        if field in _SWITCHES:
            return f"{field}={value.lower() == 'true'}"
        if self.name in _DURATIONS and value.isdecimal():
            seconds, rest = divmod(int(value), 1000)
            return f"{field}={int(value) / 1000 if rest else seconds}"
        if field in _NUMBERS and value.isdecimal():
            return f"{field}={value}"
        if field in _NAMES and value and not value.startswith("x-") and quoted(value) == value:
            return f"{field}={value!r}"
        return None

    @property
    def _can_be_lowered(self) -> bool:
        values = self.present, self.declared
        if self.name not in _LOWERED or not all(value is not None and value.isdecimal() for value in values):
            return False
        return int(self.declared or 0) < int(self.present or 0)

    def _spoken(self, value: str | None) -> str:
        if value is None:
            return "none"
        if self.name in _DURATIONS and value.isdecimal():
            return spoken_duration(int(value))
        if self.name == "x-dead-letter-exchange" and not value:
            return "the default exchange"
        if self.name == "x-delivery-limit" and value == _UNLIMITED:
            return "no limit"
        return value.capitalize() if value.lower() in ("true", "false") else quoted(value)


def spoken_duration(milliseconds: int) -> str:
    """Return a duration as people say it.

    >>> spoken_duration(7_200_000), spoken_duration(5_400_000), spoken_duration(1_500), spoken_duration(0)
    ('2 h', '1 h 30 min', '1.5 s', '0 s')
    """
    parts = []
    for size, unit in _UNITS:
        count, milliseconds = divmod(milliseconds, size)
        parts += [f"{count} {unit}"] if count else []
    if milliseconds or not parts:
        parts.append(f"{milliseconds / 1000:g} s")
    return " ".join(parts)

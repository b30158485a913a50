"""Allowances: differences that are meant, and for how long: until what shows one does not show it any more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic_core import from_json, to_json

from taskroute.errors import ConfigurationError
from taskroute.graph.contract.asked import takes
from taskroute.graph.contract.bodies import Body, Reader, Writer
from taskroute.graph.contract.declared import declared
from taskroute.graph.contract.difference import Difference
from taskroute.graph.contract.entries import AllowanceEntry, EventEntry
from taskroute.graph.contract.routing import Routing
from taskroute.suggestion import did_you_mean

ALLOWABLE = ("lost", "refused", "replace", "undecided")


def checked(allowance: str) -> str:
    """Return what allows a difference, ``CODE:NAME``.

    Raises:
        ConfigurationError: it has another form, or no difference has such a code.
    """
    code, colon, name = allowance.partition(":")
    if not (colon and name):
        raise ConfigurationError(f"{allowance!r} is not CODE:NAME, for example lost:orders")
    if code not in ALLOWABLE:
        near = did_you_mean(code, ALLOWABLE, f"there are {', '.join(ALLOWABLE)}")
        raise ConfigurationError(f"{allowance!r}: no difference that can be allowed has the code {code!r}; {near}")
    return allowance


def apply(differences: Iterable[Difference], allowed: Iterable[str]) -> Iterator[Difference]:
    """Yield the same differences, in which those that are allowed say so."""
    names = set(allowed)
    for difference in differences:
        yield replace(difference, allowed=True) if difference.allowance in names else difference


def entry_of(difference: Difference) -> AllowanceEntry:
    """Return the line that allows a difference, with the message that shows it."""
    return AllowanceEntry(
        allow=difference.allowance,
        queue=difference.queue,
        exchange=difference.exchange,
        key=difference.key,
        headers=dict(difference.headers),
        body=difference.body,
        declared=dict(difference.declared),
    )


def is_needed(allowance: AllowanceEntry, new: Routing) -> bool:
    """Return whether a difference that was allowed is one still: whether its message shows it."""
    code, _, name = allowance.allow.partition(":")
    if code == "replace":
        now = new.queues.get(name) or new.exchanges.get(name.removeprefix("exchange:"))
        return now is None or declared(now) != allowance.declared
    if allowance.key is None or code == "undecided":
        return True
    if code == "refused" and allowance.queue is None:
        return any(sender.name == name and _may_write(sender.entry, allowance.body, new) for sender in new.senders)
    queue = new.successors.get(allowance.queue or "", allowance.queue or "")
    is_routed = new.is_routed(allowance.exchange or "", queue, tuple(allowance.headers.items()), allowance.key)
    taker = new.taker_of(queue, allowance.key)
    if code == "lost":
        return not is_routed or (taker is None and queue in new.named)
    if taker is None:
        return True
    if allowance.body is None:
        return not takes(taker, allowance.key) or not allowance.headers.keys() >= set(taker.entry.required)
    reader = Reader.of_handler(taker.entry, new.contract.code.readers.get(taker.entry.line))
    return any(reader.refusal(body) is not None for body in _bodies(allowance.body))


def _may_write(entry: EventEntry, body: str | None, new: Routing) -> bool:
    writer = Writer.of_event(entry, new.contract.code.events.get(entry.line))
    return body is None or any(writer.may_write(each) for each in _bodies(body))


def _bodies(text: str) -> list[Body]:
    """Return the body that a text may stand for: JSON if it is that."""
    try:
        from_json(text)
    except ValueError:
        return [Body("text", to_json(text))]
    return [Body("json", text.encode())]

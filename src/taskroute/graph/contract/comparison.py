"""Comparison: what a contract says otherwise than an earlier one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from taskroute.graph.contract import allowances
from taskroute.graph.contract.declared import find_replaced
from taskroute.graph.contract.difference import Difference, DifferenceCode
from taskroute.graph.contract.entries import SECTIONS
from taskroute.graph.contract.lines import Lines
from taskroute.graph.contract.lost import find_lost
from taskroute.graph.contract.naming import name_of
from taskroute.graph.contract.refused import Refusals
from taskroute.graph.contract.routing import Routing, all_headers

_ORDER: Final[tuple[DifferenceCode, ...]] = ("lost", "refused", "replace", "undecided", "compatible")
_COMPARED: Final = [section for section in SECTIONS if section not in ("retired", "allowed")]


def compare(old: Lines, new: Lines, name: str = "the earlier contract") -> tuple[Difference, ...]:
    """Return what a contract says otherwise than an earlier one, the worst first.

    Args:
        old: the earlier one, from a file or from other code.
        new: the later one; its allowances count.
        name: of the earlier one's file, for errors.

    Raises:
        ConfigurationError: the entries of one do not fit together.
    """
    if _lines(old) == _lines(new):
        return ()
    before, now = Routing(old, name), Routing(new)
    headers, is_complete = all_headers((old, new))
    found = [*find_lost(before, now, headers), *Refusals(before, now, headers).found(), *find_replaced(before, now)]
    if not is_complete and old.bindings != new.bindings:
        found.append(
            Difference("undecided", "headers", "bindings by headers: there are too many to look at all of them")
        )
    found += _harmless(old, new, found)
    once = {(each.code, each.name): each for each in reversed(found)}
    told = sorted(once.values(), key=lambda each: (_ORDER.index(each.code), each.name))
    return tuple(allowances.apply(told, (each.allow for each in new.allowed)))


def _lines(contract: Lines) -> set[str]:
    return {entry.line for section in _COMPARED for entry in getattr(contract, section)}


def _harmless(old: Lines, new: Lines, found: Iterable[Difference]) -> Iterator[Difference]:
    """Yield the entries that came, went or changed, and that nothing else was found about."""
    known = {difference.name for difference in found}
    is_lossy = any(difference.code in ("lost", "refused") for difference in found)
    for section in _COMPARED:
        before = {name_of(entry): entry.line for entry in getattr(old, section)}
        now = {name_of(entry): entry.line for entry in getattr(new, section)}
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) == now.get(name) or name in known:
                continue
            if name in before and is_lossy:  # it may be the reason
                continue
            what = "is new" if name not in before else "is gone" if name not in now else "is another one"
            yield Difference("compatible", name, f"{section[:-1]} {name!r} {what}, and harms nobody")

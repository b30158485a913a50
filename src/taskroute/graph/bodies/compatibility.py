"""Compatibility: a proof that one type reads all JSON that another writes, or the doubts that prevent it. Pure.

The proof errs on one side only: where there are no doubts, every body is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic_core import to_json

from taskroute.graph.bodies.doubt import ANYWHERE, Doubt, Path
from taskroute.graph.bodies.record import Field, Record
from taskroute.graph.bodies.schema import ARRAYS, CONSTANTS, FUNCTIONS, RECORDS, UNIONS, Schema, alike
from taskroute.graph.bodies.values import READ_AS, constant_doubts, key_doubts, length_doubts, plain_doubts, unlike
from taskroute.keys.automaton import BudgetExceededError

BUDGET: Final = 20_000
"""How many pairs of nodes one proof may look at."""

Above = tuple[tuple[Schema, Schema], ...]

_NOT_TOLD: Final = "the event's type does not say what it holds"
_UNKNOWN: Final = {"any": _NOT_TOLD, "custom": "the event's type has a serializer of its own for it"}
_OWN_VALIDATOR: Final = "the handler's type has a validator of its own for it"
_REQUIRED: Final = "it is required, and may be missing"
_FORBIDDEN: Final = "it is written, and forbidden"
_OTHERS_FORBIDDEN: Final = "other fields may be written, and are forbidden"
_FROM_PATH: Final = "it is read from a path"


def doubts(written: Schema, read: Schema) -> Iterator[Doubt]:
    """Yield why it is not proved that all JSON of one type is read as another; nothing where it is proved.

    Numbers count as finite.

    Raises:
        BudgetExceededError: too hard to decide.
    """
    return _Proof().doubts(written, read, (), ())


class _Proof:
    """Walks what is written and what is read side by side.

    A pair of nodes inside itself counts as proved, because a body is finite. `above` holds the pairs around a pair.
    """

    def __init__(self) -> None:
        self._steps = 0

    def doubts(self, written: Schema, read: Schema, path: Path, above: Above) -> Iterator[Doubt]:
        self._steps += 1
        if self._steps > BUDGET:
            raise BudgetExceededError
        written, read = written.resolved(), read.resolved()
        is_inside = any(written.node is one.node and read.node is other.node for one, other in above)
        if not is_inside and not alike(written, read):
            yield from self._compared(written.written(), read.read(), path, (*above, (written, read)))

    def _compared(self, written: Schema, read: Schema, path: Path, above: Above) -> Iterator[Doubt]:
        if read.kind == "any":
            return
        if read.kind in FUNCTIONS:
            yield from self._through_validator(written, read, path, above)
        elif written.kind in _UNKNOWN:
            yield Doubt(path, _UNKNOWN[written.kind], is_blind=True)
        elif written.kind in UNIONS:
            for choice in written.choices():
                yield from self.doubts(choice, read, path, above)
        elif written.kind in CONSTANTS:
            yield from constant_doubts(written, read, path)
        elif read.kind in UNIONS:
            yield from self._one_of(written, read, path, above)
        else:
            yield from self._same_kind(written, read, path, above)

    def _through_validator(self, written: Schema, read: Schema, path: Path, above: Above) -> Iterator[Doubt]:
        if read.kind == "function-after":  # such a validator cannot accept what its type refuses
            yield from self.doubts(written, read.at(read.node["schema"]), path, above)
        yield Doubt(path, _OWN_VALIDATOR, is_blind=read.kind != "function-after")

    def _one_of(self, written: Schema, read: Schema, path: Path, above: Above) -> Iterator[Doubt]:
        choices = [choice for choice in read.choices() if choice.kind != "none" or written.kind == "none"]
        found = [list(self.doubts(written, choice, path, above)) for choice in choices]
        if not _is_chosen(written, read):
            yield Doubt(path, "it is not known which alternative reads it")
        elif len(found) == 1:
            yield from found[0]
        elif all(found):
            yield Doubt(path, "there is no alternative that surely reads it")
            yield from (doubt for each in found for doubt in each if doubt.is_blind)

    def _same_kind(self, written: Schema, read: Schema, path: Path, above: Above) -> Iterator[Doubt]:
        if written.kind in RECORDS and read.kind in RECORDS:
            yield from self._records(Record.of(written), Record.of(read), path, above)
        elif written.kind in RECORDS and read.kind == "dict":
            yield from self._record_to_dict(Record.of(written), read, path, above)
        elif written.kind == "dict" and read.kind in RECORDS:
            yield from self._dict_to_record(written, Record.of(read), path, above)
        elif written.kind == "dict" and read.kind == "dict":
            yield from key_doubts(written.keys(), read.keys(), path)
            yield from length_doubts(written, read, path)
            yield from self.doubts(written.values(), read.values(), (*path, ANYWHERE), above)
        elif written.kind in ARRAYS and read.kind in ARRAYS:
            yield from self._arrays(written, read, path, above)
        elif written.kind in READ_AS:
            yield from plain_doubts(written, read, path)
        else:
            yield unlike(written, read, path)

    def _records(self, written: Record, read: Record, path: Path, above: Above) -> Iterator[Doubt]:
        if _is_subclass(written.schema, read.schema):
            return
        yield from _validator_doubts(read, path)
        fields = {field.written_as: field for field in written.fields if field.is_always_written is not None}
        for field in read.fields:
            yield from self._field(fields, field, path, above)
            if written.extra == "allow":
                names = field.read_as or ()
                yield from (Doubt((*path, name), _NOT_TOLD, is_blind=True) for name in names if name not in fields)
        if read.extra == "forbid":
            known = {name for field in read.fields for name in field.read_as or ()}
            yield from (Doubt((*path, name), _FORBIDDEN) for name in fields if name not in known)
            if written.extra == "allow":
                yield Doubt(path, _OTHERS_FORBIDDEN)

    def _field(self, fields: Mapping[str, Field], field: Field, path: Path, above: Above) -> Iterator[Doubt]:
        if field.read_as is None:
            yield Doubt((*path, field.name), _FROM_PATH)
            return
        names = [name for name in field.read_as if name in fields]
        if field.is_required and not any(fields[name].is_always_written for name in names):
            yield Doubt((*path, *field.read_as[:1]), _REQUIRED)
        for name in names:
            yield from self.doubts(fields[name].schema, field.schema, (*path, name), above)

    def _record_to_dict(self, written: Record, read: Schema, path: Path, above: Above) -> Iterator[Doubt]:
        if read.constraints().keys() & {"min_length", "max_length"}:
            yield Doubt(path, "the number of fields is limited")
        reads_key = read.keys().reader()
        for field in written.fields:
            if field.is_always_written is not None:
                if not reads_key(to_json(field.written_as)):
                    yield Doubt((*path, field.written_as), "it is no key there")
                yield from self.doubts(field.schema, read.values(), (*path, field.written_as), above)
        if written.extra == "allow" and read.values().read().kind != "any":
            yield Doubt((*path, ANYWHERE), _NOT_TOLD, is_blind=True)

    def _dict_to_record(self, written: Schema, read: Record, path: Path, above: Above) -> Iterator[Doubt]:
        yield from _validator_doubts(read, path)
        if written.values().written().kind == "any":
            yield Doubt((*path, ANYWHERE), _NOT_TOLD, is_blind=True)
            return
        for field in read.fields:
            if field.is_required:
                yield Doubt((*path, *(field.read_as or (field.name,))[:1]), _REQUIRED)
            for name in field.read_as or ():
                yield from self.doubts(written.values(), field.schema, (*path, name), above)
            if field.read_as is None:
                yield Doubt((*path, field.name), _FROM_PATH)
        if read.extra == "forbid":
            yield Doubt(path, _OTHERS_FORBIDDEN)

    def _arrays(self, written: Schema, read: Schema, path: Path, above: Above) -> Iterator[Doubt]:
        item, places = written.item(), written.places()
        inside = (item,) if item is not None else places
        wanted, wanted_places = read.item(), read.places()
        if wanted is not None and inside is not None:
            yield from length_doubts(written, read, path)
            for one in inside:
                yield from self.doubts(one, wanted, (*path, ANYWHERE), above)
        elif places is not None and wanted_places is not None and len(places) == len(wanted_places):
            for at, (one, other) in enumerate(zip(places, wanted_places, strict=True)):
                yield from self.doubts(one, other, (*path, str(at)), above)
        else:
            yield unlike(written, read, path)


def _validator_doubts(read: Record, path: Path) -> Iterator[Doubt]:
    for validator in sorted(read.validators):
        yield Doubt(path, _OWN_VALIDATOR, is_blind=validator != "function-after")


def _is_subclass(one: Schema, other: Schema) -> bool:
    """Return whether instances of one class are instances of the other, so that they were already read as such."""
    kinds = {one.kind, other.kind}
    return "typed-dict" not in kinds and issubclass(one.node["cls"], other.node["cls"])


def _is_chosen(written: Schema, read: Schema) -> bool:
    """Return whether the alternative that reads it is among those that are tried."""
    if read.kind != "tagged-union":
        return True
    tag = read.node["discriminator"]
    fields = Record.of(written).fields if written.kind in RECORDS else ()
    return any(field.written_as == tag and field.is_always_written for field in fields)

"""Values: doubts about plain values, constants, keys and lengths, compared without looking inside. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Flag
from typing import Any, Final

from taskroute.graph.bodies.doubt import ANYWHERE, Doubt, Path
from taskroute.graph.bodies.schema import Schema, alike
from taskroute.graph.bodies.whole_numbers import NOT_READ, are_read_as_floats

READ_AS: Final[Mapping[str, frozenset[str]]] = {
    "none": frozenset({"none"}),
    "bool": frozenset({"bool", "int", "float"}),
    "int": frozenset({"int", "float", "decimal"}),
    "float": frozenset({"float", "decimal"}),
    "decimal": frozenset({"decimal", "float", "str"}),
    "str": frozenset({"str"}),
    "bytes": frozenset({"bytes", "str"}),
    "date": frozenset({"date", "datetime", "str"}),
    "time": frozenset({"time", "str"}),
    "datetime": frozenset({"datetime", "str"}),
    "timedelta": frozenset({"timedelta", "str"}),
    "uuid": frozenset({"uuid", "str"}),
    "url": frozenset({"str"}),
}
"""Which types read all values of a plain type, if they have no constraints."""

_TRANSFORMS: Final = frozenset({"strip_whitespace", "to_lower", "to_upper"})

_FREE: Final = frozenset({"coerce_numbers_to_str", "regex_engine", "fail_fast"})
"""Constraints that refuse nothing."""

_FORMATTED: Final = frozenset({"bytes", "date", "time", "datetime", "timedelta"})


def plain_doubts(written: Schema, read: Schema, path: Path) -> Iterator[Doubt]:
    """Yield why plain values may not be read."""
    if read.kind not in READ_AS[written.kind] or _is_written_otherwise(written, read):
        yield unlike(written, read, path)
        return
    same = read.kind == written.kind
    if read.is_strict and not (same or read.kind == "str" or (written.kind, read.kind) == ("int", "float")):
        yield Doubt(path, f"{written.kind} is written, and {read.kind} is read strictly")
    comparable = same or (written.kind, read.kind) == ("int", "float")
    given = written.constraints() if comparable else {}
    if (written.kind, read.kind) == ("int", "float") and not are_read_as_floats(given):
        yield Doubt(path, NOT_READ)
    unmet = {key: value for key, value in _asked(read).items() if not _implied(key, value, given)}
    if unmet:
        yield Doubt(path, f"it is limited: {_shown(unmet)}")


def length_doubts(written: Schema, read: Schema, path: Path) -> Iterator[Doubt]:
    """Yield why an array or a dict may have a length that is not read."""
    asked = {key: value for key, value in read.constraints().items() if key in ("min_length", "max_length")}
    places = written.places()
    given = written.constraints() if places is None else {"min_length": len(places), "max_length": len(places)}
    merges = read.kind in ("set", "frozenset") and written.kind not in ("set", "frozenset")
    if not all(_implied(key, value, given) for key, value in asked.items()) or (merges and "min_length" in asked):
        yield Doubt(path, f"the length is limited: {_shown(asked)}")


def key_doubts(written: Schema, read: Schema, path: Path) -> Iterator[Doubt]:
    """Yield why keys of a dict may not be read."""
    written, read = written.written(), read.read()
    free = read.kind == "any" or (read.kind == "str" and not read.constraints())
    if not free and not alike(written, read):
        yield Doubt((*path, ANYWHERE), "not every key is read")


def constant_doubts(written: Schema, read: Schema, path: Path) -> Iterator[Doubt]:
    """Yield a doubt if a constant is not read."""
    if written.kind == "enum" and issubclass(written.node["cls"], Flag):
        yield Doubt(path, "a combination of flags may not be read")
    reads = read.reader()
    for constant in written.constants():
        if not reads(constant):
            yield Doubt(path, f"not every value of the {written.kind} is read")
            return


def unlike(written: Schema, read: Schema, path: Path) -> Doubt:
    """Return the doubt that values of one kind are read as another kind."""
    return Doubt(path, f"{written.kind} is written, and {read.kind} is read")


def _is_written_otherwise(written: Schema, read: Schema) -> bool:
    """Return whether configuration changes how temporal values or bytes are written or read."""
    formats = [key for key in written.config if key.startswith("ser_json_") and key != "ser_json_inf_nan"]
    return written.kind in _FORMATTED and bool(formats or read.config.get("val_json_bytes"))


def _asked(read: Schema) -> dict[str, Any]:
    asked = {key: value for key, value in read.constraints().items() if key not in _FREE}
    if asked.get("microseconds_precision") == "truncate":
        del asked["microseconds_precision"]
    return {} if asked.keys() <= _TRANSFORMS else asked


def _implied(key: str, value: Any, given: Mapping[str, Any]) -> bool:
    """Return whether every value that satisfies the constraints `given` satisfies this one."""
    if key in given and given[key] == value:
        return True
    if key in ("ge", "gt", "min_length"):
        stricter = [given[name] > value for name in ("ge", "min_length") if name in given]
        return any(stricter) or ("gt" in given and given["gt"] >= value)
    if key in ("le", "lt", "max_length"):
        stricter = [given[name] < value for name in ("le", "max_length") if name in given]
        return any(stricter) or ("lt" in given and given["lt"] <= value)
    return False


def _shown(constraints: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in sorted(constraints.items()))

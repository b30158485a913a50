"""Document: a contract as the text of a file, one entry a line, and back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from taskroute.errors import ConfigurationError
from taskroute.graph.contract.entries import SECTIONS, Entry
from taskroute.quoting import cut, shorten
from taskroute.suggestion import did_you_mean

VERSION: Final = 1
"""Of the file's form. One that is not known is refused."""

_CONFLICT: Final = re.compile(r"^(<{7}|>{7}|={7}|\|{7})(\s|$)", re.MULTILINE)
_AGAIN: Final = "restore it, or delete it and run `taskroute lock`"
_RESOLVED: Final = "keep the lines of both sides, delete the marks, and run `taskroute lock`"


def write(sections: Mapping[str, Sequence[Entry]]) -> str:
    """Return the text of a contract."""
    told = [name for name in SECTIONS if name != "retired" or sections[name]]  # few services have retired any
    parts = [f'  "version": {VERSION}', *(_section(name, sections[name]) for name in told)]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _section(name: str, entries: Iterable[Entry]) -> str:
    lines = sorted({entry.line for entry in entries})
    return f'  "{name}": [\n' + ",\n".join(f"    {line}" for line in lines) + "\n  ]" if lines else f'  "{name}": []'


def read(text: str, name: str) -> dict[str, tuple[Entry, ...]]:
    """Return the entries of a contract.

    Args:
        text: of the file.
        name: of the file, for errors.

    Raises:
        ConfigurationError: it is none, or of another version; says where and what.
    """
    document = _parsed(text, name)
    if "version" not in document:
        raise ConfigurationError(f"{name}: it has no version, so it is no contract: {_AGAIN}")
    if document["version"] != VERSION or isinstance(document["version"], bool):
        known = f"this taskroute reads version {VERSION}"
        found = cut(json.dumps(document["version"]), 40)
        raise ConfigurationError(f"{name}{_line(text, 'version')}: version {found}: {known}: {_AGAIN}")
    for key in document.keys() - SECTIONS.keys() - {"version"}:
        near = did_you_mean(key, SECTIONS, f"there are {', '.join(SECTIONS)}")
        raise ConfigurationError(f"{name}{_line(text, key)}: there is no section {shorten(key)}; {near}")
    return {section: tuple(_entries(document.get(section, []), section, text, name)) for section in SECTIONS}


def _parsed(text: str, name: str) -> dict[str, Any]:
    if not text.strip():
        raise ConfigurationError(f"{name}: the file is empty: {_AGAIN}")
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        where = text.count("\n", 0, conflict.start()) + 1
        raise ConfigurationError(f"{name}, line {where}: a merge conflict: {_RESOLVED}")
    try:
        document = json.loads(text, object_pairs_hook=_without_doubles)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{name}, line {error.lineno}: it is not JSON: {error.msg}: {_AGAIN}") from None
    except _DoubleKeyError as error:
        key = str(error)
        raise ConfigurationError(f"{name}{_line(text, key)}: {shorten(key)} is there twice: {_AGAIN}") from None
    except RecursionError:
        raise ConfigurationError(f"{name}: it is nested too deeply: {_AGAIN}") from None
    except ValueError as error:  # a number with too many digits
        raise ConfigurationError(f"{name}: it is not JSON: {cut(str(error))}: {_AGAIN}") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{name}: it is no JSON object, so it is no contract: {_AGAIN}")
    return document


class _DoubleKeyError(ValueError):
    pass


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DoubleKeyError(key)
        found[key] = value
    return found


def _entries(listed: object, section: str, text: str, name: str) -> Iterator[Entry]:
    if not isinstance(listed, list):
        raise ConfigurationError(f"{name}{_line(text, section)}: {section}: it is no list: {_AGAIN}")
    kind = SECTIONS[section]
    for at, data in enumerate(listed):
        try:
            if isinstance(data, dict):
                yield kind.model_validate_json(json.dumps(data))
                continue
            problem = "it is no object"
        except ValidationError as error:
            problem = _problem(error, kind)
        where = f"{name}{_line(text, section, at + 1)}: {section}[{at}]"
        raise ConfigurationError(f"{where}: {problem}: {_AGAIN}")


def _problem(error: ValidationError, kind: type[Entry]) -> str:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = shorten(".".join(map(str, problem["loc"])))
    if problem["type"] == "extra_forbidden":
        near = did_you_mean(str(problem["loc"][-1]), kind.model_fields, f"there are {', '.join(kind.model_fields)}")
        return f"there is no field {field}; {near}"
    return f"{field}: {problem['msg']}"


def _line(text: str, key: str, after: int = 0) -> str:
    """Return in which line a key of the document is, or the entry so many lines after it, in a file as it is written.

    Empty where the file was formatted by something else.
    """
    lines = text.splitlines()
    found = next((at for at, line in enumerate(lines, 1) if line.startswith(f'  "{key}":')), None)
    is_entry = found is not None and found + after <= len(lines) and lines[found + after - 1].startswith("    {")
    return f", line {found + after}" if found is not None and (after == 0 or is_entry) else ""

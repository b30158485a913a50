"""Reading RabbitMQ definitions: bytes that somebody wrote to what is found in them. Pure.

A file is taken apart field by field, and what is unknown in it ends the reading: it may be what matters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

from taskroute.operate.importing.found import Found, FoundBinding, FoundExchange, FoundQueue
from taskroute.operate.importing.policies import policy_note
from taskroute.quoting import kind_with_article, shorten, shorten_list
from taskroute.suggestion import did_you_mean

_ENTITIES: Final = ("exchanges", "queues", "bindings")
_OTHERS: Final = (
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
)
_ABOUT: Final = (
    "rabbit_version",
    "rabbitmq_version",
    "product_name",
    "product_version",
    "rabbitmq_definition_format",
    "original_cluster_name",
    "original_vhost_name",
    "explanation",
    "description",
    "metadata",
    "limits",
    "tags",
    "default_queue_type",
)
"""What a file says of itself, or of its one virtual host."""

_FIELDS: Final[Mapping[str, Mapping[str, type]]] = {
    "exchanges": {"name": str, "type": str, "durable": bool, "auto_delete": bool},
    "queues": {"name": str, "durable": bool, "auto_delete": bool},
    "bindings": {"source": str, "destination": str, "destination_type": str, "routing_key": str},
}
_MORE_FIELDS: Final[Mapping[str, Mapping[str, type]]] = {
    "exchanges": {"vhost": str, "internal": bool, "arguments": dict},
    "queues": {"vhost": str, "type": str, "arguments": dict},
    "bindings": {"vhost": str, "arguments": dict, "properties_key": str},
}
_CONFLICT: Final = re.compile(rb"^(<<<<<<<|=======|>>>>>>>)( |\r?$)", re.MULTILINE)

Entry = Mapping[str, Any]


class UnreadableError(Exception):
    """These are no definitions that can be read; the text says where and what."""


def read_definitions(text: bytes, virtual_host: str | None = None) -> Found:
    """Return what definitions have of one virtual host.

    Args:
        text: of the file.
        virtual_host: which one; may be left out if there is one.

    Raises:
        UnreadableError: they cannot be read, or have several virtual hosts, or not this one.
    """
    document = _parsed(text)
    _check_document(document)
    entries = {kind: list(_checked(kind, document.get(kind, []))) for kind in _ENTITIES}
    name = _virtual_host(document, entries, virtual_host)

    def own(kind: str) -> list[Entry]:
        return [each for each in entries[kind] if each.get("vhost", name) == name]

    default = _default_type(document, name)
    return Found(
        exchanges=tuple(_once("exchanges", [_exchange(each) for each in own("exchanges")])),
        queues=tuple(_once("queues", [_queue(each, default) for each in own("queues")])),
        bindings=tuple(map(_binding, own("bindings"))),
        notes=tuple(_notes(document, name)),
    )


def _parsed(text: bytes) -> Mapping[str, Any]:
    if not text.strip():
        raise UnreadableError("is empty: export the definitions again")
    if found := _CONFLICT.search(text):
        line = text.count(b"\n", 0, found.start()) + 1
        raise UnreadableError(f"line {line}: a merge conflict: resolve it")
    try:
        document = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_table, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"byte {error.start}: is not UTF-8, as JSON is") from None
    except json.JSONDecodeError as error:
        raise UnreadableError(f"line {error.lineno} column {error.colno}: no JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of brackets
        raise UnreadableError(f"no JSON that can be read: {type(error).__name__}") from None
    if not isinstance(document, Mapping):
        raise UnreadableError(f"{kind_with_article(document)} and no object: these are no RabbitMQ definitions")
    return document


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableError(f"{shorten(twice)} stands twice in one object: leave one out")
    return found


def _no_number(text: str) -> NoReturn:
    raise UnreadableError(f"{text} is no JSON")


def _check_document(document: Mapping[str, Any]) -> None:
    product = document.get("product_name", "RabbitMQ")
    if "rabbitmq" not in str(product).lower():
        raise UnreadableError(f"product_name: definitions of {shorten(str(product))}, and not of RabbitMQ")
    if not any(kind in document for kind in _ENTITIES):
        there = shorten_list(", ".join(map(shorten, document)) or "nothing")
        raise UnreadableError(f"there are no exchanges, queues or bindings in it, but {there}: no RabbitMQ definitions")
    known = (*_ENTITIES, *_OTHERS, *_ABOUT)
    for part in document:
        if part not in known:
            raise UnreadableError(f"{shorten(part)} is unknown; {did_you_mean(part, known) or 'leave it out'}")
    for part in (*_ENTITIES, *_OTHERS):
        if not isinstance(document.get(part, []), list):
            raise UnreadableError(f"{part}: {kind_with_article(document[part])} instead of a list")
        for number, entry in enumerate(document.get(part, [])):
            if not isinstance(entry, Mapping):
                raise UnreadableError(f"{part}[{number}]: {kind_with_article(entry)} instead of an object")


def _checked(kind: str, entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the entries of a kind; an empty table may be an empty list, as old brokers wrote it."""
    known = {**_FIELDS[kind], **_MORE_FIELDS[kind]}
    for number, written in enumerate(entries):
        entry = {**written, "arguments": written.get("arguments") or {}}
        where = f"{kind}[{number}]"
        for field in entry:
            if field not in known:
                near = did_you_mean(field, known) or "leave it out"
                raise UnreadableError(f"{where}: {shorten(field)} is unknown; {near}")
        for field in _FIELDS[kind]:
            if field not in entry:
                raise UnreadableError(f"{where}: {field} is missing")
        for field, value in entry.items():
            if not isinstance(value, known[field]):
                raise UnreadableError(
                    f"{where}: {field}: {kind_with_article(value)} instead of {known[field].__name__}"
                )
        if kind == "bindings" and entry["destination_type"] not in ("queue", "exchange"):
            raise UnreadableError(f"{where}: destination_type: {shorten(entry['destination_type'])} is unknown")
        yield entry


def _virtual_host(document: Mapping[str, Any], entries: Mapping[str, list[Entry]], asked: str | None) -> str | None:
    """Return the virtual host that is meant, None where the entries name none."""
    named = {each["vhost"] for kind in _ENTITIES for each in entries[kind] if "vhost" in each}
    known = named | {str(each.get("name")) for each in document.get("vhosts", ())}
    there = shorten_list(", ".join(map(shorten, sorted(known))))
    if asked is not None and known and asked not in known:
        raise UnreadableError(f"there is no virtual host {shorten(asked)} in it, but {there}: name one with --vhost")
    if asked is None and len(named) > 1:
        raise UnreadableError(f"it has several virtual hosts, {there}: name one with --vhost")
    return asked if asked is not None or not named else next(iter(named))


def _default_type(document: Mapping[str, Any], virtual_host: str | None) -> str:
    """Return the type of a queue whose arguments name none."""
    hosts = [each for each in document.get("vhosts", ()) if each.get("name") == virtual_host]
    for place in [*hosts, document]:
        metadata = place.get("metadata")
        for table in (metadata if isinstance(metadata, Mapping) else {}, place):
            told = table.get("default_queue_type")
            if isinstance(told, str) and told != "undefined":
                return told
    return "classic"


def _exchange(entry: Entry) -> FoundExchange:
    names = ("name", "type", "durable", "auto_delete")
    return FoundExchange(
        **{name: entry[name] for name in names},
        internal=entry.get("internal", False),
        arguments=_whole_numbers(entry["arguments"]),
    )


def _queue(entry: Entry, default: str) -> FoundQueue:
    arguments = _whole_numbers(entry["arguments"])
    kind = str(arguments.get("x-queue-type") or entry.get("type") or default)
    return FoundQueue(entry["name"], kind, entry["durable"], entry["auto_delete"], arguments)


def _binding(entry: Entry) -> FoundBinding:
    names = ("source", "destination", "destination_type", "routing_key")
    return FoundBinding(**{name: entry[name] for name in names}, arguments=_whole_numbers(entry["arguments"]))


def _whole_numbers(table: Entry) -> Entry:
    """Return a table with ints where it has floats without a fraction."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in table.items()
    }


def _once(kind: str, found: Sequence[Any]) -> Iterator[Any]:
    known: dict[str, Any] = {}
    for each in found:
        if each.name not in known:
            known[each.name] = each
            yield each
        elif known[each.name] != each:
            raise UnreadableError(f"{kind}: {shorten(each.name)} stands twice in it, and differs: leave one out")


def _notes(document: Mapping[str, Any], virtual_host: str | None) -> Iterator[str]:
    """Yield what else there is. The values of parameters and all of users may be secrets: they are counted."""

    def own(part: str) -> list[Entry]:
        return [each for each in document.get(part, ()) if each.get("vhost", virtual_host) in (virtual_host, None)]

    for policy in own("policies"):
        yield policy_note(policy)
    for parameter in own("parameters"):
        component, name, value = parameter.get("component"), parameter.get("name"), parameter.get("value")
        if component == "operator_policy" and isinstance(value, Mapping):
            yield policy_note({"name": name, **value}, "operator policy")
        else:
            yield f"parameter {shorten(str(name))} of {shorten(str(component))} is left out"
    for part in ("users", "permissions", "topic_permissions", "global_parameters"):
        if own(part):
            yield f"{part.replace('_', ' ')} are left out: {len(own(part))}"

"""Catalogue: the messages of all operations, each described once and named. Pure.

Messages that say the same are one, whoever writes and reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from taskroute.graph.asyncapi.channels import Channel, Operation, Sends
from taskroute.graph.asyncapi.identifiers import Naming, identifiers
from taskroute.graph.asyncapi.messages import Message, read_by, written_by
from taskroute.graph.asyncapi.schemas import schemas_of
from taskroute.handlers.handler import Handler


class Catalogue(NamedTuple):
    """The messages of a document.

    Attributes:
        messages: described, by name.
        schemas: to which they refer, by name.
        by_operation: the names of an operation's messages.
        in_channel: the names of all that go through a channel.
    """

    messages: Mapping[str, dict[str, Any]]
    schemas: Mapping[str, dict[str, Any]]
    by_operation: Mapping[Operation, tuple[str, ...]]
    in_channel: Mapping[Channel, tuple[str, ...]]


def catalogue_of(operations: Iterable[Operation]) -> Catalogue:
    """Return the messages of operations. A handler that looks at nothing gets what the channel's events write."""
    messages = _messages(operations)
    schemas = schemas_of(type_ for message in messages.values() for type_ in message.types)
    described = {operation: message.described(schemas) for operation, message in messages.items()}
    texts = {operation: json.dumps(each, sort_keys=True) for operation, each in described.items()}
    names = _names(messages, texts)
    own = {operation: names[text] for operation, text in texts.items()}
    sent: dict[Channel, set[str]] = {}
    for operation, name in own.items():
        if isinstance(operation, Sends):
            sent.setdefault(operation.channel, set()).add(name)
    by_operation = {
        operation: tuple(sorted(sent[operation.channel]))
        if messages[operation].is_unread and operation.channel in sent
        else (name,)
        for operation, name in own.items()
    }
    used = {name for each in by_operation.values() for name in each}
    in_channel: dict[Channel, set[str]] = {}
    for operation, its_names in by_operation.items():
        in_channel.setdefault(operation.channel, set()).update(its_names)
    return Catalogue(
        {name: each for name, each in sorted({own[one]: described[one] for one in own}.items()) if name in used},
        schemas.components,
        by_operation,
        {channel: tuple(sorted(its_names)) for channel, its_names in in_channel.items()},
    )


def _messages(operations: Iterable[Operation]) -> dict[Operation, Message]:
    read: dict[Handler, Message] = {}
    messages: dict[Operation, Message] = {}
    for operation in operations:
        if isinstance(operation, Sends):
            messages[operation] = written_by(operation.event)
        else:
            if operation.handler not in read:
                read[operation.handler] = read_by(operation.handler)
            messages[operation] = read[operation.handler]
    return messages


def _names(messages: Mapping[Operation, Message], texts: Mapping[Operation, str]) -> dict[str, str]:
    """Return the name of each described message: its type's, and where what is read differs, `read` after it."""
    is_written = {operation: isinstance(operation, Sends) for operation in messages}
    written = {message.name for operation, message in messages.items() if is_written[operation]}
    namings: dict[str, Naming] = {}
    for operation in sorted(messages, key=lambda each: not is_written[each]):
        name, text = messages[operation].name, texts[operation]
        parts = (name,) if is_written[operation] or name not in written else (name, "read")
        namings.setdefault(text, Naming(parts, (text,)))
    return identifiers(namings)

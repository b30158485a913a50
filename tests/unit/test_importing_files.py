"""Definitions that cannot be read: each is told by where and what."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from taskroute.operate.importing.reading import UnreadableError, read_definitions

QUEUE: dict[str, Any] = {"name": "jobs", "durable": True, "auto_delete": False, "arguments": {}}
EXCHANGE: dict[str, Any] = {"name": "shop", "type": "topic", "durable": True, "auto_delete": False, "arguments": {}}
BINDING: dict[str, Any] = {
    "source": "shop",
    "destination": "jobs",
    "destination_type": "queue",
    "routing_key": "a",
    "arguments": {},
}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "is empty: "),
        (b" \n", "is empty: "),
        (b'{"queues": [\n  }', "line 2 column 3: no JSON: "),
        (b"\xff\xfe{\x00}\x00", "byte 0: is not UTF-8"),
        (b'{\n<<<<<<< HEAD\n"queues": []\n', "line 2: a merge conflict: resolve it"),
        (b'{"queues": []\r\n=======\r\n}', "line 2: a merge conflict: resolve it"),
        (b"[" * 100_000, "no JSON that can be read: RecursionError"),
        (b'{"queues": [' + b"9" * 5000 + b"]}", "no JSON that can be read: ValueError"),
        (b'{"queues": [NaN]}', "NaN is no JSON"),
        (b'{"queues": [], "queues": []}', "'queues' stands twice in one object: leave one out"),
        (b"[]", "a list and no object: these are no RabbitMQ definitions"),
        (b"{}", "there are no exchanges, queues or bindings in it, but nothing: no RabbitMQ definitions"),
        (b'{"name": "shop", "version": 1}', "but 'name', 'version': no RabbitMQ definitions"),
        (b'{"queues": [], "product_name": "ActiveMQ"}', "product_name: definitions of 'ActiveMQ', and not of RabbitMQ"),
        (b'{"queues": [], "super_streams": []}', "'super_streams' is unknown; leave it out"),
        (b'{"queues": [], "exchange": []}', "'exchange' is unknown; did you mean 'exchanges'?"),
        (b'{"queues": {}}', "queues: a dict instead of a list"),
        (b'{"queues": [1]}', "queues[0]: an int instead of an object"),
        (b'{"queues": [], "policies": ["a"]}', "policies[0]: a str instead of an object"),
    ],
)
def test_file_that_is_no_definitions_is_told(text: bytes, told: str) -> None:
    with pytest.raises(UnreadableError, match=re.escape(told)) as raised:
        read_definitions(text)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "entry", "told"),
    [
        ("queues", {**QUEUE, "durabel": True}, "queues[1]: 'durabel' is unknown; did you mean 'durable'?"),
        ("queues", {"name": "x", "durable": True}, "queues[1]: auto_delete is missing"),
        ("queues", {**QUEUE, "durable": "yes"}, "queues[1]: durable: a str instead of bool"),
        ("queues", {**QUEUE, "arguments": [1]}, "queues[1]: arguments: a list instead of dict"),
        ("queues", {**QUEUE, "durable": False}, "queues: 'jobs' stands twice in it, and differs: leave one out"),
        ("exchanges", {**EXCHANGE, "type": None}, "exchanges[1]: type: a NoneType instead of str"),
        ("bindings", {**BINDING, "destination_type": "stream"}, "bindings[1]: destination_type: 'stream' is unknown"),
    ],
)
def test_entry_that_cannot_be_read_is_told_by_its_place(kind: str, entry: dict[str, Any], told: str) -> None:
    first = {"queues": QUEUE, "exchanges": EXCHANGE, "bindings": BINDING}[kind]

    with pytest.raises(UnreadableError, match=re.escape(told)):
        read_definitions(json.dumps({kind: [first, entry]}).encode())


def test_entry_that_stands_twice_and_is_the_same_counts_once() -> None:
    assert len(read_definitions(json.dumps({"queues": [QUEUE, QUEUE]}).encode()).queues) == 1


def test_file_with_a_byte_order_mark_and_old_empty_tables_is_read() -> None:
    text = b"\xef\xbb\xbf" + json.dumps({"queues": [{**QUEUE, "arguments": []}]}).encode()

    assert read_definitions(text).queues[0].arguments == {}


SEVERAL = json.dumps(
    {
        "vhosts": [{"name": "/"}, {"name": "shop", "default_queue_type": "quorum"}, {"name": "empty"}],
        "queues": [{**QUEUE, "vhost": "/"}, {**QUEUE, "vhost": "shop", "durable": True}],
    }
).encode()


def test_virtual_host_is_asked_for_where_there_are_several() -> None:
    with pytest.raises(UnreadableError, match="has several virtual hosts, '/', 'empty', 'shop': name one with --vhost"):
        read_definitions(SEVERAL)

    assert [each.type for each in read_definitions(SEVERAL, "shop").queues] == ["quorum"]
    assert [each.type for each in read_definitions(SEVERAL, "/").queues] == ["classic"]
    assert read_definitions(SEVERAL, "empty").queues == ()


def test_virtual_host_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UnreadableError, match="no virtual host 'shpo' in it, but '/', 'empty', 'shop'"):
        read_definitions(SEVERAL, "shpo")


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({}, "classic"),
        ({"metadata": {"default_queue_type": "quorum"}}, "quorum"),
        ({"vhosts": [{"name": "/", "default_queue_type": "undefined"}]}, "classic"),
    ],
)
def test_queue_without_a_type_has_that_of_its_virtual_host(more: dict[str, Any], kind: str) -> None:
    text = json.dumps({"queues": [QUEUE], **more}).encode()

    assert read_definitions(text).queues[0].type == kind

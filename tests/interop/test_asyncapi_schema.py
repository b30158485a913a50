"""AsyncAPI documents against the schema that the specification publishes, as `scripts/setup` has fetched it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from pydantic import TypeAdapter
from tests.kit.services import BODIES, Claims, Odd, services

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, Topology
from taskroute.graph.asyncapi.document import asyncapi_document
from taskroute.graph.asyncapi.servers import Server

SCHEMA = Path(sys.prefix, "share", "asyncapi", "package", "schemas", "3.0.0.json")
shop = ExchangeSpec(name="shop")


@pytest.fixture(scope="session")
def asyncapi() -> Draft7Validator:
    """What validates a document; its absence skips the test, and fails it in CI."""
    if not SCHEMA.exists():
        reason = "@asyncapi/specs is not there: scripts/setup interop fetches it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return Draft7Validator(json.loads(SCHEMA.read_text()))


def problems(validator: Draft7Validator, document: dict[str, Any]) -> list[str]:
    as_read = json.loads(json.dumps(document, allow_nan=False))
    return [f"{list(error.absolute_path)}: {error.message[:300]}" for error in validator.iter_errors(as_read)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(services(), st.booleans())
def test_document_of_any_service_is_valid(
    asyncapi: Draft7Validator, service: tuple[Topology, HandlerRegistry], is_placed: bool
) -> None:
    topology, registry = service
    servers = [Server("amqps", "rabbit.example.com:5671", "shop"), Server("amqp", "[::1]")] if is_placed else []

    document = asyncapi_document(topology, registry.handlers, title="", version="", servers=servers)

    assert problems(asyncapi, document) == []


def test_each_type_of_body_has_a_valid_schema(asyncapi: Draft7Validator) -> None:
    """Written and read: all types in one document, which has two of one name."""
    registry = HandlerRegistry()
    queue = QueueSpec(name="all", bindings=[shop.bind("#")])
    events = []
    for number, body in enumerate(BODIES):
        events.append(EventSpec(pattern=f"body.{number}", exchange=shop, body=body))

        def handle(body: Any) -> None: ...

        handle.__annotations__ = {"body": body}
        registry.add(f"body.{number}", handle, queue=queue)

    document = asyncapi_document(Topology(queues=[queue], events=events), registry.handlers, title="t", version="1")

    assert problems(asyncapi, document) == []
    schemas = document["components"]["schemas"]
    assert any(name.startswith("Odd") for name in schemas), "some fields of it have no schema, and the others do"
    assert len(schemas) > 10


def test_what_a_user_adds_to_a_schema_cannot_make_it_invalid(asyncapi: Draft7Validator) -> None:
    """The schema that pydantic writes is none of draft 7, so something has to be left out."""
    written = TypeAdapter(Claims).json_schema()
    assert not Draft7Validator(Draft7Validator.META_SCHEMA).is_valid(written)

    event = EventSpec(pattern="a", exchange=shop, body=Claims)
    document = asyncapi_document(Topology(events=[event]), (), title="t", version="1")

    assert problems(asyncapi, document) == []
    assert document["components"]["schemas"]["Claims"]["properties"] == {"kind": {"title": "Kind", "type": "integer"}}


def test_payload_schemas_take_what_is_written_and_refuse_the_rest() -> None:
    """A schema that is valid may still say the wrong thing."""
    cases: dict[Any, tuple[object, object]] = {
        Odd: ({"text": "a"}, []),
        tuple[int, str]: ([1, "a"], ["a", 1]),
        Claims: ({"kind": 1}, {"kind": "a"}),
    }
    for body, (taken, refused) in cases.items():
        event = EventSpec[Any](pattern="a", exchange=shop, body=body)
        document = asyncapi_document(Topology(events=[event]), (), title="t", version="1")
        (message,) = document["components"]["messages"].values()

        validator = Draft7Validator({"allOf": [message["payload"]], "components": document["components"]})

        assert validator.is_valid(taken), body
        assert not validator.is_valid(refused), body

"""`taskroute publish`: one message to the broker, confirmed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from taskroute.cli.broker import add_url, nodes_of, note_memory, quieten_log, tls_of, url_of
from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.message_input import JSON, add_message, body_of, exchange_of, headers_of
from taskroute.cli.signals import ended_by_interrupts
from taskroute.cli.target import Target, add_target, load_target

if TYPE_CHECKING:
    from taskroute import EventSpec


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_message(parser)
    add_url(parser)
    add_format(parser)
    parser.add_argument(
        "--declare",
        choices=("create", "verify", "skip"),
        help="what is done first for exchanges and queues; as the service's publisher does if left out, or create",
    )
    parser.add_argument("--timeout", metavar="SECONDS", default="10", help="until it is given up; 10 if left out")


def run(arguments: Namespace) -> int:
    """Publish one message and print its id; 1 if no queue takes it."""
    from taskroute import Publisher, PublishError

    if arguments.body is None:
        raise UsageError("--body is needed: text, the name of a file, or - for stdin")
    target = load_target(arguments)
    body, headers = body_of(arguments), headers_of(arguments)
    exchange = exchange_of(arguments, target.topology)
    _check_body(body, arguments, [event for event in target.topology.events if str(event.exchange) == exchange])
    url, timeout = url_of(arguments.url, target), _seconds(arguments.timeout)
    tls = tls_of(arguments.url, target)
    nodes = nodes_of(url, tls)
    quieten_log()
    publisher = Publisher(
        url,
        target.topology,
        timeout=timeout,
        declare=_declare_mode(arguments, target),
        name="taskroute-publish",
        tls=tls,
    )
    with ended_by_interrupts():
        try:
            receipt = publisher.publish(
                body, arguments.key, exchange=exchange, headers=headers, content_type=arguments.content_type
            )
        finally:
            with suppress(PublishError):  # an error of `publish` counts for more
                publisher.close(0)
    if arguments.format == "json":
        show_document(message_id=receipt.message_id, exchange=receipt.exchange, routing_key=receipt.routing_key)
    else:
        print(receipt.message_id)
    note_memory(nodes)
    return Exit.OK


def _check_body(body: bytes, arguments: Namespace, events: Iterable[EventSpec[Any]]) -> None:
    """Refuse JSON that none of the events with this key has for a body, as a publisher of the event does."""
    from pydantic import ValidationError

    from taskroute.topology.spec import describe_fields

    if arguments.content_type != JSON:
        return
    problems = []
    for event in (event for event in events if event.pattern.matches(arguments.key)):
        if event.body in (bytes, str):
            return  # written as it is
        try:
            event.adapter.validate_json(body)
        except ValidationError as error:
            name = f"{event.body_name}, which event {str(event.pattern)!r} has"
            problems.append(f"--body is not a valid {name}: {describe_fields(error)}")
        else:
            return
    if problems:
        raise UsageError(problems[0])


def _declare_mode(arguments: Namespace, target: Target) -> Any:
    """Return what the publisher does first: as --declare says, or the service's publisher, or `create`."""
    options = getattr(target.value, "publisher", None)
    own = options.get("declare") if isinstance(options, Mapping) else None
    return arguments.declare or own or "create"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise UsageError(f"--timeout {text!r} is no number of seconds above 0 and up to a day")
    return seconds

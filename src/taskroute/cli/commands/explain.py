"""`taskroute explain`: where a key goes, and which handler takes it, without a broker."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.message_input import add_message, body_of, exchange_of, headers_of
from taskroute.cli.target import add_target, load_target
from taskroute.cli.terminal import show

if TYPE_CHECKING:
    from taskroute import Explanation, Routes
    from taskroute.graph.explanation import Arrival, Hop


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_message(parser)
    add_format(parser)


def run(arguments: Namespace) -> int:
    """Print the way of one message; 1 if nothing handles it, or its body is refused."""
    routes = load_target(arguments).routes()
    exchange, headers = exchange_of(arguments, routes.topology), headers_of(arguments)
    explanation = routes.explain(arguments.key, exchange=exchange, headers=headers)
    refusals = _refusals(explanation, headers, arguments) if arguments.body is not None else {}
    is_handled = _is_handled(explanation, routes) and not any(refusals.values())
    if arguments.format == "json":
        show_document(handled=is_handled, **_fields(explanation, refusals))
    else:
        _show_text(explanation, refusals)
    return Exit.OK if is_handled else Exit.FINDINGS


def _is_handled(explanation: Explanation, routes: Routes) -> bool:
    """Return whether some handler takes it, and in each queue of this service: others have theirs elsewhere."""
    handled = [arrival.handler is not None for arrival in explanation.arrivals]
    own = [arrival.handler is not None for arrival in explanation.arrivals if arrival.queue in routes.handled_queues]
    return any(handled) and all(own)


def _refusals(explanation: Explanation, headers: Mapping[str, object], arguments: Namespace) -> dict[str, str | None]:
    """Return by queue why its handler does not take this message, None if it does."""
    from taskroute.handlers.sources import InvalidArgumentError
    from taskroute.message.delivery import Delivery

    properties = {"application_headers": headers, "content_type": arguments.content_type}
    body = body_of(arguments)
    found: dict[str, str | None] = {}
    for arrival in explanation.arrivals:
        if arrival.handler is not None:
            delivery = Delivery(
                queue=arrival.queue,
                exchange=explanation.exchange,
                routing_key=explanation.routing_key,
                body=body,
                properties=properties,
            )
            try:
                arrival.handler.plan.bind(delivery, dict(arrival.captures))
                found[arrival.queue] = None
            except InvalidArgumentError as error:
                found[arrival.queue] = f"{error.reason}: {error.error}"
    return found


def _show_text(explanation: Explanation, refusals: Mapping[str, str | None]) -> None:
    for line in str(explanation).splitlines():
        text = line.lstrip()
        show(text, indent=len(line) - len(text), first_word="bold" if text.startswith("queue ") else None)
    for queue, refusal in refusals.items():
        verdict = "is read" if refusal is None else f"is refused, {refusal}"
        show(f"in queue {queue!r} the message {verdict}", indent=2)


def _fields(explanation: Explanation, refusals: Mapping[str, str | None]) -> dict[str, object]:
    return {
        "routing_key": explanation.routing_key,
        "exchange": explanation.exchange,
        "events": [{"pattern": str(event.pattern), "body": event.body_name} for event in explanation.events],
        "hops": [_hop(hop) for hop in explanation.hops],
        "arrivals": [
            {**_arrival(arrival), **({"refused": refusals[arrival.queue]} if arrival.queue in refusals else {})}
            for arrival in explanation.arrivals
        ],
    }


def _hop(hop: Hop) -> dict[str, object]:
    binding = hop.binding
    return {
        "source": hop.source,
        "destination": {"kind": hop.destination.kind, "name": hop.destination.name},
        "binding": None
        if binding is None
        else {"binding_key": binding.binding_key, "headers": dict(binding.headers), "match": binding.match},
    }


def _arrival(arrival: Arrival) -> dict[str, object]:
    return {
        "queue": arrival.queue,
        "handler": None if arrival.handler is None else arrival.handler.name,
        "pattern": None if arrival.handler is None else str(arrival.handler.pattern),
        "captures": dict(arrival.captures),
        "lost": [{"handler": handler.name, "why": why} for handler, why in arrival.lost],
        "wait_queues": list(arrival.wait_queues),
        "dead_letter_queue": arrival.dead_letter_queue,
    }

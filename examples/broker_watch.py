"""Watch what happens inside a RabbitMQ, as it tells it itself.

Needs a RabbitMQ with its own plugin ``rabbitmq_event_exchange`` (``rabbitmq-plugins enable
rabbitmq_event_exchange``). The broker then publishes its life to the topic exchange ``amq.rabbitmq.event``:
keys such as ``queue.created`` or ``connection.closed``, the data in headers, no body.
"""

from __future__ import annotations

import argparse
import threading
from typing import Annotated

from taskroute import ExchangeSpec, HandlerRegistry, Header, Message, QueueSpec, Topology, Worker

events = ExchangeSpec(name="amq.rabbitmq.event", type="topic")
watch = QueueSpec(name="broker_watch", exclusive=True, auto_delete=True, bindings=[events.bind("#")])
topology = Topology(exchanges=[events], queues=[watch])


def watching(seen: threading.Semaphore) -> HandlerRegistry:
    """Return handlers that print events and count them in `seen`."""
    registry = HandlerRegistry()

    def say(subject: str, event: str, detail: object = "") -> None:
        print(f"{subject:<11}{event:<16}{detail}\n", end="", flush=True)  # in one piece: others print as well
        seen.release()

    @registry.handler("queue.{event}", queue=watch)
    def queue(event: str, name: Annotated[str, Header("name")], kind: Annotated[str, Header("type")] = "") -> None:
        say("queue", event, f"{name} {kind}".strip())

    @registry.handler("connection.{event}", queue=watch)
    def connection(
        event: str, name: Annotated[str, Header("name")] = "", user: Annotated[str, Header("user")] = ""
    ) -> None:
        say("connection", event, f"{name} {user}".strip())

    @registry.handler("binding.{event}", queue=watch)
    def binding(
        event: str,
        source: Annotated[str, Header("source_name")] = "",
        target: Annotated[str, Header("destination_name")] = "",
        key: Annotated[str, Header("routing_key")] = "",
    ) -> None:
        say("binding", event, f"{source or '(default)'} -> {target} by {key!r}")

    @registry.fallback(queue=watch)
    def other(message: Message) -> None:
        subject, _, event = message.routing_key.partition(".")
        say(subject, event, str(message.headers.get("name", "")))

    return registry


def main() -> None:
    """Parse the command line and watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--url", required=True, help="amqp://user:password@host/vhost (the plugin's vhost, / by default)"
    )
    parser.add_argument("--events", type=int, default=0, help="end after so many events (left out: never)")
    parser.add_argument("--timeout", type=float, default=None, help="seconds to wait for the next event at most")
    arguments = parser.parse_args()
    seen = threading.Semaphore(0)
    with Worker(arguments.url, topology, watching(seen), threads=1):
        print("watching\n", end="", flush=True)
        count = 0
        while (not arguments.events or count < arguments.events) and seen.acquire(timeout=arguments.timeout):
            count += 1
    print(f"{count} events")


if __name__ == "__main__":
    main()

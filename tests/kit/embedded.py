"""The embedded broker behind a URL, for tests that look into it or break its connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

from amqp.exceptions import AccessRefused

from taskroute.broker.embedded import transport
from taskroute.broker.embedded.channel import Channel
from taskroute.broker.embedded.engine import Broker
from taskroute.broker.url import parse_urls


def broker_of(url: str) -> Broker:
    """Return the broker that a ``memory://`` URL names."""
    return transport.broker(parse_urls(url)[0].host)


@contextmanager
def hidden(*names: str) -> Iterator[None]:
    """Have embedded brokers refuse to show queues and exchanges of these names, as RabbitMQ does without a right."""

    def guarded(declare: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(declare)
        def guard(channel: Channel, name: str, *arguments: Any, **options: Any) -> Any:
            if name in names and (options.get("passive") or declare.__name__ == "ask_consumers"):
                raise AccessRefused(f"ACCESS_REFUSED - configure access to '{name}' refused for user 'u'", (50, 10))
            return declare(channel, name, *arguments, **options)

        return guard

    with (
        patch.object(Channel, "queue_declare", guarded(Channel.queue_declare)),
        patch.object(Channel, "exchange_declare", guarded(Channel.exchange_declare)),
        patch.object(Channel, "ask_consumers", guarded(Channel.ask_consumers)),
    ):
        yield

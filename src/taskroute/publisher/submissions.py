"""Submissions: what a caller passes to a publish, checked, encoded and announced. Any thread may call."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from taskroute.broker.properties import checked_flag, encode_properties
from taskroute.broker.roles.submission import Submission
from taskroute.errors import ConfigurationError, MessageInvalidError, MessageTooLargeError, UnknownExchangeError
from taskroute.instrumentation.hooks import Listeners
from taskroute.keys.short_string import key_problem
from taskroute.message.content import encode
from taskroute.publisher.notifications import announce
from taskroute.publisher.options import PublishOptions
from taskroute.quoting import shown
from taskroute.suggestion import did_you_mean
from taskroute.topology.event_spec import Event
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.topology import Topology

DEFAULT_MAX_BODY_SIZE: Final = 16 * 1024 * 1024
"""Bytes; what RabbitMQ 4 takes by default. Earlier versions take 128 MiB."""


class Submissions:
    """Makes submissions. Nothing is written here.

    Args:
        topology: the exchanges that can be published to.
        listeners: hear of each one, and may add headers.
        timeout: seconds from the call until a message is given up, unless its options say otherwise.
        max_body_size: bytes.

    Raises:
        ConfigurationError: `timeout`.
    """

    def __init__(self, topology: Topology, listeners: Listeners, *, timeout: float, max_body_size: int) -> None:
        self._topology = topology
        self._listeners = listeners
        self._are_heard = listeners.on_event is not None or listeners.publishing is not None
        self._timeout = _checked_timeout(timeout)
        self._max_body_size = max_body_size
        # Of its own, as the process's numbers are its users'. Asking the system for each id would give the lock of the
        # interpreter away each time.
        self._ids = random.Random()  # noqa: S311

    def timeout(self, options: Mapping[str, Any]) -> float:
        """Return the seconds that a message has.

        Raises:
            ConfigurationError: `timeout` of the options.
        """
        timeout = options.get("timeout")
        return self._timeout if timeout is None else _checked_timeout(timeout)

    def make(
        self,
        body: object,
        routing_key: str | None,
        limit: float,
        /,
        *,
        exchange: ExchangeSpec | str | None = None,
        message_id: str | None = None,
        content_type: str | None = None,
        mandatory: bool = True,
        timeout: float | None = None,  # noqa: ARG002 - is `limit`
        **properties: Any,
    ) -> Submission:
        """Return the submission of a body and its routing key, or of an event, which has `limit` seconds.

        Takes the arguments of `Publisher.submit`, and raises its errors.
        """
        exchange, routing_key = _address(body, routing_key, exchange)
        encoded, kind = body.encode() if isinstance(body, Event) else encode(body)
        identity = message_id if message_id is not None else f"{self._ids.getrandbits(128):032x}"
        try:
            submission = Submission(
                exchange=self._checked_exchange(exchange),
                routing_key=_checked_key(routing_key),
                body=self._checked_size(encoded),
                properties=encode_properties(message_id=identity, content_type=content_type or kind, **properties),
                message_id=identity,
                mandatory=mandatory is True or checked_flag("mandatory", mandatory),
                deadline=time.monotonic() + limit,
            )
        except TypeError:
            _check_names(properties)
            raise
        if self._are_heard:
            announce(submission, self._listeners)
        return submission

    def _checked_exchange(self, exchange: ExchangeSpec | str) -> str:
        name = str(exchange)
        if name and self._topology.exchange(exchange).internal:
            raise UnknownExchangeError(f"exchange {name!r} is internal: nobody can publish to it")
        return name

    def _checked_size(self, body: bytes) -> bytes:
        if len(body) > self._max_body_size:
            raise MessageTooLargeError(f"the body has {len(body)} bytes, the limit is {self._max_body_size}")
        return body


def _address(
    body: object, routing_key: str | None, exchange: ExchangeSpec | str | None
) -> tuple[ExchangeSpec | str, str]:
    """Return exchange and routing key: an event has its own, anything else needs them."""
    if isinstance(body, Event):
        if routing_key is not None or exchange is not None:
            given = "a routing key" if exchange is None else "an exchange"
            raise ConfigurationError(f"{body.spec} has its own exchange and routing key, and was given {given}")
        return body.exchange, body.routing_key
    if routing_key is None or exchange is None:
        missing = "a routing key" if routing_key is None else "exchange="
        kind = type(body).__name__
        raise ConfigurationError(
            f"a body ({kind}) needs {missing}; only an event, made by calling an EventSpec, brings its own"
        )
    return exchange, routing_key


def _checked_timeout(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigurationError(f"timeout={shown(timeout)} must be a number of seconds, more than 0")
    return timeout


def _checked_key(routing_key: str) -> str:
    if problem := key_problem(routing_key, "routing key"):
        raise MessageInvalidError(problem)
    return routing_key


def _check_names(options: Iterable[str]) -> None:
    """Raise TypeError for an option that does not exist, with those that do."""
    known = PublishOptions.__annotations__
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known, f"there are {', '.join(known)}")
            raise TypeError(f"there is no option {name!r}; {hint}") from None

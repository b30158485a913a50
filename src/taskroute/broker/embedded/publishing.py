"""What a broker checks of a publish, and the message that it stores. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from taskroute.broker.embedded.backlog import StoredMessage, header_keys
from taskroute.broker.embedded.lifetime import milliseconds
from taskroute.broker.embedded.refusal import PRECONDITION_FAILED, Refusal
from taskroute.broker.embedded.rules import Rules

USER: Final = "guest"
"""The user of every connection."""

_HEADERS: Final = "application_headers"


def accept(
    exchange: str, routing_key: str, body: bytes, properties: Mapping[str, object], rules: Rules
) -> StoredMessage:
    """Return the message to store, without its header ``BCC``.

    Raises:
        Refusal: 406, a `user_id` of another user, an expiration that is no number, a ``CC`` or ``BCC`` that is no list.
    """
    user, expiration = properties.get("user_id", USER), properties.get("expiration")
    if user != USER:
        raise Refusal(PRECONDITION_FAILED, f"user_id property set to '{user}' but authenticated user was '{USER}'")
    if expiration is not None:
        lifetime = str(milliseconds(expiration))
        if rules.rewrites_expiration and lifetime != expiration:
            properties = {**properties, "expiration": lifetime}
    headers = properties.get(_HEADERS)
    if not headers or not isinstance(headers, dict):
        return StoredMessage(exchange, routing_key, body, properties)
    try:
        copy_keys = header_keys(headers, "CC") + header_keys(headers, "BCC")
    except ValueError as error:
        raise Refusal(PRECONDITION_FAILED, str(error)) from None
    if "BCC" in headers:
        properties = {**properties, _HEADERS: {name: value for name, value in headers.items() if name != "BCC"}}
    return StoredMessage(exchange, routing_key, body, properties, copy_keys)

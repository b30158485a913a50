"""KombuChannel: what kombu asks of a channel besides AMQP's methods. It needs no broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import amqp
from kombu.transport import base, pyamqp
from kombu.transport.base import to_rabbitmq_queue_arguments


class KombuChannel(base.StdChannel):
    """Makes what crosses the border to kombu: messages, and the arguments of queues."""

    Message = pyamqp.Message

    def prepare_message(
        self,
        body: str | bytes,
        priority: int | None = None,
        content_type: str | None = None,
        content_encoding: str | None = None,
        headers: Mapping[str, object] | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> Any:
        """Return the message for `basic_publish`."""
        message = amqp.Message(body)
        message.properties = {  # as options they would be copied again
            **(properties or {}),
            "priority": priority,
            "content_type": content_type,
            "content_encoding": content_encoding,
            "application_headers": headers,
        }
        return message

    def message_to_python(self, raw_message: Any) -> pyamqp.Message:
        """Return kombu's view of a delivery."""
        return self.Message(raw_message, channel=self)  # type: ignore[no-untyped-call]

    def prepare_queue_arguments(self, arguments: Mapping[str, object], **options: object) -> Mapping[str, object]:
        """Return queue arguments by the names that RabbitMQ has for them."""
        prepared: Mapping[str, object] = to_rabbitmq_queue_arguments(arguments, **options)
        return prepared

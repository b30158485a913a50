"""What the worker does."""

from __future__ import annotations

from typing import Any

from django.db import close_old_connections
from examples.django_service.shop.events import orders, placed
from examples.django_service.shop.models import Order

from taskroute import CallNext, HandlerRegistry, Message


def fresh_connection(message: Message, call_next: CallNext) -> Any:
    """Do what Django does around each request: a handler's thread must not keep a connection that is too old."""
    close_old_connections()
    try:
        return call_next(message)
    finally:
        close_old_connections()


registry = HandlerRegistry(middleware=[fresh_connection])


@registry.handler(placed, queue=orders)
def pack(number: int) -> None:
    """May come twice: packing what is packed changes nothing."""
    Order.objects.filter(id=number).update(is_packed=True)
    print(f"order {number} is packed", flush=True)

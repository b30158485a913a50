"""What the shop tells others, and the queue of its worker. Imports nothing of Django."""

from __future__ import annotations

from pydantic import BaseModel

from taskroute import EventSpec, ExchangeSpec, QueueSpec, Topology


class Placed(BaseModel):
    """The body of the event."""

    item: str


shop = ExchangeSpec(name="shop")
placed = EventSpec(pattern="order.{number}.placed", exchange=shop, body=Placed)
orders = QueueSpec(name="orders", bindings=[placed])
topology = Topology(exchanges=[shop], queues=[orders], events=[placed])

"""The exchange, the queue and the body that several modules of tests route by."""

from __future__ import annotations

from pydantic import BaseModel

from taskroute import ExchangeSpec, QueueSpec, RetryPolicy, Topology

media = ExchangeSpec(name="media")
video = QueueSpec(name="video", bindings=[media.bind("video.#")], retry=RetryPolicy(delays=(0.05,)))
topology = Topology(exchanges=[media], queues=[video])


class Video(BaseModel):
    """A body."""

    id: int

"""A failed message as it is published: not once its delivery is stale."""

from __future__ import annotations

import pytest

from taskroute.handling.settle import Republish
from taskroute.message.delivery import Delivery
from taskroute.worker.republication import StaleDelivery, republication


def test_message_whose_delivery_became_stale_is_not_written_again() -> None:
    """Both connections were lost while it was in flight: the broker delivers it again."""
    delivery = Delivery(queue="q", exchange="", routing_key="k", body=b"x", properties={})
    action = Republish("q.dead", b"x", {"application_headers": {}}, "dead_letter", "rejected")
    stale: list[bool] = []
    message = republication(delivery, action, lambda: bool(stale), 131_072)

    assert message.begin_write()
    stale.append(True)

    assert not message.begin_write()
    with pytest.raises(StaleDelivery):
        message.future.result(0)

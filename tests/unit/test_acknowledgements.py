"""AckWindow against a broker that keeps a plain set of tags."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from taskroute.broker.roles.acknowledgements import Acknowledgements, AckWindow
from taskroute.message.delivery import Delivery


class Broker:
    """RabbitMQ's rule for acknowledgements: an acknowledged tag is forgotten, and an unknown one is refused."""

    def __init__(self, delivered: int) -> None:
        self.unacknowledged = set(range(1, delivered + 1))
        self.returned: set[int] = set()

    def put_back(self, up_to: int, tags: list[int]) -> None:
        before = set(self.unacknowledged)
        self.acknowledge(up_to, tags)
        self.returned |= before - self.unacknowledged

    def acknowledge(self, up_to: int, tags: list[int]) -> None:
        if up_to:
            assert up_to in self.unacknowledged, f"406: unknown delivery tag {up_to}"
            self.unacknowledged = {tag for tag in self.unacknowledged if tag > up_to}
        for tag in tags:
            assert tag in self.unacknowledged, f"406: unknown delivery tag {tag}"
            self.unacknowledged.remove(tag)


@st.composite
def batches(draw: DrawFn) -> list[set[int]]:
    """Tags from 1 on, in any order, settled some at a time; some are never settled."""
    count = draw(st.integers(0, 30))
    order = draw(st.permutations(range(1, count + 1)))
    settled = order[: draw(st.integers(0, count))]
    cuts = sorted(draw(st.lists(st.integers(0, len(settled)), max_size=6)))
    return [set(settled[start:end]) for start, end in zip([0, *cuts], [*cuts, len(settled)], strict=True)]


@given(batches())
def test_settled_tags_are_acknowledged_once_and_no_others(settled: list[set[int]]) -> None:
    window, broker = AckWindow(), Broker(delivered=31)
    done: set[int] = set()

    for tags in settled:
        broker.acknowledge(*window.take(tags))
        done |= tags
        assert broker.unacknowledged == set(range(1, 32)) - done
        assert {*range(1, window.highest + 1)} - window.gaps == done


def test_delivery_that_hangs_makes_nothing_grow_behind_it() -> None:
    """However many others are settled meanwhile: what is kept is what is not settled."""
    window = AckWindow()

    for tag in range(2, 10_000):
        assert window.take({tag}) == (0, [tag])

    assert window.gaps == {1}
    assert window.take({1}) == (1, [])
    assert not window.gaps


def test_settled_prefix_is_acknowledged_with_one_frame() -> None:
    window = AckWindow()

    assert window.take({1, 2, 3}) == (3, [])
    assert window.take({5}) == (0, [5])
    assert window.take({4, 6}) == (6, [])


def test_tag_acknowledged_alone_is_never_the_end_of_a_prefix() -> None:
    """RabbitMQ closes the channel (406) over a `multiple` that names an acknowledged tag."""
    window = AckWindow()

    assert window.take({2}) == (0, [2])
    assert window.take({1}) == (1, [])
    assert window.highest == 2


def delivery(tag: int) -> Delivery:
    return Delivery(queue="q", exchange="", routing_key="k", body=b"", properties={}, tag=tag)


@given(batches(), st.lists(st.booleans(), min_size=7, max_size=7))
def test_what_is_put_back_was_not_settled_and_takes_nothing_along(settled: list[set[int]], back: list[bool]) -> None:
    """Also where some of it is settled a second time, in the same batch or later."""
    broker = Broker(delivered=31)
    acknowledgements = Acknowledgements(broker)  # type: ignore[arg-type]
    done: set[int] = set()
    returned: set[int] = set()

    for tags, is_put_back in zip([*settled, set(range(1, 4))], back, strict=False):
        if is_put_back:
            returned |= tags - done
            acknowledgements.put_back(map(delivery, tags))
        else:
            assert {one.tag for one in acknowledgements.write(map(delivery, tags))} == tags - done
        done |= tags
        assert broker.unacknowledged == set(range(1, 32)) - done
        assert broker.returned == returned


def test_many_deliveries_are_put_back_some_at_a_time_in_their_order() -> None:
    """RabbitMQ 3.10 shuffles more that a quorum queue gets back at once."""
    told: list[tuple[int, list[int]]] = []

    class Told(Broker):
        def put_back(self, up_to: int, tags: list[int]) -> None:
            told.append((up_to, tags))
            super().put_back(up_to, tags)

    broker = Told(delivered=70)
    acknowledgements = Acknowledgements(broker)  # type: ignore[arg-type]

    acknowledgements.put_back([delivery(tag) for tag in range(70, 0, -1)])

    assert (told, broker.returned) == ([(32, []), (64, []), (70, [])], {*range(1, 71)})

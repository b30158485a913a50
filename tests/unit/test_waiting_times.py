"""WaitingTimes: a queue that is looked at eight times in the time that the broker gives its messages."""

from __future__ import annotations

from collections import deque

from hypothesis import example, given
from hypothesis import strategies as st

from taskroute.handling.waiting_times import CHECKS, Line, Overlong, WaitingTimes
from taskroute.message.delivery import Delivery

LIMIT = 80.0


def delivery(tag: int, generation: int = 1) -> Delivery:
    return Delivery(queue="q", exchange="", routing_key="k", body=b"", properties={}, tag=tag, generation=generation)


def line(*tags: int, generation: int = 1) -> Line:
    return Line(len(tags), delivery(tags[0], generation), delivery(tags[-1], generation))


def looks(waiting: WaitingTimes, count: int, seen: Line | None, start: float = 0.0) -> list[Overlong | None]:
    return [waiting.look(seen, start + LIMIT / CHECKS * number) for number in range(count)]


def test_messages_that_nobody_begins_are_told_at_half_of_the_limit() -> None:
    *before, last = looks(WaitingTimes(LIMIT), CHECKS // 2 + 1, line(2, 3, 4))

    assert before == [None] * (CHECKS // 2)
    assert last == Overlong(waited=LIMIT / 2, expected=None, keep=0, surplus=3)


def test_slow_handlers_are_told_as_soon_as_their_pace_is_known() -> None:
    """One of a hundred is begun in 10 s: the last would wait for 980 s."""
    waiting = WaitingTimes(LIMIT)

    assert waiting.look(line(*range(2, 101)), 0) is None
    assert waiting.look(line(*range(3, 101)), 10) == Overlong(waited=10, expected=980, keep=2, surplus=96)


def test_messages_that_begin_in_time_are_not_told() -> None:
    waiting = WaitingTimes(LIMIT)
    tags = range(2, 200)

    for number in range(10):
        assert waiting.look(line(*tags[number * 10 : number * 10 + 10]), number * 10) is None


def test_wait_begins_anew_with_an_empty_line_and_on_another_channel() -> None:
    waiting = WaitingTimes(LIMIT)

    assert looks(waiting, 4, line(2, 3)) == [None] * 4
    assert waiting.look(None, 40) is None
    assert looks(waiting, 4, line(2, 3), 50) == [None] * 4
    assert looks(waiting, 4, line(2, 3, generation=2), 90) == [None] * 4


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60))
@example([(5, 0), (0, 0), (0, 2), (2, 1), (0, 0), (0, 0), (1, 1), (0, 0), (0, 0)])  # two are kept that waited for 30 s
def test_no_message_waits_for_the_whole_limit_untold(passes: list[tuple[int, int]]) -> None:
    """Between two looks some messages come and some are begun; told ones that should not wait are taken away."""
    waiting, queue, tag = WaitingTimes(LIMIT), deque[tuple[int, float]](), 0

    for number, (came, begun) in enumerate(passes):
        now = number * LIMIT / CHECKS
        for _ in range(came):
            tag += 1
            queue.append((tag, now))
        for _ in range(min(begun, len(queue))):
            queue.popleft()
        told = waiting.look(line(*(each for each, _ in queue)) if queue else None, now)
        if told is not None:
            assert told.keep + told.surplus == len(queue)
            queue = deque([*queue][: told.keep])
        assert all(now - since < LIMIT for _, since in queue)

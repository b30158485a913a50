"""Mailbox: no call that is posted is lost, and the owner is woken."""

from __future__ import annotations

import selectors
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import pytest
from tests.kit.interrupt import Interrupt, Tracer
from tests.kit.waiting import DEADLINE, in_thread

from taskroute.broker import mailbox as mailbox_module
from taskroute.broker.mailbox import Mailbox


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mailbox(clock: Clock) -> Iterator[Mailbox]:
    mailbox = Mailbox(clock)
    mailbox.open()
    yield mailbox
    mailbox.release()


def is_woken(mailbox: Mailbox, timeout: float = 0) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(mailbox, selectors.EVENT_READ)
        return bool(selector.select(timeout))


def test_calls_are_made_in_order_and_once(mailbox: Mailbox) -> None:
    made: list[int] = []
    for number in range(3):
        assert mailbox.post(partial(made.append, number))

    mailbox.make_calls()
    mailbox.make_calls()

    assert made == [0, 1, 2]


def test_call_that_raises_leaves_later_calls_to_be_made(mailbox: Mailbox) -> None:
    """The owner sees the error, and makes the calls after it in the next round."""
    made: list[str] = []

    def fail() -> None:
        raise ValueError("a test")

    mailbox.post(fail)
    mailbox.post(lambda: made.append("after"))

    with pytest.raises(ValueError, match="a test"):
        mailbox.make_calls()
    mailbox.make_calls()

    assert made == ["after"]


def test_delayed_call_is_made_when_it_is_due(mailbox: Mailbox, clock: Clock) -> None:
    made: list[str] = []
    mailbox.call_later(2, lambda: made.append("second"))
    mailbox.call_later(1, lambda: made.append("first"))

    mailbox.make_calls()
    assert (made, mailbox.next_due()) == ([], 1.0)

    clock.now = 1.5
    mailbox.make_calls()
    assert (made, mailbox.next_due()) == (["first"], 2.0)

    clock.now = 2.0
    mailbox.make_calls()
    assert (made, mailbox.next_due()) == (["first", "second"], None)


def test_call_posted_after_close_is_refused(mailbox: Mailbox) -> None:
    """The poster learns of it, so that it can do without the call."""
    made: list[str] = []
    assert mailbox.post(lambda: made.append("before"))
    assert mailbox.call_later(0, lambda: made.append("later"))
    mailbox.make_calls()
    mailbox.close()

    assert not mailbox.post(lambda: made.append("after"))
    assert not mailbox.call_later(0, lambda: made.append("after"))

    mailbox.make_calls()
    assert made == ["before", "later"]


def test_call_posted_before_close_is_still_made(mailbox: Mailbox) -> None:
    made: list[str] = []
    mailbox.post(lambda: made.append("before"))
    mailbox.close()

    mailbox.make_calls()

    assert made == ["before"]


def test_waiting_owner_is_woken_once_for_many_posts(mailbox: Mailbox) -> None:
    assert mailbox.begin_wait()
    assert not is_woken(mailbox)

    mailbox.post(lambda: None)
    mailbox.post(lambda: None)
    assert is_woken(mailbox)

    mailbox.end_wait(was_woken=True)
    assert not is_woken(mailbox)


def test_owner_that_does_not_wait_is_not_woken(mailbox: Mailbox) -> None:
    mailbox.post(lambda: None)
    mailbox.wake()

    assert not is_woken(mailbox)
    assert not mailbox.begin_wait()  # as there is a call to make


def test_calls_of_many_threads_are_all_made_and_wake_the_owner(mailbox: Mailbox) -> None:
    """The owner never sleeps while a call waits for it."""
    threads, each = 4, 500
    made: list[int] = []
    posters = [
        threading.Thread(target=lambda: [mailbox.post(lambda: made.append(1)) for _ in range(each)])
        for _ in range(threads)
    ]

    for poster in posters:
        poster.start()
    while len(made) < threads * each:
        if mailbox.begin_wait():
            assert is_woken(mailbox, DEADLINE), f"asleep with {len(made)} calls made"
            mailbox.end_wait(was_woken=True)
        else:
            mailbox.end_wait(was_woken=False)
        mailbox.make_calls()

    for poster in posters:
        poster.join()
    assert len(made) == threads * each


def test_call_posted_before_open_is_kept(clock: Clock) -> None:
    mailbox, made = Mailbox(clock), list[str]()
    mailbox.post(lambda: made.append("early"))
    mailbox.wake()

    mailbox.open()
    mailbox.make_calls()
    mailbox.release()

    assert made == ["early"]
    with suppress(OSError):
        mailbox.wake()


def test_interrupt_while_the_owner_is_woken_wakes_it_all_the_same(mailbox: Mailbox) -> None:
    """A signal's exception that comes between the note that it is woken and its waking."""
    tracer = Tracer([mailbox_module])
    assert mailbox.begin_wait()
    with tracer.tracing():
        in_thread(mailbox.wake).result(DEADLINE)
    mailbox.end_wait(was_woken=True)
    lines = list(tracer.reached)

    for line in lines:
        assert mailbox.begin_wait()
        tracer.raise_at(line)
        with tracer.tracing():
            waking = in_thread(mailbox.wake)
        with pytest.raises(Interrupt):
            waking.result(DEADLINE)
        assert is_woken(mailbox, DEADLINE), line
        mailbox.end_wait(was_woken=True)

    assert lines

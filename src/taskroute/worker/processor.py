"""Processor: from a delivery to its settlement.

The life of a delivery reads from top to bottom: it comes in (`on_deliveries`), a handler thread processes it
(`process`), the end of its handler is concluded (`_conclude`), and it is acknowledged, at once or after it was
republished. Deciding is done elsewhere and is pure (`handling`); here things are called and counted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from taskroute.broker.declare import Declaration
from taskroute.broker.mailbox import Mailbox
from taskroute.broker.roles.consumer import Consumer
from taskroute.graph.routes import Routes
from taskroute.handlers.handler import Handler
from taskroute.handling.dispatch import Dispatcher
from taskroute.handling.fair_queue import FairQueue
from taskroute.handling.settle import Republish, settle
from taskroute.handling.unhandled import unhandled
from taskroute.instrumentation.hooks import Handling
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Outcome
from taskroute.raised import Disclosure
from taskroute.topology.queue import QueueSpec
from taskroute.worker.admissions import Admissions
from taskroute.worker.async_handlers import AsyncHandlers
from taskroute.worker.event_loop import EventLoop
from taskroute.worker.failure import Failure
from taskroute.worker.notifications import Notifications
from taskroute.worker.queue_options import QueueOptions
from taskroute.worker.republish import Republisher
from taskroute.worker.thread_pool import ThreadPool
from taskroute.worker.timeouts import Timeouts
from taskroute.worker.work_queue import WorkQueue

PAUSE: Final = 1.0
"""Seconds until a message is tried again for which the event loop had no thread."""


class Processor:
    """Has deliveries handled and settled. One object for a worker's life.

    A `Consumer` brings it deliveries (`DeliverySink`), `Admissions` say how many messages may pass (`QueueGate`), and a
    `Republisher` says that a failed message is where it goes, or that its delivery is stale (`RepublishSink`).

    Args:
        routes: which handler takes a delivery.
        queues: to consume, by name.
        options: of each queue.
        declaration: what must be on the broker.
        mailbox: of the consuming session.
        republisher: for what fails.
        loop: for async handlers.
        notifications: reports everything.
        handling: what instrumentation enters around each handler.
        threads: that call handlers; 0: the consuming session's thread does.
        thread_name: their names begin with it.
        max_body_size: bytes; a longer body is not even parsed.
        disclosure: what is told of an exception.
    """

    def __init__(
        self,
        *,
        routes: Routes,
        queues: Mapping[str, QueueSpec],
        options: QueueOptions,
        declaration: Declaration,
        mailbox: Mailbox,
        republisher: Republisher,
        loop: EventLoop,
        notifications: Notifications,
        handling: Handling | None,
        threads: int,
        thread_name: str,
        max_body_size: int,
        disclosure: Disclosure,
    ) -> None:
        self._queues = queues
        self._mailbox = mailbox
        self._republisher = republisher
        self._notifications = notifications
        self._has_threads = threads > 0
        self._is_timed = notifications.are_heard  # how long a handler takes is measured for instrumentation only
        self._gated = frozenset((*options.limits, *options.breakers))
        self._has_timeouts = any(handler.timeout is not None for handler in routes.handlers)
        self._leaving = threading.Lock()  # from the end of what is taken until all that waits is on its way back
        self._timeouts = Timeouts(mailbox, self._on_overdue)
        self._dispatcher = Dispatcher(
            routes.resolve,
            max_body_size,
            self._timeouts.begin,
            loop.submit,
            handling,
            partial(unhandled, topology=routes.topology),
            disclosure,
        )
        self.work: Final = WorkQueue(FairQueue({queue: options.limits.get(queue) for queue in self._gated}))
        self.threads: Final = ThreadPool(threads, self.work, self.process, thread_name, self._on_defect)
        self.async_handlers: Final = AsyncHandlers(loop)
        self.admissions: Final = Admissions(options.breakers, gate=self, scheduler=mailbox, notifications=notifications)
        self.consumer: Final = Consumer(
            queues.values(),
            prefetch=options.prefetch,
            declaration=declaration,
            sink=self,
            admission=self.admissions.of,
        )

    # On the consuming session's thread:

    def on_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Line deliveries up for handlers."""
        self._notifications.received(deliveries)  # first: a handler's thread may report on them next
        for delivery in deliveries:
            if delivery.is_retry:  # noted before it can fail again, and its next retry is expected
                self._republisher.on_returned(delivery)
        if not self.work.put(deliveries):
            with self._leaving:  # the worker is stopping: they go back after what waited
                self._mailbox.post(partial(self.consumer.put_back, deliveries))
            return
        if self.admissions.held:  # they were on their way when their queue was left
            self._give_back_held()
        if not self._has_threads:
            self._handle_here()

    def on_connection_lost(self) -> None:
        """Drop what no handler has begun: the broker delivers it again, and what is being handled as well."""
        self.work.forget_waiting()
        self._republisher.on_connection_lost()
        self._tell_lost(lambda _: True)

    def on_counted(self, queue: str, ready: int | None) -> None:
        """Make it known."""
        self._notifications.counted(queue, ready)

    def on_queue_lost(self, queue: str) -> None:
        """Do the same for one queue, whose channel is gone, or that of the one it replaces."""
        self.work.forget_waiting(queue, self.is_stale)
        self._republisher.on_connection_lost()
        self._tell_lost(lambda delivery: delivery.queue == queue and self.is_stale(delivery))

    def _tell_lost(self, is_lost: Callable[[Delivery], bool]) -> None:
        """Tell what is being handled and will be delivered again; not what a thread has just settled, and still has."""
        now = time.monotonic()
        for handlers in (self.threads, self.async_handlers):
            for delivery, since in handlers.current():
                if is_lost(delivery) and self.work.has_open(delivery):
                    self._notifications.lost(delivery, now - since)

    def _give_back_held(self) -> None:
        """Put back what waits of queues that are paused by hand, where that counts as no failed delivery."""
        for queue in self.admissions.held:
            if self.consumer.gives_back(queue):
                self.consumer.put_back(self.work.withdraw(queue, keep=0))

    # On the thread that stops the worker:

    def leave(self) -> None:
        """Consume no more, and have what no handler has begun put back, in its order."""
        self._mailbox.post(self.consumer.cancel)  # first: what is put back would come here again
        with self._leaving:
            waiting = self.work.close()
            self._mailbox.post(partial(self.consumer.put_back, waiting))

    # On a handler's thread, or the consuming session's if there are none:

    def process(self, delivery: Delivery) -> None:
        """Handle a delivery and settle it; an async handler is begun. Raises nothing: other messages wait."""
        try:
            began = time.monotonic() if self._is_timed else 0.0
            if self._gated and delivery.queue in self._gated:
                self.admissions.on_handler_start(delivery)
            outcome = self._dispatcher.dispatch(delivery)
            if isinstance(outcome, Handled | Failed):
                self._conclude(delivery, outcome, began)
            else:
                self._begin(delivery, self._await(delivery, outcome, began))
        except BaseException as error:  # noqa: BLE001 - a defect of ours, or what was put into this thread
            self._on_defect(delivery, error)

    def _begin(self, delivery: Delivery, handling: Coroutine[Any, Any, None]) -> None:
        try:
            self.async_handlers.run(delivery, handling, self._on_dropped)
        except (OSError, RuntimeError) as error:  # no thread can be had now for the event loop
            self._forget(delivery)
            self._notifications.put_off(delivery, error)
            if not self._mailbox.call_later(PAUSE, partial(self._try_again, delivery)):
                self.work.done(delivery)

    # On the event loop's thread:

    async def _await(self, delivery: Delivery, outcome: Coroutine[Any, Any, Outcome], began: float) -> None:
        try:
            self._conclude(delivery, await outcome, began)
        except BaseException as error:  # noqa: BLE001 - as above
            self._on_defect(delivery, error)
        finally:
            self.async_handlers.on_end(delivery)

    # On the thread of `process` or `_await`:

    def _conclude(self, delivery: Delivery, outcome: Outcome, began: float) -> None:
        if self._has_timeouts:
            self._timeouts.end(delivery)
        if isinstance(outcome, Failed) and self.async_handlers.are_stopping:
            return  # past the deadline of `stop`, which cancels async handlers: the message returns to its queue
        if self._gated and delivery.queue in self._gated:
            self._leave_handler(delivery, outcome)
        seconds = time.monotonic() - began if self._is_timed else 0.0
        if isinstance(outcome, Handled):
            self._notifications.handled(delivery, outcome.handler, seconds)
            self._acknowledge(delivery)
            return
        action = settle(delivery, outcome, self._queues[delivery.queue], datetime.now(UTC))
        failure = Failure(delivery, outcome, action, seconds)
        self._notifications.failed(failure)
        if isinstance(action, Republish):
            self._republisher.republish(failure, action, self)
        else:
            self.on_republished(failure)

    def _leave_handler(self, delivery: Delivery, outcome: Outcome) -> None:
        self.admissions.on_handler_end(delivery, outcome)  # first: the next message may not be wanted
        self.work.release(delivery)
        self._call_handlers()

    # On the republishing session's thread, or that of `_conclude`:

    def on_republished(self, failure: Failure) -> None:
        """Acknowledge a failed delivery whose message is where it goes."""
        self._notifications.failure_settled(failure)
        self._acknowledge(failure.delivery)

    def _acknowledge(self, delivery: Delivery) -> None:
        self.consumer.settle(delivery)
        self._mailbox.wake()
        self.work.done(delivery)

    # On any thread:

    def is_stale(self, delivery: Delivery) -> bool:
        """Return whether a delivery's connection is gone, so that the broker delivers it again."""
        return self.consumer.is_stale(delivery)

    def on_stale(self, failure: Failure) -> None:
        """Forget a failed delivery: it is handled again."""
        self.work.done(failure.delivery)

    def permit(self, queue: str, count: int | None) -> None:
        """Let `count` of the messages that wait be handled, None for all."""
        self.work.permit(queue, count)
        self._call_handlers()

    def hold(self, queue: str) -> None:
        """Let nothing of a queue be handled until `let_go`."""
        self.work.hold(queue)

    def let_go(self, queue: str) -> None:
        """End `hold`."""
        self.work.let_go(queue)
        self._call_handlers()

    def reconsider(self, queue: str) -> None:
        """Have the consumer look again at which messages of a queue are wanted, and give back what is held."""
        self._mailbox.post(partial(self.consumer.reconsider, queue))
        self._mailbox.post(self._give_back_held)

    def stuck(self) -> list[str]:
        """Return a sentence for each handler that has outlived its timeout."""
        return [*self.threads.stuck(), *self.async_handlers.stuck()]

    def describe_current(self) -> list[str]:
        """Return a sentence for each handler that runs."""
        return [*self.threads.describe_current(), *self.async_handlers.describe_current()]

    def defects(self) -> list[str]:
        """Return a sentence for each thing that does not work here, and that only a defect can have brought about."""
        defects = []
        if dead := self.threads.dead_count():
            defects.append(f"{dead} handler threads have died")
        if self.async_handlers.are_dead:
            defects.append("the thread of the event loop has died")
        for queue, count in Counter(delivery.queue for delivery in self.work.abandoned).items():
            defects.append(f"{count} messages of queue {queue!r} stay unacknowledged until the connection closes")
        return defects

    # What a defect leaves behind:

    def _on_defect(self, delivery: Delivery | None, error: BaseException) -> None:
        """Leave a delivery unacknowledged, so that it is not lost, and give its place to others.

        On the thread that was to handle or conclude it. Part of its conclusion may have come to pass: if it is
        republished after all it is acknowledged then.
        """
        if delivery is not None:
            self._abandon(delivery)
        self._notifications.processing_failed(delivery, error)

    def _on_dropped(self, delivery: Delivery) -> None:
        if not self.async_handlers.are_stopping:  # or else it returns to its queue, as at the end of `stop`
            self._abandon(delivery)

    def _abandon(self, delivery: Delivery) -> None:
        self.work.abandon(delivery)
        if self.is_stale(delivery):
            self.work.done(delivery)
        self._forget(delivery)

    def _forget(self, delivery: Delivery) -> None:
        """Forget that a handler runs, whatever of it was noted."""
        self._timeouts.end(delivery)
        if delivery.queue in self._gated:
            self.admissions.on_abandoned(delivery)
            self.work.release(delivery)
            self._call_handlers()

    def _try_again(self, delivery: Delivery) -> None:
        """Have a delivery handled that was put off. On the consuming session's thread."""
        if self.is_stale(delivery):
            self.work.done(delivery)
        else:
            self.work.put_back(delivery)
            self._call_handlers()

    # What a handler's timeout, or the lack of threads, asks for:

    def _on_overdue(self, delivery: Delivery, handler: Handler) -> None:
        if self.async_handlers.give_up(delivery) or self.threads.give_up(delivery):
            self.admissions.on_overdue(delivery)
            self._notifications.overdue(delivery, handler.name, handler.timeout or 0)

    def _call_handlers(self) -> None:
        if not self._has_threads:  # `WorkQueue` wakes threads
            self._mailbox.post(self._handle_here)

    def _handle_here(self) -> None:
        while (delivery := self.work.take_now()) is not None:
            self.process(delivery)

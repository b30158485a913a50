"""Dispatch: a delivery to its handler, and how that ended. No I/O, no threads."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import PurePath
from typing import Final

from taskroute.arguments import InvalidArgumentError
from taskroute.errors import AmbiguousHandlerError
from taskroute.message import Delivery
from taskroute.outcome import Failed, Outcome, Reject, Retry
from taskroute.patterns import shorten
from taskroute.registry import Handler, HandlerMatch

DEFAULT_MAX_BODY_SIZE: Final = 1024 * 1024
"""Bytes of a body that a handler is given at most, unless the worker says otherwise."""


class Dispatcher:
    """Calls the handler of a delivery. Safe from any thread: it holds nothing that changes.

    Args:
        resolve: the handler of a queue and routing key.
        max_body_size: bytes; a longer body is not even parsed.
        watch: told when a handler with a timeout is about to be called.
    """

    __slots__ = ("_max_body_size", "_resolve", "_watch")

    def __init__(
        self,
        resolve: Callable[[str, str], HandlerMatch | None],
        max_body_size: int = DEFAULT_MAX_BODY_SIZE,
        watch: Callable[[Delivery, Handler, float], None] = lambda *_: None,
    ) -> None:
        self._resolve = resolve
        self._max_body_size = max_body_size
        self._watch = watch

    def dispatch(self, delivery: Delivery) -> Outcome:
        """Call the handler. Whatever it raises becomes an outcome, `SystemExit` and its like included."""
        if delivery.malformed is not None:
            return Failed(*delivery.malformed)
        if len(delivery.body) > self._max_body_size:
            return Failed("too_large", f"body: {len(delivery.body)} bytes, the limit is {self._max_body_size}")
        try:
            match = self._resolve(delivery.queue, delivery.routing_key)
        except AmbiguousHandlerError as error:
            return Failed("no_handler", str(error))
        if match is None:
            return Failed("no_handler", f"no handler of queue {delivery.queue!r} takes this routing key")
        handler = match.handler
        try:
            arguments = handler.plan.bind(delivery, match.captures)  # runs the validators of the user's models
            if handler.timeout is not None:
                self._watch(delivery, handler, handler.timeout)
            handler.function(**arguments)
        except InvalidArgumentError as error:
            return Failed(error.reason, error.error)
        except BaseException as error:  # noqa: BLE001 - an exit in a handler must not end a worker's thread
            return _failure(error, handler)
        return handler.handled


def _failure(error: BaseException, handler: Handler) -> Failed:
    if isinstance(error, Reject):
        return Failed("rejected", shorten(str(error), 200))
    failed = Failed("handler_error", _describe(error), retryable=True, delays=_own_delays(handler))
    if isinstance(error, Retry):
        return replace(failed, delay=error.delay, asked_for_retry=True)
    return failed


def _own_delays(handler: Handler) -> tuple[timedelta, ...] | None:
    if handler.retry is None:
        return None
    return handler.retry.delays if handler.retry else ()


def _describe(error: BaseException) -> str:
    """Type and place, not the text: an exception's text tends to quote the message it failed on."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{place}".removeprefix("builtins.")

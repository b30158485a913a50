"""Call: a handler's function as a function of a message.

What the call returns decides, not how the function looks: a coroutine of a decorated function is awaited on the event
loop, within the handler's timeout and with its providers open, and what nobody would run is an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from inspect import isawaitable
from typing import Any

from taskroute.handlers.arguments import ArgumentPlan
from taskroute.handlers.crossing import Crossing, Submit
from taskroute.handlers.dependencies import needed, provided, provided_async
from taskroute.handlers.function import is_async
from taskroute.handlers.returned import check_ran, ran
from taskroute.keys.pattern import Captures
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import HandlerTimeoutError

Call = Callable[[Delivery, Captures, Submit], Any]
"""Calls a handler. Returns what it returned, or something to await, which runs it or its rest."""

Finish = Callable[[Any], Coroutine[Any, Any, Any]]
"""Awaits what a function has returned."""


def call_of(function: Callable[..., Any], plan: ArgumentPlan, timeout: float | None) -> Call:
    """Return `function` as a function of a message, async if it is. What providers open is open while it runs."""
    finish: Finish = partial(ran, function)
    if timeout is not None:
        finish = partial(_within, timeout, finish)
    if not is_async(function):
        return _plain_with_providers(function, plan, finish) if plan.dependencies else _plain(function, plan, finish)
    call = _async_with_providers(function, plan) if plan.dependencies else _async(function, plan)
    return call if timeout is None else _limited(call, finish)


def _plain(function: Callable[..., Any], plan: ArgumentPlan, finish: Finish) -> Call:
    def call(delivery: Delivery, captures: Captures, _: Submit) -> Any:
        result = function(**plan.bind(delivery, captures))
        if result is None:
            return None
        if isawaitable(result):
            return finish(result)
        check_ran(function, result)
        return result

    return call


def _plain_with_providers(function: Callable[..., Any], plan: ArgumentPlan, finish: Finish) -> Call:
    # Bind first, so that nothing is opened for a message that does not fit.
    def call(delivery: Delivery, captures: Captures, submit: Submit) -> Any:
        arguments = plan.bind(delivery, captures)
        with provided(plan.dependencies, delivery, captures) as made:
            result = function(**arguments, **needed(plan.needs, made))
            if result is None:
                return None
            if isawaitable(result):
                # Providers are closed in the thread and the context in which they were opened: it waits for the rest.
                return Crossing(submit).wait(finish(result))
            check_ran(function, result)
            return result

    return call


def _async(function: Callable[..., Any], plan: ArgumentPlan) -> Call:
    return lambda delivery, captures, _: function(**plan.bind(delivery, captures))


def _async_with_providers(function: Callable[..., Any], plan: ArgumentPlan) -> Call:
    async def call(delivery: Delivery, captures: Captures, _: Submit) -> Any:
        arguments = plan.bind(delivery, captures)
        async with provided_async(plan.dependencies, delivery, captures) as made:
            value = await function(**arguments, **needed(plan.needs, made))
            return None if value is None else await ran(function, value)

    return call


def _limited(call: Call, finish: Finish) -> Call:
    async def limited(delivery: Delivery, captures: Captures, submit: Submit) -> Any:
        return await finish(call(delivery, captures, submit))

    return limited


async def _within(seconds: float, finish: Finish, result: Awaitable[Any]) -> Any:
    """Await, and cancel what takes too long."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await finish(result)
    except TimeoutError:
        if not limit.expired():
            raise
    finally:
        del limit  # else there is a circle: error, traceback, this frame, limit, its task, error
    raise HandlerTimeoutError(f"cancelled after {seconds} s")  # outside, as the other error knows the limit as well

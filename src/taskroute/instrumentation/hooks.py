"""Instrumentation: the hooks that a subclass overrides. Listeners: several instrumentations as one.

The hooks of `Listeners` raise nothing, and any thread may call them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, NamedTuple

from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.foreign import Log, must_go_on
from taskroute.instrumentation.events import Event
from taskroute.message.message import Message
from taskroute.quoting import shown
from taskroute.raised import TELL_ALL, Disclosure, Raised, at

log = Log("taskroute.instrumentation")


@exported_by("taskroute.instrumentation")
class Instrumentation:
    """Base class of instrumentations. Override the hooks that you need; a hook that is not overridden costs nothing.

    One object may serve several workers and publishers, and is then called from the threads of all of them. Errors that
    it raises are logged, each class once, and harm no message.

    Example:
        >>> from taskroute.instrumentation import Event, Handled, Instrumentation
        >>> class Slow(Instrumentation):
        ...     def on_event(self, event: Event) -> None:
        ...         if isinstance(event, Handled) and event.seconds > 1:
        ...             print(event.handler, event.seconds)
    """

    def on_event(self, event: Event) -> None:
        """Take an event. The class of each event says on which thread.

        Must not block: some threads read from the broker, and read nothing meanwhile.
        """

    def handling(self, message: Message, handler: str) -> AbstractContextManager[object] | None:
        """Return a context manager to enter around one run of a handler, or None.

        It is entered and left in the thread, or the asyncio task, that runs the handler, with validation, middleware
        and dependencies inside. It sees the handler's exception, and cannot suppress it.

        Args:
            message: as it was delivered.
            handler: the name of the handler, as in `Handled.handler`.
        """

    def on_error(self, raised: Raised) -> None:
        """Take what may be told of the exception that a handler ends in, as the worker's `errors` says.

        Called once for each such run, in the thread or task that runs the handler, and before the context manager of
        `handling` is left, which sees the exception itself.
        """

    def publishing(self, exchange: str, routing_key: str, message_id: str) -> Mapping[str, object] | None:
        """Return headers to add to a message, or None. Headers of the caller take precedence.

        Called on the thread that publishes. Exactly one `Published`, `Returned` or `PublishFailed` follows.
        """


class _Hooks(NamedTuple):
    """What one instrumentation wants of a run of a handler."""

    handling: Callable[[Message, str], AbstractContextManager[object] | None]
    on_error: Callable[[Raised], None] | None


Handling = Callable[[Message, str], AbstractContextManager[object]]
Publishing = Callable[[str, str, str], Mapping[str, object]]


class Listeners:
    """Several instrumentations as one. A hook that none of them overrides is None, so that it costs one test.

    Any thread may call the hooks. They raise nothing, but for what interrupts the main thread meanwhile.

    Args:
        instrumentations: in the order in which they are called.
        disclosure: what is told of what they raise.

    Raises:
        ConfigurationError: one is not an `Instrumentation`.
    """

    __slots__ = (
        "_disclosure",
        "_handling",
        "_listening",
        "_lock",
        "_publishing",
        "_reported",
        "handling",
        "on_event",
        "publishing",
    )

    def __init__(self, instrumentations: Iterable[Instrumentation] = (), disclosure: Disclosure = TELL_ALL) -> None:
        if isinstance(instrumentations, Instrumentation):
            raise ConfigurationError(f"instrumentation={shown(instrumentations)} must be a list: instrumentation=[...]")
        self._disclosure = disclosure
        given = tuple(instrumentations)
        for instrumentation in given:
            if not isinstance(instrumentation, Instrumentation):
                raise ConfigurationError(
                    f"instrumentation={shown(instrumentation)} must be an object of a subclass of "
                    f"taskroute.instrumentation.Instrumentation"
                )
        self._listening = [each.on_event for each in given if _overrides(each, "on_event")]
        self._handling = [
            _Hooks(each.handling, each.on_error if _overrides(each, "on_error") else None)
            for each in given
            if _overrides(each, "handling") or _overrides(each, "on_error")
        ]
        self._publishing = [each.publishing for each in given if _overrides(each, "publishing")]
        self._lock = threading.Lock()  # of what follows
        self._reported: set[tuple[str, type[BaseException]]] = set()
        self.on_event: Callable[[Event], None] | None = self._emit if self._listening else None
        self.handling: Handling | None = self._around if self._handling else None
        self.publishing: Publishing | None = self._headers if self._publishing else None

    def raised(self, error: BaseException, handler: str) -> Raised:
        """Return what may be told of an exception of a handler."""
        return self._disclosure.of(error, handler.partition(".")[0])

    def report(self, hook: Callable[..., object], error: BaseException) -> None:
        """Log an error that a hook raised, once for each class of error."""
        name = getattr(hook, "__qualname__", type(hook).__qualname__)
        kind = (name, type(error))
        with self._lock:
            is_new = kind not in self._reported
            self._reported.add(kind)
        if is_new:
            raised = self._disclosure.of(error)
            where = at(raised.place)
            log.error(
                "instrumentation_failed hook=%s error=%s%s; not logged again", name, raised.kind, where, raised=raised
            )

    def _emit(self, event: Event) -> None:
        for hook in self._listening:
            try:
                hook(event)
            except BaseException as error:
                if must_go_on(error):
                    raise
                self.report(hook, error)  # instrumentation must not harm what it watches

    def _around(self, message: Message, handler: str) -> AbstractContextManager[object]:
        return _Around(self, self._handling, message, handler)

    def _headers(self, exchange: str, routing_key: str, message_id: str) -> Mapping[str, object]:
        headers: dict[str, object] = {}
        for hook in self._publishing:
            try:
                headers.update(hook(exchange, routing_key, message_id) or ())
            except Exception as error:  # noqa: BLE001 - as above, but exits on the thread of a caller are the caller's
                self.report(hook, error)
        return headers


class _Around:
    """The context managers of all instrumentations around one run of a handler. All are left, in reverse order."""

    __slots__ = ("_entered", "_handler", "_hooks", "_listeners", "_message")

    def __init__(
        self,
        listeners: Listeners,
        hooks: Iterable[_Hooks],
        message: Message,
        handler: str,
    ) -> None:
        self._listeners = listeners
        self._hooks = hooks
        self._message = message
        self._handler = handler
        self._entered: list[tuple[_Hooks, AbstractContextManager[object]]] = []

    def __enter__(self) -> None:
        for hooks in self._hooks:
            try:
                manager = hooks.handling(self._message, self._handler)
                if manager is not None:
                    manager.__enter__()
                if manager is not None or hooks.on_error is not None:
                    self._entered.append((hooks, nullcontext() if manager is None else manager))
            except BaseException as error:
                if must_go_on(error):
                    raise
                self._listeners.report(hooks.handling, error)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        raised: Raised | None = None
        for hooks, manager in reversed(self._entered):
            if error is not None and hooks.on_error is not None:
                raised = raised or self._listeners.raised(error, self._handler)
                self._tell(hooks.on_error, raised)
            try:
                manager.__exit__(kind, error, trace)
            except BaseException as problem:
                if must_go_on(problem):
                    raise
                if problem is not error:
                    self._listeners.report(hooks.handling, problem)

    def _tell(self, hook: Callable[[Raised], None], raised: Raised) -> None:
        try:
            hook(raised)
        except BaseException as problem:
            if must_go_on(problem):
                raise
            self._listeners.report(hook, problem)


def _overrides(instrumentation: Instrumentation, hook: str) -> bool:
    of_its_class: Any = getattr(type(instrumentation), hook)
    return of_its_class is not getattr(Instrumentation, hook)

"""Serving: a service in this process, which others may ask how it is, and end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from taskroute import (
    Backlog,
    BrokerError,
    BrokerUnavailableError,
    Service,
    ShutdownTimeoutError,
    TaskrouteError,
    Worker,
)
from taskroute.cli.exits import Exit
from taskroute.cli.report import NOT_YET, Report
from taskroute.cli.serving.limit import MessageLimit
from taskroute.cli.terminal import complain
from taskroute.cli.traceback import users_traceback
from taskroute.quoting import without_passwords
from taskroute.service.lifespan import CLOSE_TIMEOUT
from taskroute.service.running import RunningService
from taskroute.service.service import run
from taskroute.worker.options import DEFAULT_SHUTDOWN_TIMEOUT
from taskroute.worker.signals import StopSignal

_LEAVING: Final = 2.0 + CLOSE_TIMEOUT
"""Seconds that the end takes beyond the time of handlers: of the worker, and for leaving what the service holds."""

_DEPTHS_TIMEOUT: Final = 2.0


class Serving:
    """A service that runs. `run` is for the main thread, everything else for any thread.

    Args:
        service: with everything that the command line says of it.
        max_messages: drain when so many have been handled, failures included; None for no such limit.
        beside: is entered with the worker, and left after it has ended.
    """

    def __init__(
        self,
        service: Service,
        *,
        max_messages: int | None = None,
        beside: Callable[[Worker], AbstractContextManager[object]] | None = None,
    ) -> None:
        self._beside = beside
        self._limit = None if max_messages is None else MessageLimit(max_messages, self.drain)
        instrumentation = (*service.instrumentation, *([self._limit] if self._limit else []))
        self._service = service.replace(instrumentation=instrumentation)
        self._stop_signal = StopSignal()
        self._lock = threading.Lock()
        self._worker: Worker | None = None

    @property
    def has_done_its_share(self) -> bool:
        """Whether it drains, or has drained, because `max_messages` have been handled."""
        return self._limit is not None and self._limit.is_reached

    @property
    def has_begun(self) -> bool:
        """Whether there is a worker, which a signal ends. Asked by handlers of signals: takes no lock."""
        return self._worker is not None

    def run(self) -> int:
        """Run until a signal or `drain`, and return the exit code. What is wrong is said on stderr.

        Raises:
            DefinitionError: something is declared wrong; nothing was opened.
        """
        try:
            run(self._service, self._stop_signal, self._watch)
        except ShutdownTimeoutError as error:
            return _failed(error, Exit.FINDINGS)
        except BrokerError as error:
            has_begun = isinstance(error, BrokerUnavailableError) and self._has_been_connected()
            return _failed(error, Exit.FINDINGS if has_begun else Exit.BROKER)
        except TaskrouteError:
            raise
        except Exception as error:  # noqa: BLE001 - of the user's code that opens or closes what handlers use
            print(without_passwords(users_traceback(error)), file=sys.stderr)
            return Exit.FINDINGS if self._has_been_connected() else Exit.BROKER
        return Exit.OK

    def drain(self) -> None:
        """Have it finish what it has begun, and end. Returns at once; also if it has not begun, or has ended."""
        self._stop_signal.set()

    def close(self) -> None:
        """Release the descriptors, once nothing calls `drain` any more."""
        self._stop_signal.close()

    def report(self, *, with_depths: bool = False) -> Report:
        """Return how it is, and what it has done.

        Args:
            with_depths: ask the broker how much is waiting, which may take a moment.
        """
        with self._lock:
            worker = self._worker
        if worker is None:
            return NOT_YET
        health, stats, options = worker.health(), worker.stats(), self._service.worker or {}
        failures = (stats.retried, stats.dead_lettered, stats.dropped)
        return Report(
            live=health.live or not stats.connections,  # it is not started yet, or waits for its broker
            ready=health.ready,
            connected=health.connected,
            reasons=health.reasons,
            warnings=health.warnings,
            handled=sum(stats.handled.values()),
            failed=sum(sum(counts.values()) for counts in failures),
            waiting=_waiting(worker) if with_depths and health.connected else None,
            drain_seconds=float(options.get("shutdown_timeout", DEFAULT_SHUTDOWN_TIMEOUT)) + _LEAVING,
        )

    def backlog(self) -> Mapping[str, Backlog]:
        """Return what its worker knows of queues."""
        with self._lock:
            worker = self._worker
        return {} if worker is None else worker.stats().backlog

    @contextmanager
    def _watch(self, parts: RunningService) -> Iterator[None]:
        with self._lock:
            self._worker = parts.worker
        with nullcontext() if self._beside is None else self._beside(parts.worker):
            yield

    def _has_been_connected(self) -> bool:
        return self._worker is not None and self._worker.stats().connections > 0


def _waiting(worker: Worker) -> int | None:
    try:
        return sum(worker.depths(worker.queues, timeout=_DEPTHS_TIMEOUT).values())
    except TaskrouteError:
        return None


def _failed(error: TaskrouteError, code: Exit) -> Exit:
    complain("run", str(error))
    return code

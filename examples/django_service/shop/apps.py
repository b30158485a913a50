"""The application's configuration: the service, and the publisher of this process."""

from __future__ import annotations

import atexit
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from django.apps import AppConfig

if TYPE_CHECKING:
    from taskroute import Publisher, Service


class ShopConfig(AppConfig):
    """Knows the service. Opens nothing before the first message, so that a process may be forked before."""

    name = "examples.django_service.shop"
    label = "shop"
    service: Service

    def ready(self) -> None:
        """Make the service: models may be imported from now on."""
        from examples.django_service.shop.events import topology  # noqa: PLC0415
        from examples.django_service.shop.handlers import registry  # noqa: PLC0415

        from taskroute import Service  # noqa: PLC0415

        self.service = Service(topology, registry)
        self._lock = threading.Lock()
        self._running = ExitStack()
        self._publisher: Publisher | None = None

    @property
    def publisher(self) -> Publisher:
        """The publisher. Any thread of the process may use it."""
        with self._lock:
            if self._publisher is None:
                self._publisher = self._running.enter_context(self.service.running(worker=False)).publisher
                atexit.register(self._running.close)
            return self._publisher

"""RunningService: the parts of a service that runs."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.publisher.publisher import Publisher
from taskroute.worker.worker import Worker


@exported_by("taskroute")
class RunningService:
    """What `Service.running` gives."""

    def __init__(self, publisher: Publisher, worker: Worker | None) -> None:
        self._publisher = publisher
        self._worker = worker

    @property
    def publisher(self) -> Publisher:
        """The publisher, which handlers are given as well that ask for one."""
        return self._publisher

    @property
    def worker(self) -> Worker:
        """The worker.

        Raises:
            ConfigurationError: it was left out.
        """
        if self._worker is None:
            raise ConfigurationError("this service runs without its worker: running(worker=True) starts it")
        return self._worker

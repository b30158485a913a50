"""Foreign: what handlers of `logging` raise stops where the library logs, and the user's interrupt goes on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.waiting import DEADLINE, in_thread

import taskroute
from taskroute.foreign import Log

SOURCE = Path(taskroute.__file__).parent
OF_USERS = {"foreign.py", "instrumentation/logging.py", "instrumentation/structlog.py", "cli/serving/logs.py"}


class Raising(logging.Handler):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self._error = error

    def emit(self, record: logging.LogRecord) -> None:
        raise self._error


@pytest.fixture
def raising(request: pytest.FixtureRequest) -> Iterator[Log]:
    """A log whose handler raises."""
    handler, logger = Raising(request.param), logging.getLogger("taskroute.a_test")
    logger.addHandler(handler)
    yield Log(logger.name)
    logger.removeHandler(handler)


@pytest.mark.parametrize("raising", [ValueError, SystemExit, GeneratorExit], indirect=True)
def test_what_a_log_handler_raises_is_dropped(raising: Log) -> None:
    raising.warning("a line of %s", "a test")


@pytest.mark.parametrize("raising", [KeyboardInterrupt], indirect=True)
def test_interrupt_of_the_main_thread_goes_on(raising: Log) -> None:
    """On another thread it is none of the user's."""
    in_thread(lambda: raising.error("a line")).result(DEADLINE)

    with pytest.raises(KeyboardInterrupt):
        raising.error("a line")


def test_line_has_the_place_that_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    Log("taskroute.a_test").warning("a line")

    (record,) = caplog.records
    assert (record.filename, record.levelname) == (Path(__file__).name, "WARNING")


def test_every_module_logs_by_a_log_of_the_library() -> None:
    """The command line may quiet a logger, and says where lines go."""
    getting = re.compile(r"logging\.getLogger\([^)]*\)(?!\.addHandler)")
    past = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if getting.search(path.read_text())}

    assert past - OF_USERS == set()

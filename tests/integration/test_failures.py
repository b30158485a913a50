"""What failed is seen: on stderr with no set-up, in the log, and with the dead letter."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE, PROCESS_DEADLINE

from taskroute import ExchangeSpec, QueueSpec, RetryPolicy, Topology
from taskroute.testing import Harness

ROOT = Path(__file__).parents[2]
WHEN_RETRIED = """from tests.kit.inside import asking_what_is_left_longer
    from tests.kit.waiting import DEADLINE, until
    until(lambda: worker.stats().retried)
    with asking_what_is_left_longer(DEADLINE):"""

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("#")], retry=RetryPolicy(delays=(0.01,)))
topology = Topology(exchanges=[shop], queues=[orders])


def lines_of(caplog: pytest.LogCaptureFixture) -> list[tuple[int, list[str]]]:
    """Return level and lines of each failure."""
    records = [record for record in caplog.records if record.getMessage().startswith("message_failed")]
    return [(record.levelno, record.getMessage().split("\n")) for record in records]


def test_example_with_a_typo_prints_what_is_wrong_and_what_is_left(tmp_path: Path) -> None:
    """That of README, in which nobody has set up logging."""
    example = re.findall("```python\n(.+?)```", (ROOT / "README.md").read_text(), re.DOTALL)[0]
    program = tmp_path / "pipeline.py"
    ends = {
        "task.file)": "task.fil)",
        'video.#")])': 'video.#")], retry={"delays": [600]})',  # it still waits then, however long the rest takes
        "    assert worker.wait_idle(timeout=10)": f"    {WHEN_RETRIED}\n        assert worker.wait_idle(timeout=0.5)",
    }
    for text, other in ends.items():
        assert text in example
        example = example.replace(text, other)
    program.write_text(example)

    done = subprocess.run(
        [sys.executable, program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=PROCESS_DEADLINE,
        check=False,
    )

    line = example.split("task.fil)")[0].count("\n") + 1
    assert done.stdout == ""
    shown, left, *_, last = done.stderr.splitlines()
    assert f"error=AttributeError at=pipeline.py:{line} text=\"'Video' object has no attribute 'fil'\"" in shown
    assert left.startswith("not_idle queue=video ready=0 waiting=1 in_flight=0 after=")
    assert (done.returncode, last) == (1, "AssertionError")


def test_failure_is_a_warning_until_the_last_which_has_a_traceback(
    taskroute_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(body: dict[str, Any]) -> None:
        raise LookupError("no order")

    with running(taskroute_url, topology, registry_of(handle, "#", queue=orders)) as (worker, publisher):
        publisher.publish({}, "paid", exchange=shop)
        assert worker.wait_idle(DEADLINE)

    (first, (told,)), (last, (again, *trace)) = lines_of(caplog)
    assert (first, last) == (logging.WARNING, logging.ERROR)
    assert "error=LookupError at=test_failures.py:" in told
    assert "text='no order' handler=tests.integration.test_failures." in told
    assert (told.rpartition("to=")[2], again.rpartition("to=")[2]) == ("orders.retry.10", "orders.dead")
    assert trace[0] == "    Traceback (most recent call last):"
    assert trace[-1] == "    LookupError: no order"


def test_body_that_does_not_validate_names_its_field_and_the_handler(
    taskroute_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handle(body: dict[str, int]) -> None: ...

    with running(taskroute_url, topology, registry_of(handle, "#", queue=orders)) as (worker, publisher):
        publisher.publish({"total": "seven"}, "paid", exchange=shop)
        assert worker.wait_idle(DEADLINE)

    ((level, (line,)),) = lines_of(caplog)
    assert level == logging.ERROR
    assert re.search(r"error='total: int_parsing' at=test_failures\.py:\d+ handler=\S+\.handle to=orders\.dead", line)
    assert "seven" not in line


def test_dead_letter_has_handler_text_and_traceback_of_its_error() -> None:
    def handle(body: dict[str, Any]) -> None:
        raise LookupError("no order " + "7" * 1000)

    registry = registry_of(handle, "#", queue=orders, retry=False)
    with Harness(topology, registry) as harness:
        harness.publish({}, "paid", exchange=shop)
        with pytest.raises(LookupError):
            harness.drain()

        (letter,) = harness.dead_letters(orders)
    assert letter.error.startswith("LookupError at test_failures.py:")
    assert letter.error_text == "no order " + "7" * 491
    assert letter.traceback.startswith("Traceback (most recent call last):\n")
    assert letter.headers["x-taskroute-handler"] == letter.handler == f"{__name__}.{handle.__qualname__}"
    assert letter.headers["x-taskroute-error-text"] == letter.error_text
    assert letter.headers["x-taskroute-error-traceback"] == letter.traceback

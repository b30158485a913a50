"""The pytest plugin, as pytest finds and runs it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

SERVICE = """
import pytest
from unittest.mock import call
from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker

jobs = QueueSpec(name="jobs")
topology = Topology(queues=[jobs])
registry = HandlerRegistry()

@registry.handler("jobs", queue=jobs)
def handle(job: dict) -> None:
    if "bad" in job:
        raise LookupError("a bad job")
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run tests in a pytest of their own, with this plugin and no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(tests: str) -> pytest.RunResult:
        pytester.makepyfile(SERVICE + tests)
        return pytester.runpytest_subprocess("-W", "error", "-p", "taskroute")

    return run


def test_harness_fixture_makes_any_number_of_harnesses(run: Run) -> None:
    result = run(
        """
def test_it(taskroute_harness):
    one, two = taskroute_harness(topology, registry), taskroute_harness(topology, registry, max_body_size=1)
    one.publish({"n": 1}, "jobs", exchange="")
    two.publish({"n": 1}, "jobs", exchange="")
    assert one.handled(handle) == [call({"n": 1})]
    assert [letter.reason for letter in two.dead_letters(jobs)] == ["too_large"]
"""
    )

    result.assert_outcomes(passed=1)


def test_handler_error_fails_the_test_or_its_teardown(run: Run) -> None:
    """An error that the test has not asked for is raised at teardown; the report shows no code of the library."""
    result = run(
        """
def test_silent(taskroute_harness):
    taskroute_harness(topology, registry).publish({"bad": 1}, "jobs", exchange="")

def test_told(taskroute_harness):
    harness = taskroute_harness(topology, registry)
    harness.publish({"bad": 1}, "jobs", exchange="")
    with pytest.raises(LookupError):
        harness.drain()

def test_failed(taskroute_harness):
    harness = taskroute_harness(topology, registry)
    harness.publish({"bad": 1}, "jobs", exchange="")
    harness.handled(handle)
"""
    )

    result.assert_outcomes(passed=2, errors=1, failed=1)
    for title in ("ERROR at teardown of test_silent", "_ test_failed _"):
        result.stdout.fnmatch_lines([f"*{title}*", '*raise LookupError("a bad job")', "E*a bad job"])
    result.stdout.no_re_match_line(r".*(harness|recorder|dispatch|arguments)\.py:\d")  # the user's code and no other


def test_harness_fixture_closes_every_harness_at_teardown(run: Run) -> None:
    result = run(
        """
import threading
made = []

def test_two(taskroute_harness):
    for body in ({"bad": 1}, {}):
        made.append(taskroute_harness(topology, registry))
        made[-1].publish(body, "jobs", exchange="")
    made.append(taskroute_harness(topology, registry))
    made[-1].publish({"bad": 2}, "jobs", exchange="")

def test_after():
    assert [each.worker.health().live for each in made] == [False] * 3
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("taskroute")] == []
"""
    )

    result.assert_outcomes(passed=2, errors=1)


def test_url_fixture_gives_each_test_its_own_broker(run: Run) -> None:
    result = run(
        """
seen = []

@pytest.mark.parametrize("n", range(2))
def test_it(taskroute_url, n):
    from taskroute.broker.embedded import transport
    seen.append(taskroute_url)
    with Publisher(taskroute_url, topology) as publisher:
        publisher.publish({"n": n}, "jobs", exchange="")
        broker = transport.broker(taskroute_url.removeprefix("memory://"))
        assert [message.body for message in broker.peek("jobs")] == [b'{"n":%d}' % n]

def test_after():
    from taskroute.broker.embedded import transport
    first, second = seen
    assert first != second
    assert transport.broker(first.removeprefix("memory://")).peek("jobs") == ()
"""
    )

    result.assert_outcomes(passed=3)


def test_unused_plugin_does_not_import_the_library(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("taskroute")
            assert [name for name in sys.modules if name.partition(".")[0] in ("taskroute", "kombu", "pydantic")] == []
    """)
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)

"""What several processes together answer to probes and scrapes."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from taskroute import Backlog
from taskroute.cli.exposition import BACKLOG, DEAD_LETTERS, merged
from taskroute.cli.probes.answers import SILENT_AFTER, Member, of_several
from taskroute.cli.report import NOT_YET, Report
from taskroute.cli.serving.metrics import labelled
from taskroute.instrumentation import Counted
from taskroute.instrumentation.prometheus import DeadLetterCollector, PrometheusInstrumentation

FINE = Report(live=True, ready=True, connected=True)
NO_BROKER = Report(live=True, ready=False, reasons=("no broker",), warnings=("it rains",))
STUCK = Report(live=False, ready=False, reasons=("every handler thread is stuck",))


def member(number: int, report: Report = FINE, phase: Any = "ready", silent_for: float = 0) -> Member:
    return Member(number, 100 + number, phase, report, silent_for)


@pytest.mark.parametrize(
    ("members", "live", "ready", "reasons"),
    [
        ([member(1), member(2)], True, True, []),
        ([member(1)], True, False, ["1 of 2 processes are ready"]),
        ([], True, False, ["0 of 2 processes are ready"]),
        (
            [member(1), member(2, NOT_YET, "starting")],
            True,
            False,
            ["process 2: starting", "1 of 2 processes are ready"],
        ),
        ([member(1), member(2, NO_BROKER)], True, False, ["process 2: no broker", "1 of 2 processes are ready"]),
        ([member(1), member(2), member(3, NOT_YET, "starting")], True, True, ["process 3: starting"]),
        ([member(1), member(2), member(3, NO_BROKER, "draining")], True, True, []),
        ([member(1), member(2, STUCK)], False, False, None),
        ([member(1), member(2, silent_for=SILENT_AFTER)], False, False, None),
    ],
)
def test_several_are_ready_when_as_many_as_there_are_to_be_are(
    members: list[Member], live: bool, ready: bool, reasons: list[str] | None
) -> None:
    health = of_several(members, 2, is_ending=False)

    assert (health["live"], health["ready"]) == (live, ready)
    assert reasons is None or health["reasons"] == reasons
    assert [each["pid"] for each in health["processes"]] == [each.pid for each in members]


def test_several_that_drain_live_and_say_so() -> None:
    health = of_several([member(1, phase="draining")], 2, is_ending=True)

    assert (health["live"], health["ready"], health["reasons"]) == (True, False, ["draining"])


def test_warnings_of_a_process_have_its_number() -> None:
    assert of_several([member(2, NO_BROKER)], 1, is_ending=False)["warnings"] == ["process 2: it rains"]


def test_metrics_of_two_releases_are_one_valid_text() -> None:
    """They differ in a help text, and in what they have; one has a metric without samples."""
    old = '# HELP a old\n# TYPE a gauge\na{process="1"} 1.0\n# HELP b B\n# TYPE b counter\n'
    new = '# HELP a new\n# TYPE a gauge\na{process="2"} 2.0\n# HELP c C\n# TYPE c gauge\nc{process="2"} 3.0\n'

    text = merged([old, new])

    assert text.count("# HELP a ") == 1
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert [sample.value for sample in families["a"].samples] == [1.0, 2.0]
    assert families.keys() == {"a", "b", "c"}


def test_what_all_processes_see_is_shown_once_as_the_newest_saw_it() -> None:
    """One queue is no two queues: its depth has no process, and no sum over processes is wrong."""
    texts = []
    for process, seen in enumerate(
        ({"video": Backlog(7, 40), "a} b": Backlog(1, 2)}, {"video": Backlog(2, 10)}, {"video": Backlog(9, 20)}, {})
    ):
        registry = CollectorRegistry()
        instrumentation = PrometheusInstrumentation(registry)
        for queue in ("video", "a} b"):
            instrumentation.on_event(Counted(queue=queue, ready=0))
        texts.append(generate_latest(labelled(registry, process, seen)).decode())

    (family,) = (family for family in text_string_to_metric_families(merged(texts)) if family.name == BACKLOG)

    found = {sample.labels["queue"]: (len(sample.labels), sample.value, sample.timestamp) for sample in family.samples}
    assert found == {"video": (1, 2, None), "a} b": (1, 1, None)}


def test_dead_letters_that_all_processes_see_are_shown_once() -> None:
    class Depths:
        def depths(self, *, timeout: float) -> dict[str, int]:
            return {"video.dead": 3}

    texts = []
    for process in (1, 2):
        registry = CollectorRegistry()
        registry.register(DeadLetterCollector(Depths()))
        texts.append(generate_latest(labelled(registry, process)).decode())

    assert merged(texts).endswith(f'# TYPE {DEAD_LETTERS} gauge\n{DEAD_LETTERS}{{queue="video.dead"}} 3.0\n')

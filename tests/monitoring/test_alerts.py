"""The alert rules of the docs: each fires on what it says and on nothing else, and every metric in them is real."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.kit.waiting import until
from tests.monitoring.expressions import metrics_in

if TYPE_CHECKING:
    from tests.monitoring.prometheus import Prometheus

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "monitoring.md").read_text()
CASES = Path(__file__).with_name("alerts_test.yml")


def promtool(*words: str | Path) -> str:
    """Return what it says; its end is 0, or the test fails."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alerts(tools: None) -> list[dict[str, Any]]:
    """The rules as they are written."""
    from tests.monitoring.prometheus import read_yaml

    rules = read_yaml(DOCS / "monitoring" / "alerts.yml")
    return [alert for group in rules["groups"] for alert in group["rules"]]


def test_promtool_takes_the_configuration_and_its_rules(tools: None) -> None:
    assert "16 rules found" in promtool("check", "config", DOCS / "monitoring" / "prometheus.yml")


def test_alerts_fire_on_what_they_say_and_on_nothing_else(tools: None) -> None:
    assert "SUCCESS" in promtool("test", "rules", CASES)


def test_each_alert_is_seen_to_fire_and_not_to_fire(alerts: list[dict[str, Any]]) -> None:
    from tests.monitoring.prometheus import read_yaml

    seen: Counter[tuple[str, bool]] = Counter()
    for case in read_yaml(CASES)["tests"]:
        seen.update((each["alertname"], bool(each["exp_alerts"])) for each in case["alert_rule_test"])

    assert {name for name, _ in seen} == {alert["alert"] for alert in alerts}
    assert [alert["alert"] for alert in alerts for fires in (True, False) if not seen[alert["alert"], fires]] == []


def test_each_alert_is_on_the_page_with_its_severity_and_its_section(alerts: list[dict[str, Any]]) -> None:
    rows = re.findall(r"^\| `(Taskroute\w+)` \| (\w+) \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)

    assert [(name, severity, re.sub(r"\[|\]\(.*?\)", "", section)) for name, severity, section in rows] == [
        (alert["alert"], alert["labels"]["severity"], alert["annotations"]["runbook"]) for alert in alerts
    ]


def test_each_alert_names_a_section_of_the_runbook(alerts: list[dict[str, Any]]) -> None:
    sections = re.findall(r"^## (.+)$", (DOCS / "runbook.md").read_text(), re.MULTILINE)

    assert {alert["annotations"]["runbook"] for alert in alerts} <= set(sections)


def test_every_metric_of_the_alerts_is_one_of_a_real_worker_or_broker(
    alerts: list[dict[str, Any]], prometheus: Prometheus
) -> None:
    read = frozenset[str]().union(*(metrics_in(alert["expr"]) for alert in alerts))

    assert len(read) > 15
    until(lambda: read <= prometheus.metrics)


def test_alerts_on_a_real_prometheus_show_what_happened_to_a_real_service(prometheus: Prometheus) -> None:
    """Among them are three that one event is enough for, and each of these was the first of its kind."""
    expected = {
        ("TaskrouteQueueNotConsumed", "pending"),
        ("TaskrouteQueuePaused", "pending"),
        ("TaskrouteDeadLetters", "pending"),
        ("TaskrouteHandlersOverdue", "firing"),
        ("TaskrouteUnroutable", "firing"),
        ("TaskroutePublishFails", "firing"),
    }

    def shown() -> set[tuple[str, str]]:
        return {(alert["labels"]["alertname"], alert["state"]) for alert in prometheus.ask("alerts")["alerts"]}

    until(lambda: shown() == expected)
    groups = prometheus.ask("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}

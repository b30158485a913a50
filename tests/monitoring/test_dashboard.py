"""The dashboard of the docs: Grafana's fields are there, and each of its queries shows something."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.kit.waiting import until
from tests.monitoring.expressions import metrics_in, without_variables

if TYPE_CHECKING:
    from tests.monitoring.prometheus import Prometheus

DASHBOARD = json.loads((Path(__file__).parents[2] / "docs" / "monitoring" / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def queries() -> Iterator[tuple[str, str]]:
    """Yield the title of a panel and one of its expressions, as Grafana would send it."""
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], without_variables(target["expr"])


def test_dashboard_has_one_variable_for_its_data_source() -> None:
    variables: list[dict[str, Any]] = DASHBOARD["templating"]["list"]

    assert [each["name"] for each in variables if each["type"] == "datasource"] == ["datasource"]
    sources = [each["datasource"] for each in [*variables, *PANELS] if each["type"] != "datasource"]
    sources += [target["datasource"] for panel in PANELS for target in panel["targets"]]
    assert all(source == DATASOURCE for source in sources)


def test_each_panel_has_a_title_a_unit_and_a_place_of_its_own() -> None:
    assert len({panel["title"] for panel in PANELS}) == len(PANELS) > 20
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in PANELS:
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"] in {"short", "ops", "s", "bytes", "percentunit"}
        assert all(target["legendFormat"] for target in panel["targets"])

    taken = [place for panel in DASHBOARD["panels"] for place in places(panel["gridPos"])]
    assert len(taken) == len(set(taken))


def places(grid: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(grid["x"], grid["x"] + grid["w"]):
        assert 0 <= x < 24
        yield from ((x, y) for y in range(grid["y"], grid["y"] + grid["h"]))


def test_every_metric_of_the_dashboard_is_one_of_a_real_worker_or_broker(prometheus: Prometheus) -> None:
    read = frozenset[str]().union(*(metrics_in(expression) for _, expression in queries()))

    assert len(read) > 20
    until(lambda: read <= prometheus.metrics)


def test_each_query_of_the_dashboard_shows_something(prometheus: Prometheus) -> None:
    """Labels that a metric does not have would leave a panel empty, whatever its name."""
    empty = dict.fromkeys(queries())

    def all_show() -> bool:
        for query in [query for query in empty if prometheus.query(query[1])]:
            del empty[query]
        return not empty

    until(all_show)


def test_legends_name_labels_that_their_queries_keep(prometheus: Prometheus) -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            query = without_variables(target["expr"])
            until(partial(prometheus.query, query))
            labels = set(prometheus.query(query)[0]["metric"])
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, panel["title"]

"""A Prometheus that watches a busy service and its RabbitMQ."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from tests.kit import rabbitmq as server

if TYPE_CHECKING:
    from tests.monitoring.prometheus import Prometheus


@pytest.fixture(scope="session")
def tools() -> None:
    """Debian's Prometheus and what reads its files; without them the test is skipped, in CI it fails."""
    if shutil.which("promtool") is None or find_spec("yaml") is None:
        reason = "no Prometheus: scripts/setup --monitoring monitoring installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def prometheus(tools: None, installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It scrapes them every second: what it has not seen yet comes soon."""
    from tests.monitoring.prometheus import watching
    from tests.monitoring.shop import busy_shop

    node, folder = server.Node(), tmp_path_factory.mktemp("prometheus")
    port = node.use_prometheus()
    with (
        server.running(node),
        busy_shop(node, node.url()) as shop,
        watching(folder, {"shop": shop, "rabbitmq": port, "rabbitmq-queues": port}) as running,
    ):
        yield running

"""A Prometheus of the tests' own, with the configuration and the rules of the docs."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import yaml
from tests.kit.ports import KeptPort
from tests.kit.waiting import DEADLINE, until

FOLDER: Final = Path(__file__).parents[2] / "docs" / "monitoring"


class Prometheus:
    """One that runs, by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    @property
    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=DEADLINE) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data that it answers."""
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urlencode(parameters)}", timeout=DEADLINE) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[Any]:
        """Return the series that an expression gives."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    @property
    def metrics(self) -> frozenset[str]:
        """The names of all metrics that it has scraped."""
        return frozenset(self.ask("label/__name__/values"))


def read_yaml(file: Path) -> Any:
    """Return what is in a file."""
    return yaml.safe_load(file.read_text())


def configuration(ports: Mapping[str, int]) -> str:
    """Return that of the docs, with these ports for those in it, by job; it scrapes every second."""
    config = read_yaml(FOLDER / "prometheus.yml")
    config["global"] = dict.fromkeys(config["global"], "1s")
    assert {job["job_name"] for job in config["scrape_configs"]} == set(ports)
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
    return str(yaml.safe_dump(config))


@contextmanager
def watching(folder: Path, ports: Mapping[str, int]) -> Iterator[Prometheus]:
    """One that scrapes these ports, by job, and evaluates the alerts."""
    (folder / "prometheus.yml").write_text(configuration(ports))
    shutil.copy(FOLDER / "alerts.yml", folder)
    port = KeptPort()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port.number}",
        "--log.level=warn",
    ]
    with subprocess.Popen(command) as process:
        try:
            prometheus = Prometheus(port.number)
            until(lambda: prometheus.is_ready)
            yield prometheus
        finally:
            process.kill()
            port.let_go()

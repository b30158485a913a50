"""The wheel builds, installs into an empty environment, needs only what it says, and works; the sdist is complete."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROGRAM = """
import sys, threading
before = threading.active_count()
import taskroute, taskroute.instrumentation.logging
assert threading.active_count() == before
from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker
jobs = QueueSpec(name="jobs")
topology = Topology(queues=[jobs])
registry = HandlerRegistry()
done = threading.Event()
@registry.handler("jobs", queue=jobs)
def handle(body: dict) -> None:
    done.set()
with Worker("memory://", topology, registry, threads=1), Publisher("memory://", topology) as publisher:
    publisher.publish({"n": 1}, "jobs", exchange="")
    assert done.wait(10)
print(taskroute.__version__)
"""


def run(*command: str | Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_installs_into_an_empty_environment_and_works(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("taskroute-*.whl")

    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata_name,) = (name for name in names if name.endswith("METADATA"))
        metadata = message_from_bytes(archive.read(metadata_name))
        entry_points = archive.read(metadata_name.replace("METADATA", "entry_points.txt")).decode()
    assert {
        "taskroute/py.typed",
        "taskroute/cli/project/package/topology.py.txt",
        *(f"taskroute/graph/drawing/page/{file}" for file in ("drawing.css", "page.css", "page.html", "page.js")),
        "taskroute/graph/drawing/page/routing.js",
    } <= set(names)
    assert {name.partition("/")[0] for name in names} - {metadata_name.partition("/")[0]} == {
        "taskroute",
        "taskroute_pytest.py",
    }
    assert entry_points == (
        "[console_scripts]\ntaskroute = taskroute.cli.main:script\n\n[pytest11]\ntaskroute = taskroute_pytest\n"
    )

    required = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(required) == ["amqp>=5.4.1", "kombu<6,>=5.3", "pydantic<3,>=2.7"]
    assert metadata["Requires-Python"] == ">=3.11"

    venv.create(tmp_path / "empty", with_pip=True)
    python = tmp_path / "empty" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    assert run(python, "-W", "error", "-c", PROGRAM).strip() == metadata["Version"]


def test_sdist_has_what_its_tests_and_documentation_read(tmp_path: Path) -> None:
    """A packager runs the tests and builds the documentation from the sdist alone."""
    run(sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path, ROOT)
    (sdist,) = tmp_path.glob("taskroute-*.tar.gz")

    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert names >= {
        ".ci/run",
        ".github/workflows/ci.yml",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "SECURITY.md",
        "docs/conf.py",
        "examples/service.py",
        "scripts/check-commit-subject",
        "src/taskroute/py.typed",
        "tests/api.txt",
    }
    assert not any(name.startswith("docs/_build") or "__pycache__" in name for name in names)

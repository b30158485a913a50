"""The machine and the versions that figures were measured with."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.kit.rabbitmq import SCRIPTS

from benchmarks.rounds import PYTHONS

_PACKAGES = ("kombu", "amqp", "pydantic", "pika", "aio-pika", "faststream", "dramatiq", "celery")


def describe() -> dict[str, str]:
    """What to print beside the results."""
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    listed = subprocess.run(
        [PYTHONS["peers"], "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    versions = [line.replace("==", " ") for line in listed if line.split("==")[0].lower() in _PACKAGES]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{os.cpu_count()} cores, {model.partition(': ')[2] or platform.machine()}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "rabbitmq": SCRIPTS[-1].parent.name.removeprefix("rabbitmq_server-"),
        "packages": ", ".join(sorted(versions)),
    }

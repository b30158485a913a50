"""celery in the same process: two clients on one kombu. `scripts/lowest` runs this with the oldest celery it fits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.kit.waiting import DEADLINE

ROOT = Path(__file__).parents[2]


def test_celery_and_taskroute_run_side_by_side_in_one_process(rabbitmq_url: str) -> None:
    """In a process of its own, as celery sets what is global there."""
    done = subprocess.run(
        [sys.executable, "-W", "error:::taskroute", "-m", "tests.interop.celery_beside", rabbitmq_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * DEADLINE,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "celery " in done.stdout
    assert "Traceback" not in done.stderr

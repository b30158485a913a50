"""examples/django_service: what a view publishes once its transaction is committed is handled by ``runworker``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.kit.waiting import PROCESS_DEADLINE

ROOT = Path(__file__).parents[2]
SETTINGS = "examples.django_service.settings"

VISIT = """
import django
django.setup()
from django.core.management import call_command
from django.test import Client
call_command("migrate", run_syncdb=True, verbosity=0)
print(Client().post("/orders", {"item": "lamp"}).content.decode())
"""
LOOK = """
import django
django.setup()
from examples.django_service.shop.models import Order
print([order.is_packed for order in Order.objects.all()])
"""


def test_order_of_a_view_is_packed_by_the_command(rabbitmq_url: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "TASKROUTE_URL": rabbitmq_url,
        "DATABASE": str(tmp_path / "shop.sqlite3"),
    }

    def script(text: str) -> str:
        return subprocess.run(
            [sys.executable, "-W", "error:::taskroute", "-c", text],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=PROCESS_DEADLINE,
            check=True,
        ).stdout

    number = json.loads(script(VISIT))["number"]
    worker = subprocess.Popen(
        [sys.executable, "-m", "examples.django_service.manage", "runworker", "--threads", "2"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == f"order {number} is packed\n"
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=PROCESS_DEADLINE)
    finally:
        worker.kill()
        worker.communicate()

    assert worker.returncode == 0
    assert script(LOOK) == "[True]\n"

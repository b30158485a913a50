"""The command that runs the worker: ``manage.py runworker``."""

from __future__ import annotations

from typing import Any, cast

from django.apps import apps
from django.core.management.base import BaseCommand, CommandParser
from examples.django_service.shop.apps import ShopConfig

from taskroute import WorkerOptions


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT, and lets what is being handled finish."""

    help = "Handle messages until a signal comes."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what may differ from process to process."""
        parser.add_argument("--threads", type=int, default=8)

    def handle(self, *args: Any, threads: int, **options: Any) -> None:
        """Run."""
        shop = cast("ShopConfig", apps.get_app_config("shop"))
        worker: WorkerOptions = {**(shop.service.worker or {}), "threads": threads}
        shop.service.replace(worker=worker).run()

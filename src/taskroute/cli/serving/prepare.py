"""Prepare: from the settings of a process to what it runs."""

from __future__ import annotations

from argparse import Namespace

from taskroute.cli.serving.logs import configure_logging
from taskroute.cli.serving.metrics import counting, counting_dead_letters
from taskroute.cli.serving.serving import Serving
from taskroute.cli.serving.wiring import wire
from taskroute.cli.settings import Settings
from taskroute.cli.target import load_target


def prepare(settings: Settings) -> Serving:
    """Import the target, and return what can be run of it. Nothing is opened yet.

    Raises:
        UsageError, TargetError: the target cannot be imported, or not be run.
        DefinitionError: something is declared wrong.
    """
    target = load_target(Namespace(target=settings.target, factory=settings.factory, app_dir=settings.app_dir))
    configure_logging(settings.number, is_watched=settings.watched)
    service = wire(target, settings, counting() if settings.measured else ())
    beside = counting_dead_letters if settings.measured else None
    return Serving(service, max_messages=settings.max_messages, beside=beside)

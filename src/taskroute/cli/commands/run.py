"""`taskroute run`: a service, in this process or in several, until a signal."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from taskroute.cli.broker import add_url, check_url, refuse_memory
from taskroute.cli.descriptors import open_standard_descriptors
from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.probes.address import Address
from taskroute.cli.progress import Progress, is_watched
from taskroute.cli.settings import Settings
from taskroute.cli.signals import heed_as_process_one
from taskroute.cli.target import add_target
from taskroute.cli.terminal import complain
from taskroute.cli.typed import seconds, whole_number

if TYPE_CHECKING:
    from taskroute.cli.probes.answers import Answering

_MAX_PROCESSES: Final = 1_000
_MAX_THREADS: Final = 10_000


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    parser.add_argument("--processes", type=whole_number, default=1, metavar="N", help="processes that share the work")
    add_url(parser)
    parser.add_argument(
        "--queues", action="append", default=[], metavar="NAME[,NAME]", help="consume only these; may be repeated"
    )
    parser.add_argument("--threads", type=whole_number, metavar="N", help="for handlers, in each process")
    parser.add_argument("--max-messages", type=whole_number, metavar="N", help="end when so many have been handled")
    parser.add_argument("--max-time", type=seconds, metavar="SECONDS", help="end after this time")
    parser.add_argument(
        "--health", metavar="HOST:PORT", help="serve /live, /ready and /metrics there; metrics need prometheus-client"
    )


def run(arguments: Namespace) -> int:
    """Run it; 0 if it has drained, 1 if the time for that passed or a worker died, 3 if it cannot start."""
    heed_as_process_one()
    open_standard_descriptors()
    _check(arguments)
    address = None if arguments.health is None else Address.parse(arguments.health)
    check_url(arguments.url)
    if arguments.processes > 1:
        refuse_memory(arguments.url)
    settings = Settings(
        target=arguments.target,
        factory=arguments.factory,
        app_dir=arguments.app_dir,
        url=arguments.url,
        queues=tuple(arguments.queues),
        threads=arguments.threads,
        max_messages=arguments.max_messages,
        processes=min(arguments.processes, arguments.max_messages or _MAX_PROCESSES),
        watched=is_watched(),
        measured=address is not None,
    )
    run_it = _run_one if settings.processes == 1 else _run_several
    return run_it(settings, address, arguments.max_time)


def _run_one(settings: Settings, address: Address | None, max_time: float | None) -> int:
    from taskroute.cli.serving.alone import Answers, run_alone
    from taskroute.cli.serving.prepare import prepare

    with closing(prepare(settings)) as serving, _served(address, Answers(serving)) as is_served:
        return run_alone(serving, max_time=max_time, is_watched=settings.watched) if is_served else Exit.BROKER


def _run_several(settings: Settings, address: Address | None, max_time: float | None) -> int:
    from taskroute.cli.serving.logs import configure_logging
    from taskroute.cli.supervisor.answers import Answers
    from taskroute.cli.supervisor.supervisor import Supervisor

    configure_logging(None, is_watched=settings.watched)
    progress = Progress(sys.stderr) if settings.watched else None
    supervisor = Supervisor(settings, max_time=max_time, on_reports=progress.show if progress else None)
    with _served(address, Answers(supervisor)) as is_served, closing(progress) if progress else nullcontext():
        return supervisor.run() if is_served else Exit.BROKER


@contextmanager
def _served(address: Address | None, answering: Answering) -> Iterator[bool]:
    """Serve probes in this block, and give whether that can be done."""
    if address is None:
        yield True
        return
    from taskroute.cli.probes.server import ProbeServer

    try:
        server = ProbeServer(address, answering)
    except OSError as error:
        complain("run", f"cannot listen on --health {address}: {error.strerror or error}")
        yield False
        return
    with closing(server):
        yield True


def _check(arguments: Namespace) -> None:
    """Refuse numbers that make no sense, by their names."""
    for name, least in (("processes", 1), ("threads", 0), ("max_messages", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} {value} is too few: {least} at least")
    for name, most in (("processes", _MAX_PROCESSES), ("threads", _MAX_THREADS)):
        value = getattr(arguments, name)
        if value is not None and value > most:
            raise UsageError(f"--{name} {value} is too many: {most} at most")

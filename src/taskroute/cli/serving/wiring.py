"""Wiring: from the target and the options of the command line to the service that is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from taskroute import Service, Worker
from taskroute.cli.broker import has_use_for_tls, refuse_memory, url_of
from taskroute.cli.exits import UsageError
from taskroute.cli.settings import Settings
from taskroute.cli.suggestion import known_or_suggest
from taskroute.cli.target import Target
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.worker.options import DEFAULT_THREADS, WorkerOptions
from taskroute.worker.queue_options import read_concurrency, read_prefetch
from taskroute.worker.queue_selection import select_queues


def wire(target: Target, settings: Settings, instrumentation: Iterable[Instrumentation] = ()) -> Service:
    """Return the service that a target is, with the options of the command line.

    Raises:
        UsageError: the target cannot be run, or not in several processes.
        DefinitionError: the URL of the environment cannot be used, or an option does not fit.
    """
    service = _service(target)
    service = service.replace(url=url_of(settings.url, target), publisher=_kept(service.publisher, settings))
    options: dict[str, Any] = dict(_kept(service.worker, settings) or {})
    if settings.queues:
        options["queues"] = _queue_names(settings.queues, service)
    if settings.threads is not None:
        options["threads"] = settings.threads
    if settings.processes > 1:
        refuse_memory(service.url)
        options["prefetch"] = _divided_prefetch(service, options, settings.processes)
    return service.replace(
        worker=cast("WorkerOptions", options), instrumentation=(*service.instrumentation, *instrumentation)
    )


def _kept(options: Any, settings: Settings) -> Any:
    """Return the options of a service that count, whose `tls` is none of a broker that --url names without it."""
    if options is None or has_use_for_tls(settings.url):
        return options
    return {name: value for name, value in options.items() if name != "tls"}


def _divided_prefetch(service: Service, options: Mapping[str, Any], processes: int) -> dict[str, int]:
    """Return what each of several processes takes in advance, by queue: together what one was to, each one at least."""
    names, topology = select_queues(service.routes, options.get("queues")), service.topology
    concurrency = read_concurrency(options.get("concurrency"), names, topology)
    threads = options.get("threads", DEFAULT_THREADS)
    counts = read_prefetch(options.get("prefetch"), names, topology, threads, concurrency)
    return {name: max(1, count // processes) for name, count in counts.items()}


def _queue_names(words: Iterable[str], service: Service) -> list[str]:
    """Return the names that were typed, one a word or with commas between them, which a name may have too.

    Raises:
        UsageError: there is no queue of that name; says which ones can be consumed.
    """
    known = {queue.name for queue in service.topology.all_queues}
    names = [name for word in words for name in ([word] if word in known else word.split(",")) if name]
    handled = {handler.queue for handler in service.registry.handlers}
    to_consume = [queue.name for queue in service.topology.queues if handled & {None, queue.name}]
    return [name if name in known else known_or_suggest("--queues", name, to_consume) for name in names]


def _service(target: Target) -> Service:
    if isinstance(target.value, Service):
        return target.value
    if isinstance(target.value, Worker):
        raise UsageError(f"TARGET {target.text!r} is a Worker, made already: name its Service(topology, registry)")
    if target.registry is None:
        raise UsageError(f"TARGET {target.text!r} has no handlers to run: name a Service(topology, registry)")
    return Service(target.topology, target.registry)

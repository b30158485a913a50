"""Wiring: what a harness runs, made of a service: the same parts, on a broker of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from taskroute.errors import ConfigurationError
from taskroute.handlers.marks import Provider
from taskroute.handlers.middleware import Middleware
from taskroute.handlers.registry import HandlerRegistry
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.service.parts import Wiring
from taskroute.service.service import Service
from taskroute.topology.topology import Topology

_OF_ANOTHER_BROKER: Final = frozenset({"tls", "declare", "heartbeat"})
_OF_THE_HARNESS: Final = _OF_ANOTHER_BROKER | {"middleware"}


def service_of(topology: Topology | Service, registry: HandlerRegistry | None) -> Service:
    """Return the service that is meant.

    Raises:
        ConfigurationError: a service and a registry, or something else.
    """
    if not isinstance(topology, Service):
        return Service(topology, registry or HandlerRegistry())
    if registry is not None:
        raise ConfigurationError("a service has a registry: Harness(service), or service.replace(registry=...)")
    return topology


def middleware_of(service: Service, further: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return the middleware of the service's worker, and further inside of it."""
    return (*(service.worker or {}).get("middleware", ()), *further)


def wiring_of(
    service: Service,
    *,
    url: str,
    topology: Topology,
    registry: HandlerRegistry,
    instrumentation: Iterable[Instrumentation],
    overrides: Mapping[Provider, Provider],
    options: Mapping[str, Any],
) -> Wiring:
    """Return the wiring of a service with some of it replaced.

    Args:
        service: says the rest.
        url: of the broker.
        topology: in place of the service's.
        registry: in place of the service's.
        instrumentation: more of it.
        overrides: may have the lifespan.
        options: of the worker; `resources` are in place of the lifespan.
    """
    worker: dict[str, Any] = _without(service.worker, _OF_THE_HARNESS) | dict(options)
    publisher: dict[str, Any] = _without(service.publisher, _OF_ANOTHER_BROKER)
    resources = worker.pop("resources", None)
    lifespan = service.lifespan
    if lifespan is not None and resources is None:
        lifespan = overrides.get(lifespan, lifespan)
    return Wiring(
        url=url,
        topology=topology,
        registry=registry,
        lifespan=lifespan if resources is None else None,
        resources=resources,
        instrumentation=(*service.instrumentation, *instrumentation),
        worker=worker,  # type: ignore[arg-type] # names that `Worker` checks
        publisher=publisher,  # type: ignore[arg-type]
    )


def _without(options: Mapping[str, Any] | None, names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in (options or {}).items() if name not in names}

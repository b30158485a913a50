"""BrokerWriting: does steps: over AMQP, and what AMQP does not do reliably over the management API."""

from __future__ import annotations

from typing import Final, assert_never

from taskroute.broker.alterations import Alterations
from taskroute.broker.denied import DeniedError
from taskroute.errors import BrokerError
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import ObservedBinding
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.steps import AnyStep, Bind, CreateExchange, CreateQueue, DeleteQueue, Unbind

_ENDS: Final = {"queue": "q", "exchange": "e"}


class BrokerWriting:
    """Changes one virtual host. Used by one thread.

    Args:
        alterations: over AMQP.
        api: unbinds, as RabbitMQ agrees to unbind over AMQP and may leave the binding; None: nothing is unbound.
        virtual_host: that the API is told of.
    """

    def __init__(self, alterations: Alterations, api: ManagementApi | None, virtual_host: str) -> None:
        self._alterations = alterations
        self._api = api
        self._virtual_host = virtual_host

    def do(self, step: AnyStep) -> None:
        """Do a step. Raises BrokerError if the broker refuses it, BrokerUnavailableError if it is away."""
        match step:
            case CreateExchange():
                self._alterations.create_exchange(step.spec)
            case CreateQueue():
                self._alterations.create_queue(step.spec)
            case Bind() if step.binding.destination_type == "queue":
                self._alterations.bind_queue(step.binding.destination, step.spec)
            case Bind():
                self._alterations.bind_exchange(step.binding.destination, step.spec)
            case Unbind():
                self._unbind(step.binding)
            case DeleteQueue():
                self._alterations.delete_queue(step.name)
            case _:
                assert_never(step)

    def _unbind(self, binding: ObservedBinding) -> None:
        if self._api is None:
            raise BrokerError(f"{BindingId.observed(binding)} is not unbound without the management API: give --api")
        end = _ENDS[binding.destination_type]
        at = ("bindings", self._virtual_host, "e", binding.source, end, binding.destination, binding.properties_key)
        try:
            self._api.delete(*at)
        except DeniedError as error:
            takes = f"it takes the right to write to {binding.destination!r}, and to read {binding.source!r}"
            raise DeniedError(f"{BindingId.observed(binding)}: {takes}: grant what is missing ({error})") from None

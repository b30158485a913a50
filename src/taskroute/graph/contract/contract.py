"""Contract: what a service routes, handles, reads and writes, as data that outlives its code."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Optional, Self

from taskroute.exported import exported_by
from taskroute.graph.contract import allowances, document
from taskroute.graph.contract.asks import event_entry, handler_entry
from taskroute.graph.contract.comparison import compare
from taskroute.graph.contract.difference import Difference
from taskroute.graph.contract.entries import SECTIONS, BindingEntry, Entry, ExchangeEntry, QueueEntry, RetiredEntry
from taskroute.graph.contract.lines import Code, Lines
from taskroute.graph.contract.routing import Routing
from taskroute.graph.routes import Routes
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Contract(Lines):
    """What a service routes, handles, reads and writes: one entry a line of a file that is kept with the code.

    It holds no URL, no default of a model and nothing else that is secret, so that it can be committed. What
    `taskroute lock` does, a program does with it.

    Example:
        >>> media = ExchangeSpec(name="media")
        >>> def contract_of(binding_key):
        ...     topology = Topology(queues=[QueueSpec(name="video", bindings=[media.bind(binding_key)])])
        ...     return Contract.of(Routes(topology, HandlerRegistry()))
        >>> old = Contract.read(contract_of("video.#").text)
        >>> [str(difference) for difference in contract_of("video.*").differences(old)][:1]
        ["lost: queue 'video': the key 'video' from exchange 'media' does not reach it any more"]
    """

    @classmethod
    def of(cls, routes: Routes) -> Self:
        """Return the contract of a topology and its handlers."""
        topology = routes.topology
        replaced = {queue.replaces for queue in topology.queues}
        handlers = [(handler_entry(handler), handler) for handler in routes.handlers]
        events = [(event_entry(event), event) for event in topology.all_events]
        bindings = (
            *(_binding(queue.name, None, each) for queue in topology.queues for each in queue.bindings),
            *(_binding(None, exchange.name, each) for exchange in topology.exchanges for each in exchange.bindings),
        )
        return cls(
            exchanges=_sorted(map(_exchange, topology.exchanges)),
            queues=_sorted(map(_queue, topology.queues)),
            bindings=_sorted(bindings),
            handlers=_sorted(entry for entry, _ in handlers),
            events=_sorted(entry for entry, _ in events),
            retired=_sorted(RetiredEntry(name=name) for name in topology.retired_names - replaced),
            code=Code(
                {entry.line: handler.plan.body for entry, handler in handlers if handler.plan.body is not None},
                {entry.line: event for entry, event in events},
            ),
        )

    @classmethod
    def read(cls, text: str, name: str = "contract") -> Self:
        """Return the contract that a file holds.

        Args:
            text: of the file.
            name: of the file, for errors.

        Raises:
            ConfigurationError: it is none, or of another version; says where and what.
        """
        sections = document.read(text, name)
        kept: dict[str, Any] = {section: _sorted(entries) for section, entries in sections.items()}
        return cls(**kept)

    @property
    def text(self) -> str:
        """The text of its file: one entry a line, sorted."""
        return document.write({name: getattr(self, name) for name in SECTIONS})

    def differences(self, old: "Contract", name: str = "the earlier contract") -> tuple[Difference, ...]:
        """Return what this contract says otherwise than an earlier one, the worst first.

        Runs validators of the code that this contract was made of, on made-up bodies.

        Args:
            old: the earlier one, read from a file or made of other code.
            name: of its file, for errors.

        Raises:
            ConfigurationError: the entries of one of them do not fit together.
        """
        return compare(old, self, name)

    def allowing(self, differences: Iterable[Difference] = (), *, recorded: Optional["Contract"] = None) -> Self:
        """Return the same contract, in which some differences are meant.

        Args:
            differences: those.
            recorded: a contract whose allowances stay, as long as the message shows the difference that they were made
                for.

        Raises:
            ConfigurationError: the entries of this contract do not fit together.
        """
        routing = Routing(self, "the contract")
        kept = [] if recorded is None else [each for each in recorded.allowed if allowances.is_needed(each, routing)]
        return replace(self, allowed=_sorted([*kept, *map(allowances.entry_of, differences)]))


def _exchange(exchange: ExchangeSpec) -> ExchangeEntry:
    return ExchangeEntry(
        name=exchange.name,
        type=exchange.type,
        durable=exchange.durable,
        auto_delete=exchange.auto_delete,
        internal=exchange.internal,
        passive=exchange.passive,
        alternate_exchange=exchange.alternate_exchange,
        arguments=dict(exchange.arguments),
    )


def _queue(queue: QueueSpec) -> QueueEntry:
    return QueueEntry(
        name=queue.name,
        type=queue.queue_type,
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        passive=queue.passive,
        replaces=queue.replaces,
        arguments={name: value for name, value in queue.broker_arguments.items() if name != "x-queue-type"},
    )


def _binding(queue: str | None, exchange: str | None, binding: BindingSpec) -> BindingEntry:
    return BindingEntry(
        exchange=binding.exchange,
        queue=queue,
        to_exchange=exchange,
        key=binding.binding_key,
        arguments=dict(binding.arguments),
    )


def _sorted(entries: Iterable[Any]) -> tuple[Any, ...]:
    by_line: dict[str, Entry] = {entry.line: entry for entry in entries}
    return tuple(by_line[line] for line in sorted(by_line))

"""DeadLetters: what an operator does with the dead letters of a service. The caller's thread makes every call."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Unpack

from taskroute.broker.taking import Taking
from taskroute.broker.url import Nodes, UrlSource
from taskroute.errors import BrokerUnavailableError, ConfigurationError
from taskroute.exported import exported_by
from taskroute.graph.routes import Routes
from taskroute.handlers.registry import HandlerRegistry
from taskroute.operate.dead_letters.archive import BrokenLineError, letters_in, line_of
from taskroute.operate.dead_letters.capacity import Capacity, capacity_of
from taskroute.operate.dead_letters.delivering import Deliverer, OnProgress, Parcel, Tally
from taskroute.operate.dead_letters.homes import Homes
from taskroute.operate.dead_letters.letter import Letter
from taskroute.operate.dead_letters.lookable import dead_letter_queues, of_queue
from taskroute.operate.dead_letters.looking import AskBroker, Look, look
from taskroute.operate.dead_letters.rehearsal import Prospect, rehearse
from taskroute.operate.dead_letters.results import FoundLetters, LeftLetter, SettledLetters
from taskroute.operate.dead_letters.rewriting import properties_as_letter, properties_for_retry
from taskroute.operate.dead_letters.safekeeping import write_safely
from taskroute.operate.dead_letters.sending import Sending
from taskroute.operate.dead_letters.which import Which, WhichLetters
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import observe
from taskroute.quoting import shown
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

CONSUMER_TIMEOUT: Final = 1800.0
"""Seconds that RabbitMQ lets a delivery be unsettled, unless its configuration says otherwise."""

MAX_REPLAYS: Final = 3

_NAME: Final = "taskroute-dead"


def _tell_nobody(_: int, __: int) -> None: ...


@exported_by("taskroute")
class DeadLetters:
    """Lists the dead letters of a service, sends them again, removes, moves, exports and imports them.

    Each call connects, looks at the dead-letter queues of the topology, and settles only what was there at its start:
    10,000 letters that are meant at most, of 100,000 that it looks at. What it does not settle is put back where it
    was. While it runs nobody else sees the letters that it holds; it ends within half of `consumer_timeout`.

    Only classic queues and quorum queues with a delivery limit of 1,000,000 or more are looked into. Others are counted
    and named in the result: a look is a delivery, and the letter that reaches the limit is destroyed.

    Args:
        url: of the broker, as for `Worker`.
        routes: of the service, or its topology alone: then nobody handles anything, see `rehearse`.
        api: URL of the management API, ``http://host:15672``. It says what policies make of a queue; without it the
            topology's word counts. User and password are those of `url` if it names none.
        tls: as for `Worker`.
        consumer_timeout: seconds that the broker lets a delivery be unsettled.

    Example:
        >>> letters = DeadLetters("memory://", topology)
        >>> letters.find(queue="video").letters
        ()
    """

    def __init__(
        self,
        url: UrlSource,
        routes: Routes | Topology,
        *,
        api: str | None = None,
        tls: ssl.SSLContext | None = None,
        consumer_timeout: float = CONSUMER_TIMEOUT,
    ) -> None:
        if isinstance(routes, Topology):
            routes = Routes(routes, HandlerRegistry())
        if not isinstance(routes, Routes):
            raise ConfigurationError(f"routes={shown(routes)} is neither Routes nor a Topology")
        if api is not None:
            ManagementApi(api, user="", password="")  # refuses a URL of another kind
        self._nodes = Nodes(url, tls)
        self._routes = routes
        self._api = api
        self._time = consumer_timeout / 2
        self._homes = Homes(routes.topology, routes.handled_queues)

    def find(self, **which: Unpack[WhichLetters]) -> FoundLetters:
        """Return the letters that are meant, the first ones first; they stay where they are.

        Raises:
            UnknownQueueError: the topology has no queue of that name.
            BrokerUnavailableError: no node can be reached, or the connection was lost.
        """
        chooser = self._which(which)
        with self._taking() as taking:
            found = self._look(taking, chooser, self._deadline())
        return FoundLetters(letters=tuple(letter for letter, _ in found.held), queues=found.queues)

    def rehearse(self, letter: Letter) -> Prospect:
        """Return what would become of a letter if it were sent again today. Nothing is called, and no broker asked."""
        home = self._homes.of(letter)
        if home.queue is None:
            return Prospect(None, home.problem)
        return rehearse(letter, home.queue, self._routes)

    def retry(
        self,
        *,
        limit: int | None = None,
        rate: float | None = None,
        max_replays: int | None = MAX_REPLAYS,
        on_progress: OnProgress = _tell_nobody,
        **which: Unpack[WhichLetters],
    ) -> SettledLetters:
        """Send letters back to the queue that they failed in, as a first attempt.

        Each is published, confirmed, and only then removed. A queue that refuses one gets no more, and its letters
        stay. Only queues that the topology owns, or that the service handles, get letters, whatever a letter says.

        Args:
            limit: letters at most.
            rate: letters a second at most.
            max_replays: how often a letter may have been sent back before; None for any number.
            on_progress: is told how many are done, and of how many.
            **which: see `WhichLetters`.

        Raises:
            UnknownQueueError, BrokerUnavailableError: as `find`; nothing was done.
        """

        def plan(held: Look) -> tuple[list[Parcel], list[LeftLetter]]:
            parcels: list[Parcel] = []
            left: list[LeftLetter] = []
            for letter, delivery in held.held[:limit]:
                home = self._homes.of(letter)
                if home.queue is None:
                    left.append(LeftLetter(letter=letter, why=home.problem))
                elif max_replays is not None and letter.replays >= max_replays:
                    why = f"it was sent again {letter.replays} times before"
                    left.append(LeftLetter(letter=letter, why=why, is_replayed=True))
                else:
                    parcels.append(Parcel(letter, delivery, home.queue, properties_for_retry(letter, home.queue)))
            return parcels, left

        chooser = self._which(which)
        return self._deliver(chooser, plan, rate, on_progress)

    def move(
        self,
        to: QueueSpec | str,
        *,
        limit: int | None = None,
        rate: float | None = None,
        on_progress: OnProgress = _tell_nobody,
        **which: Unpack[WhichLetters],
    ) -> SettledLetters:
        """Move letters to another queue of the topology, as `retry` sends them again.

        In a dead-letter queue a letter stays a letter; anywhere else it is the first attempt of its message.

        Raises:
            ConfigurationError: `to` is somebody else's.
            UnknownQueueError, BrokerUnavailableError: as `find`; nothing was done.
        """
        name = str(self.check_target(to))

        def plan(held: Look) -> tuple[list[Parcel], list[LeftLetter]]:
            chosen = [each for each in held.held if each[0].lies_in != name]
            parcels = [Parcel(letter, delivery, name, self._moved(letter, name)) for letter, delivery in chosen[:limit]]
            return parcels, []

        chooser = self._which(which)
        return self._deliver(chooser, plan, rate, on_progress)

    def check_target(self, to: QueueSpec | str) -> QueueSpec:
        """Return a queue that letters may be moved to.

        Raises:
            ConfigurationError: it is somebody else's, or a wait queue.
            UnknownQueueError: the topology has none of that name.
        """
        target = self._homes.named(str(to))
        if target.queue is None:
            raise ConfigurationError(f"to: {target.problem}")
        return self._routes.topology.queue(target.queue)

    def remove(
        self,
        file: Path | str,
        *,
        limit: int | None = None,
        on_progress: OnProgress = _tell_nobody,
        **which: Unpack[WhichLetters],
    ) -> SettledLetters:
        """Write letters to a file, and then remove them. `import_from` puts them back.

        Args:
            file: is made, and must not be there; without a letter none is made.
            limit: letters at most.
            on_progress: is told how many are removed, and of how many.
            **which: see `WhichLetters`.

        Raises:
            OSError: the file is there, or cannot be written; nothing was removed.
            UnknownQueueError, BrokerUnavailableError: as `find`; nothing was removed.
        """
        chooser = self._which(which)
        done: list[Letter] = []
        problem = None
        queues: Sequence[Any] = ()
        try:
            with self._taking() as taking:
                found = self._look(taking, chooser, self._deadline())
                queues = found.queues
                chosen = found.held[:limit]
                if chosen:
                    write_safely(Path(file), (line_of(letter) for letter, _ in chosen))
                for letter, delivery in chosen:
                    taking.acknowledge(delivery)
                    done.append(letter)
                    on_progress(len(done), len(chosen))
        except BrokerUnavailableError as error:
            if not done:
                raise
            problem = str(error)
        return SettledLetters(done=tuple(done), left=(), queues=tuple(queues), problem=problem)

    def export(self, write: Callable[[str], object], **which: Unpack[WhichLetters]) -> FoundLetters:
        """Write letters as lines of JSON, and leave them where they are.

        Args:
            write: takes each line, with its end: the method of an open file.
            **which: see `WhichLetters`.

        Raises:
            UnknownQueueError, BrokerUnavailableError: as `find`.
        """
        found = self.find(**which)
        for letter in found.letters:
            write(f"{line_of(letter)}\n")
        return found

    def import_from(
        self,
        lines: Iterable[str | bytes],
        *,
        rate: float | None = None,
        on_progress: OnProgress = _tell_nobody,
    ) -> SettledLetters:
        """Put letters of a file back into the dead-letter queues that they were taken from. Twice is twice.

        Args:
            lines: as `export` and `remove` write them; all are read before anything is done.
            rate: letters a second at most.
            on_progress: is told how many are done, and of how many.

        Raises:
            ConfigurationError: a line is no letter, or one of a queue that is no dead-letter queue of the topology;
                names the line.
            BrokerUnavailableError: as `find`; nothing was done.
        """
        letters = list(letters_in(lines))
        for number, letter in enumerate(letters, 1):
            if not self._homes.keeps_letters(letter.lies_in):
                where = f"letter {number} lay in {letter.lies_in!r}"
                raise BrokenLineError(f"{where}, which is no dead-letter queue of this target")
        parcels = [Parcel(letter, None, letter.lies_in, properties_as_letter(letter)) for letter in letters]
        return self._deliver(None, lambda _: (parcels, []), rate, on_progress)

    def _moved(self, letter: Letter, to: str) -> Mapping[str, object]:
        return properties_as_letter(letter) if self._homes.keeps_letters(to) else properties_for_retry(letter, to)

    def _deliver(
        self,
        chooser: Which | None,
        plan: Callable[[Look], tuple[list[Parcel], list[LeftLetter]]],
        rate: float | None,
        on_progress: OnProgress,
    ) -> SettledLetters:
        if rate is not None and not rate > 0:
            raise ConfigurationError(f"rate={shown(rate)} is no number of letters a second")
        deadline = self._deadline()
        found = Look((), ())
        left: list[LeftLetter] = []
        tally = Tally(0, on_progress)
        try:
            with ExitStack() as stack:
                taking = stack.enter_context(self._taking())
                if chooser is not None:
                    found = self._look(taking, chooser, deadline)
                parcels, left = plan(found)
                tally.of = len(parcels)
                if parcels:
                    sending = stack.enter_context(Sending(self._nodes, name=_NAME))
                    capacities = self._capacities({parcel.to for parcel in parcels})
                    Deliverer(taking, sending, tally, capacities, deadline=deadline, rate=rate).deliver(parcels)
                    sending.check_allowed()
        except BrokerUnavailableError as error:
            if not tally.done and not any(each.may_be_twice for each in tally.left):
                raise
            tally.problem = str(error)
        return SettledLetters(
            done=tuple(tally.done), left=(*left, *tally.left), queues=found.queues, problem=tally.problem
        )

    def _capacities(self, names: Collection[str]) -> Mapping[str, Capacity]:
        found: dict[str, Capacity] = {}
        ask = self._ask_broker()
        observed = {} if ask is None else ask(names)
        topology = self._routes.topology
        specs = (*topology.all_queues, *(spec for spec in topology.retired if isinstance(spec, QueueSpec)))
        declared = {spec.name: spec.broker_arguments for spec in specs}
        for name in names:
            policy = observed[name].policy_definition if name in observed else None
            capacity = capacity_of(declared.get(name, {}), policy or {})
            if capacity is not None:
                found[name] = capacity
        return found

    def _which(self, which: WhichLetters) -> Which:
        chooser = Which.of(which)
        if chooser.queue is not None:
            of_queue(self._routes.topology, chooser.queue)
        return chooser

    def _deadline(self) -> float:
        return time.monotonic() + self._time

    def _look(self, taking: Taking, which: Which, deadline: float) -> Look:
        topology = self._routes.topology
        queues = dead_letter_queues(topology) if which.queue is None else of_queue(topology, which.queue)
        return look(taking, queues, self._ask_broker(), which, deadline)

    def _taking(self) -> Taking:
        return Taking(self._nodes.ask(), name=_NAME)

    def _ask_broker(self) -> AskBroker | None:
        if self._api is None:
            return None
        node = self._nodes.ask()[0]
        api = ManagementApi(self._api, user=node.user, password=node.password)
        return lambda names: observe(api, node.virtual_host, queues=names).queues

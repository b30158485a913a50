"""`taskroute stats`: how much is in the queues now, with their wait and dead-letter queues beside each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from taskroute.cli.broker import add_url, nodes_of, note_memory, quieten_log, tls_of, url_of
from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.suggestion import known_or_suggest
from taskroute.cli.target import add_target, load_target
from taskroute.cli.terminal import complain, show
from taskroute.cli.typed import seconds
from taskroute.cli.uncounted import uncounted

if TYPE_CHECKING:
    from taskroute import QueueSpec
    from taskroute.broker.depths import Absence, Depth
    from taskroute.broker.url import BrokerUrl

_COLUMNS: Final = ("ready", "retry", "dead", "consumers")
_COLUMNS_OF_API: Final = ("unacked", "in_per_second", "out_per_second")
_HEADINGS: Final = {"in_per_second": "in/s", "out_per_second": "out/s"}


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_url(parser)
    add_format(parser)
    parser.add_argument("--queue", metavar="NAME", action="append", help="only this queue; may be repeated")
    parser.add_argument(
        "--api",
        metavar="URL",
        help="of the management API, such as https://host:15671: also unacknowledged messages and rates; "
        "user and password are those of the broker's URL if it names none",
    )
    parser.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="SECONDS", help="for each answer of the broker; 10 if left out"
    )


def run(arguments: Namespace) -> int:
    """Print the depths; 1 if a queue is not there or cannot be looked at."""
    from taskroute.broker.depths import ask_depths

    target = load_target(arguments)
    names = [queue.name for queue in target.topology.queues]
    chosen = [known_or_suggest("--queue", name, names) for name in arguments.queue or names]
    queues = [target.topology.queue(name) for name in chosen]
    nodes = nodes_of(url_of(arguments.url, target), tls_of(arguments.url, target))
    quieten_log()
    replaced = {queue.replaces: queue.name for queue in queues if queue.replaces is not None}
    own = {name: None for queue in queues for name in _names(queue)}
    counted = own | dict.fromkeys(_left_by(replaced))
    depths = ask_depths(nodes, counted, name="taskroute-stats", timeout=arguments.timeout)
    gone = {name for name in _left_by(replaced) if name not in own and depths[name] == "absent"}
    depths = {name: depth for name, depth in depths.items() if name not in gone}
    rows = [_row(queue, depths) for queue in queues]
    known = gone | own.keys()
    rows += [_replaced_row(name, by, depths) for name, by in replaced.items() if not known.issuperset(_left_by([name]))]
    if arguments.api is not None:
        more = _ask_api(arguments, nodes[0], [row["queue"] for row in rows])
        rows = [{**row, **more[row["queue"]]} for row in rows]
    if arguments.format == "json":
        show_document(queues=rows)
    else:
        _show_text(rows, (*_COLUMNS, *(_COLUMNS_OF_API if arguments.api is not None else ())))
    missing = {name: depth for name, depth in depths.items() if isinstance(depth, str)}
    note_memory(nodes)
    is_empty = all(depth == "absent" for depth in depths.values())
    if is_empty and missing and nodes[0].scheme != "memory":
        complain("stats", "none of the queues is there yet: start a worker, which declares them")
    elif missing and not is_empty:
        complain("stats", uncounted(missing, of=len(depths)))
    return Exit.FINDINGS if missing else Exit.OK


def _left_by(replaced: Iterable[str]) -> Iterator[str]:
    """Yield what may be left of queues that others replace: each, and the dead-letter queue that comes with it."""
    from taskroute.topology.queue import DEAD_SUFFIX

    for name in replaced:
        yield from (name, f"{name}{DEAD_SUFFIX}")


def _wait_queues(queue: QueueSpec) -> list[str]:
    from taskroute.topology.queue import wait_queues_of

    return list(dict.fromkeys(wait_queues_of(queue)))  # several attempts may wait as long


def _names(queue: QueueSpec) -> list[str]:
    dead = queue.dead_letter_queue
    return [queue.name, *_wait_queues(queue), *([dead] if dead is not None else [])]


def _row(queue: QueueSpec, depths: Mapping[str, Depth | Absence]) -> dict[str, Any]:
    own, waits = depths[queue.name], _wait_queues(queue)
    return {
        "queue": queue.name,
        "state": own if isinstance(own, str) else "there",
        "ready": _ready(own),
        "retry": _sum(_ready(depths[name]) for name in waits),
        "dead": None if queue.dead_letter_queue is None else _ready(depths[queue.dead_letter_queue]),
        "consumers": None if isinstance(own, str) else own.consumers,
        "dead_letter_queue": queue.dead_letter_queue,
        "wait_queues": {name: _ready(depths[name]) for name in waits},
        "not_there": [name for name in _names(queue) if isinstance(depths[name], str)],
    }


def _replaced_row(name: str, by: str, depths: Mapping[str, Depth | Absence]) -> dict[str, Any]:
    (_, dead), own = _left_by([name]), depths.get(name, "absent")
    return {
        "queue": name,
        "state": own if isinstance(own, str) else "there",
        "replaced_by": by,
        "ready": _ready(own),
        "retry": None,
        "dead": _ready(depths[dead]) if dead in depths else None,
        "consumers": None if isinstance(own, str) else own.consumers,
        "dead_letter_queue": dead if dead in depths else None,
        "wait_queues": {},
        "not_there": [],
    }


def _ready(depth: Depth | Absence) -> int | None:
    return None if isinstance(depth, str) else depth.ready


def _sum(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _ask_api(arguments: Namespace, node: BrokerUrl, rows: Iterable[str]) -> dict[str, dict[str, Any]]:
    from taskroute.operate.management import ManagementApi

    api = ManagementApi(arguments.api, user=node.user, password=node.password, timeout=arguments.timeout)
    return {name: _of_api(api.queue(node.virtual_host, name) or {}) for name in rows}


def _of_api(found: Mapping[str, Any]) -> dict[str, Any]:
    counts = found.get("message_stats") or {}
    rates = {name: (counts.get(f"{name}_details") or {}).get("rate") for name in ("publish", "deliver_get")}
    return {
        "unacked": found.get("messages_unacknowledged"),
        "in_per_second": rates["publish"],
        "out_per_second": rates["deliver_get"],
        "policy": found.get("policy") or None,
    }


def _show_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print a table with the names last, where they may be as long as they are."""
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    headings = [_HEADINGS.get(column, column) for column in columns]
    widths = [max(len(text) for text in texts) for texts in zip(headings, *cells, strict=True)]
    show(f"{_aligned(headings, widths)}  queue")
    for row, texts in zip(rows, cells, strict=True):
        show(f"{_aligned(texts, widths)}  {row['queue']}{_note(row)}")
    if not rows:
        show("the topology has no queue")


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.rjust(width) for text, width in zip(texts, widths, strict=True))


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _note(row: Mapping[str, Any]) -> str:
    states = [] if row["state"] == "there" else [row["state"]]
    if "replaced_by" in row:
        states.append(f"replaced by {row['replaced_by']}")
    elif not states and row["not_there"]:
        states.append(f"without {', '.join(row['not_there'])}")
    return f" ({', '.join(states)})" if states else ""

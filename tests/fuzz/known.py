"""Known differences: where the embedded broker is not RabbitMQ on purpose. `docs/embedded.md` names each by its id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.fuzz.comparison import Difference
from tests.fuzz.generation import SHORT
from tests.fuzz.operations import Cancel, CloseChannel, Consume, DeclareQueue, Prefetch, Publish, Wait


@dataclass(frozen=True)
class Known:
    """A difference that is documented.

    Attributes:
        id: as on the page.
        explains: whether a difference that was found is this one.
        since: the first RabbitMQ that has it.
        before: the first RabbitMQ that has it no more.
    """

    id: str
    explains: Callable[[Difference], bool]
    since: tuple[int, int] = (3, 10)
    before: tuple[int, int] | None = None


def _declared(difference: Difference) -> list[DeclareQueue]:
    return [each for each in difference.done if isinstance(each, DeclareQueue) and not each.passive]


def _is_quorum(queue: DeclareQueue) -> bool:
    return queue.arguments.get("x-queue-type") == "quorum"


def _quorum_limits(difference: Difference) -> bool:
    """RabbitMQ takes one message more before a queue refuses."""
    refusing = {
        queue.name
        for queue in _declared(difference)
        if _is_quorum(queue)
        and queue.arguments.keys() & {"x-max-length", "x-max-length-bytes"}
        and queue.arguments.get("x-overflow", "drop-head") != "drop-head"
    }
    ours, theirs = difference.embedded, difference.rabbitmq
    is_answer = bool(refusing) and isinstance(difference.last, Publish) and ours.answer != theirs.answer
    return is_answer or any(ours.queues.get(name) != theirs.queues.get(name) for name in refusing)


def _quorum_bytes(difference: Difference) -> bool:
    """RabbitMQ counts more than bodies."""
    return any(_is_quorum(queue) and "x-max-length-bytes" in queue.arguments for queue in _declared(difference))


def _quorum_expires(difference: Difference) -> bool:
    """RabbitMQ looks at an unused queue every few seconds."""
    return difference.last == Wait() and any(
        _is_quorum(queue) and queue.arguments.get("x-expires") == SHORT for queue in _declared(difference)
    )


def _quorum_prefetch(difference: Difference) -> bool:
    """A message that has passed its delivery limit makes room for two."""
    has_prefetch = any(isinstance(each, Prefetch) and each.count for each in difference.done)
    is_answered = difference.embedded.answer == difference.rabbitmq.answer
    return (
        has_prefetch
        and is_answered
        and any(_is_quorum(queue) and "x-delivery-limit" in queue.arguments for queue in _declared(difference))
    )


def _replaced_queues(difference: Difference) -> bool:
    """A channel looks at a queue as if it still were of the type that it has known."""
    types: dict[str, set[bool]] = {}
    for queue in _declared(difference):
        types.setdefault(queue.name, set()).add(_is_quorum(queue))
    has_two = any(len(each) > 1 for each in types.values())
    return has_two and difference.rabbitmq.answer == ("connection closed", 541)


def _tags_again(difference: Difference) -> set[str]:
    """Return the quorum queues of which a channel has consumed again under a tag that it had cancelled."""
    quorum = {queue.name for queue in _declared(difference) if _is_quorum(queue)}
    started: dict[tuple[int, str], str] = {}
    cancelled: dict[tuple[int, str], str] = {}
    again: set[str] = set()
    for each in difference.done:
        match each:
            case Consume(queue=queue, tag=tag) if queue in quorum:
                if cancelled.get((each.on, tag)) == queue:
                    again.add(queue)
                started[each.on, tag] = queue
            case Cancel(tag=tag) if (each.on, tag) in started:
                cancelled[each.on, tag] = started[each.on, tag]
            case CloseChannel():
                cancelled = {(on, tag): queue for (on, tag), queue in cancelled.items() if on != each.on}
    return again


def _single_active_tags(difference: Difference) -> bool:
    """A consumer that has waited for its turn is taken for the earlier one with its tag, which has ended."""
    again = _tags_again(difference)
    return any(queue.name in again and "x-single-active-consumer" in queue.arguments for queue in _declared(difference))


def _open_tags(difference: Difference) -> bool:
    """RabbitMQ looks for deliveries that it takes for lost, and closes the connection."""
    closed = ("connection closed", 541)
    told = (difference.rabbitmq.answer, *(event for some in difference.rabbitmq.events for event in some))
    return closed in told and bool(_tags_again(difference))


KNOWN: Final[tuple[Known, ...]] = (
    Known("quorum-limits", _quorum_limits),
    Known("quorum-bytes", _quorum_bytes, since=(4, 3)),
    Known("quorum-expires", _quorum_expires),
    Known("quorum-prefetch", _quorum_prefetch, before=(4, 0)),
    Known("replaced-queues", _replaced_queues),
    Known("single-active-tags", _single_active_tags),
    Known("open-tags", _open_tags, before=(4, 0)),
)


UNREACHED: Final = frozenset(
    (
        "streams",
        "exchange-types",
        "consumer-priorities",
        "global-prefetch",
        "delayed-retries",
        "transactions",
        "direct-reply-to",
        "one-process",
        "users",
        "confirms",
        "parked-dead-letters",
        "consumer-timeout",
        "alarms",
        "encoding-errors",
        "answers",
        "texts",
    )
)
"""What the page names as well, and no sequence meets: it is not generated, takes too long, or is not looked at."""


def explanation(difference: Difference, release: str) -> Known | None:
    """Return the known difference that this one is, on a release of RabbitMQ."""
    major, minor, *_ = release.split(".")
    version = (int(major), int(minor))
    there = [known for known in KNOWN if known.since <= version and (known.before is None or version < known.before)]
    return next((known for known in there if known.explains(difference)), None)

"""Health: whether a worker lives and does its work, and why not. Pure."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from taskroute.exported import exported_by
from taskroute.topology.broker_facts import BrokerFacts


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Health:
    """How a worker is, for probes and for people.

    `live`: it can still do its work; if not, only a new process helps. `ready`: it is doing it now, on every queue.
    `reasons`: why not, a sentence each; a worker that stops and lets its handlers finish is live, and ``draining``.
    `warnings`: what does not keep it from its work yet, and will if nobody mends it.
    `connected`: to the broker. `consuming`: the queues that are being consumed. `paused`: those that are left alone,
    by their circuit breaker or by hand. `stuck`: handlers that run for longer than their timeout. `last_activity`:
    seconds since a message was last delivered or settled, None before the first. `broker`: which one it is connected
    to, or was last; the embedded one (``memory://``) names the RabbitMQ whose rules it follows.

    Example:
        >>> Health(live=True, ready=False, reasons=("not consuming jobs",), connected=True).reasons
        ('not consuming jobs',)
    """

    live: bool
    ready: bool
    reasons: tuple[str, ...]
    connected: bool = False
    consuming: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    last_activity: float | None = None
    warnings: tuple[str, ...] = ()
    broker: BrokerFacts | None = None


@dataclass(frozen=True, slots=True)
class HeldUp:
    """Failed messages of a queue that cannot be republished, or take long to be: how many, and why."""

    queue: str
    count: int
    why: str

    def __str__(self) -> str:
        return f"queue {self.queue!r}: {self.count} failed messages are not republished: {self.why}"


def diagnose(
    *,
    ended: str | None,
    draining: bool,
    unavailable: str | None,
    queues: Iterable[str],
    consuming: Iterable[str],
    missing: Mapping[str, str],
    paused: Mapping[str, str],
    held: Collection[str] = (),
    awaiting: Collection[str] = (),
    stuck: Sequence[str],
    no_thread_left: bool,
    held_up: Iterable[HeldUp],
    capacities: Mapping[str, int],
    last_activity: float | None,
    defects: Sequence[str] = (),
    broker: BrokerFacts | None = None,
    noticed: Iterable[str] = (),
) -> Health:
    """Conclude from what a worker's parts say.

    Args:
        ended: why it does not run at all.
        draining: whether it consumes no more, and lets its handlers finish.
        unavailable: why it is not connected.
        queues: that it is there for.
        consuming: that it consumes now.
        missing: by queue, why it cannot be consumed.
        paused: by queue, why its circuit breaker leaves it alone.
        held: queues that are paused by hand, which is meant to be, and so only a warning.
        awaiting: queues that wait until the one that they replace is gone.
        stuck: what each stuck handler is doing.
        no_thread_left: whether every thread that handlers have is stuck or dead.
        held_up: failed messages that are not republished. They are a warning until there is no room for others.
        capacities: by queue, how many messages may be unsettled now.
        last_activity: seconds since.
        defects: what does not work though it should.
        broker: which one the last connection was to.
        noticed: what else is a warning.
    """
    consuming = tuple(sorted(consuming))
    left = ", ".join(sorted(set(queues).difference(consuming, paused, held, awaiting, missing)))
    reasons = []
    if ended is not None:
        reasons.append(ended)
    elif draining:
        reasons.append("draining")
    elif unavailable is not None:
        reasons.append(unavailable)
    else:
        reasons += [f"not consuming {queue}: {why}" for queue, why in sorted(missing.items())]
        if left:
            reasons.append(f"not consuming {left}")
    reasons += paused.values()
    reasons += [f"{handler} for longer than its timeout" for handler in stuck]
    reasons += defects
    if no_thread_left:
        reasons.append(
            "no handler thread is left: every one is stuck or dead" if defects else "every handler thread is stuck"
        )
    warnings = [f"queue {queue!r} is paused by hand, until resume({queue!r})" for queue in sorted(held)]
    warnings += noticed
    for failed in held_up:
        is_full = failed.count >= capacities[failed.queue]
        (reasons if is_full else warnings).append(f"{failed}; it takes no others" if is_full else str(failed))
    return Health(
        live=ended is None and not no_thread_left,
        ready=not reasons,
        reasons=tuple(reasons),
        connected=ended is None and unavailable is None,
        consuming=consuming,
        paused=tuple(sorted({*paused, *held})),
        stuck=tuple(stuck),
        last_activity=last_activity,
        warnings=tuple(warnings),
        broker=broker,
    )

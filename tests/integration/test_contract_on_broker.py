"""What a contract says is lost, held to both versions of a service as they run on an embedded broker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from hypothesis import given, settings
from tests.kit.service_strategies import HEADERS, NOBODY, ServiceMessage, messages, services

from taskroute import Contract, HandlerRegistry, Message, Routes
from taskroute.testing import Harness

Fates = dict[ServiceMessage, dict[str, str]]
"""By message the queues that it came to, each with the label of the handler that took it, or NOBODY."""


def run(routes: Routes, sent: Iterable[ServiceMessage]) -> Fates:
    """Publish messages to a service that runs, and return what became of them."""
    fates: Fates = {}
    by_id = {str(number): message for number, message in enumerate(sent)}
    registry = HandlerRegistry()
    for handler in routes.handlers:
        if handler.is_fallback:
            registry.fallback(queue=handler.queue)(recorder(fates, by_id, "fallback"))
        else:
            label = str(handler.pattern)
            registry.add(label, recorder(fates, by_id, label), queue=handler.queue)
    open_to_all = {exchange.name for exchange in routes.topology.exchanges if not exchange.internal}
    is_for_any = any(handler.queue is None for handler in routes.handlers)
    consumed = {queue.name for queue in routes.topology.queues if is_for_any} | set(routes.handled_queues)
    with Harness(routes.topology, registry if consumed else None, queues=sorted(consumed) or None) as harness:
        for message_id, (exchange, key, at) in by_id.items():
            if exchange in ("", *open_to_all):
                harness.publish(
                    b"", key, exchange=exchange, headers=HEADERS[at], message_id=message_id, mandatory=False
                )
        harness.drain()
        for queue in routes.topology.queues:
            left = harness.dead_letters if queue.name in consumed else harness.messages
            for message in left(queue.name):
                fates.setdefault(by_id[str(message.message_id)], {})[queue.name] = NOBODY
    return fates


def recorder(fates: Fates, by_id: dict[str, ServiceMessage], label: str) -> Callable[[Message], None]:
    """Return a handler that notes what it takes."""

    def take(message: Message) -> None:
        fates.setdefault(by_id[str(message.message_id)], {})[message.queue] = label

    return take


def missed(old: Routes, before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    """The names of what was handled, or brought to a queue without handlers, and is not any more."""
    for queue, label in before.items():
        is_dead = label == NOBODY and queue in old.handled_queues
        if not is_dead and (queue not in now or (label != NOBODY and now[queue] == NOBODY)):
            yield from (queue, f"{queue}:{label}")


@given(services(), services())
@settings(max_examples=30)
def test_message_that_a_running_service_does_not_handle_any_more_is_told_and_no_other(old: Routes, new: Routes) -> None:
    written = Contract.read(Contract.of(old).text)
    lost = [each for each in Contract.of(new).differences(written) if each.code == "lost"]
    shown = {each.name: (each.exchange or "", each.key or "", HEADERS.index(dict(each.headers))) for each in lost}
    sent = list(dict.fromkeys([*messages(old), *shown.values()]))

    before, now = run(old, sent), run(new, sent)

    for message, fate in before.items():
        names = list(missed(old, fate, now.get(message, {})))
        assert shown.keys() & set(names) or not names
    for name, message in shown.items():
        assert name in missed(old, before.get(message, {}), now.get(message, {}))

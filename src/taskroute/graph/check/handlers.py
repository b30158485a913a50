"""Checks of handlers: whether each can run, and which one does where several could."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Iterator
from inspect import Signature
from typing import Annotated, Any, Final, Never, NoReturn, TypeVar, get_args, get_origin

from taskroute.graph.check.finding import Finding
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.ways import BUDGET
from taskroute.handlers.ambiguity import WAY_OUT, Ambiguity, find_ambiguities
from taskroute.handlers.annotations import return_annotation
from taskroute.handlers.function import is_wrapper
from taskroute.handlers.handler import Handler
from taskroute.keys.automaton import find_words
from taskroute.quoting import cut, type_name

_AWAITABLE: Final = (Awaitable, Coroutine)

_NO_ANSWER: Final = ("Any", "Never", "NoReturn")
"""Names of types that say nothing, where a module has them for type checkers alone."""


def ambiguities(graph: Graph) -> Iterator[Ambiguity]:
    """Yield the pairs of handlers that may be ambiguous."""
    return find_ambiguities(graph.handlers)


def ambiguous(_: Graph, ambiguity: Ambiguity) -> Iterator[Finding]:
    """Find that two handlers share a key, and neither is more specific."""
    is_decided = ambiguity.witness is not None
    yield Finding(
        code="ambiguous_handlers" if is_decided else "undecided",
        severity="error" if is_decided else "warning",
        subject=str(ambiguity.first),
        witness=ambiguity.witness,
        message=f"{ambiguity}: {WAY_OUT}" if is_decided else str(ambiguity),
    )


def registered_by_pattern(graph: Graph) -> Iterator[Handler]:
    """Yield the handlers without the fallbacks, which need not get a key."""
    return (handler for handler in graph.handlers if not handler.is_fallback)


def unreached(graph: Graph, handler: Handler) -> Iterator[Finding]:
    """Find that a handler never runs, or never for a queue: no key gets there, or others take every key."""
    keys = {queue: graph.key_reaching(handler, queue) for queue in graph.queues_of(handler)}
    fed = {queue: key for queue, key in keys.items() if key is not None}
    if fed:
        yield from _shadowed(graph, handler, fed)
        return
    where = "any queue" if handler.queue is None else f"queue {handler.queue!r}"
    yield Finding(
        code="unfed_handler",
        severity="error",
        subject=str(handler),
        witness=None,
        message=f"{handler} can never run: no binding of {where} lets in a key that it takes: "
        f"add the binding, or correct the pattern",
    )


def _shadowed(graph: Graph, handler: Handler, fed: dict[str, str]) -> Iterator[Finding]:
    winners = {queue: graph.winners(handler, queue) for queue in fed}
    shadowed = [queue for queue in fed if winners[queue] and graph.key_reaching(handler, queue, winners[queue]) is None]
    for queue in shadowed:
        names = ", ".join(str(other) for other in winners[queue][:3])
        yield Finding(
            code="shadowed_handler",
            severity="warning" if len(shadowed) == len(fed) else "info",
            subject=str(handler),
            witness=fed[queue],
            message=f"{handler} never runs for queue {queue!r}: {names} comes first, for example for {fed[queue]!r}",
        )


def functions(graph: Graph) -> Iterator[Handler]:
    """Yield one handler of each function."""
    yield from {id(handler.function): handler for handler in reversed(graph.handlers)}.values()


def unused_answer(_: Graph, handler: Handler) -> Iterator[Finding]:
    """Find that a function says that it returns something, which nobody takes.

    Middleware may take it, and so may a decorator.
    """
    if handler.middleware or is_wrapper(handler.function):
        return
    annotation = return_annotation(handler.function)
    if _is_an_answer(annotation):
        yield Finding(
            code="unused_answer",
            severity="warning",
            subject=str(handler),
            witness=".".join(find_words((handler.pattern.tokens,), (), BUDGET) or ()),
            message=f"{handler} returns {cut(type_name(annotation), 80)}, and nobody takes an answer: publish it, or "
            f"annotate the function with -> None",
        )


def _is_an_answer(annotation: Any) -> bool:
    """Return whether an annotation certainly says that there is one. What is awaited is looked into."""
    if get_origin(annotation) is Annotated:
        return _is_an_answer(get_args(annotation)[0])
    if annotation in _AWAITABLE:
        return False
    if get_origin(annotation) in _AWAITABLE:
        return _is_an_answer(get_args(annotation)[-1])
    is_unknown = isinstance(annotation, TypeVar) or getattr(annotation, "__name__", None) in _NO_ANSWER
    return not is_unknown and annotation not in (None, type(None), Signature.empty, Any, object, NoReturn, Never)

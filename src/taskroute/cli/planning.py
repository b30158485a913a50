"""Planning: what the commands `plan`, `apply` and `prune` have in common."""

from __future__ import annotations

import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taskroute.cli.broker import add_url, nodes_of, note_memory, quieten_log, tls_of, url_of
from taskroute.cli.consent import agrees, check_can_ask
from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.target import add_targets, load_targets
from taskroute.cli.terminal import complain, show

if TYPE_CHECKING:
    from taskroute.broker.url import BrokerUrl
    from taskroute.operate.management import ManagementApi
    from taskroute.operate.observed import Observed
    from taskroute.operate.plan.binding_id import BindingId
    from taskroute.operate.plan.execute import Outcome
    from taskroute.operate.plan.looking import Looking
    from taskroute.operate.plan.steps import AnyStep, Command, Plan
    from taskroute.operate.plan.targets import Targets
    from taskroute.operate.plan.writing import BrokerWriting


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and what it was made of."""

    targets: Targets
    nodes: Sequence[BrokerUrl]
    api: ManagementApi | None
    looking: Looking
    observed: Observed
    plan: Plan


def add_planning(parser: ArgumentParser) -> None:
    """Give a command its targets, and the options that say which broker it is about."""
    add_targets(parser)
    add_url(parser)
    add_format(parser)
    parser.add_argument(
        "--api",
        metavar="URL",
        help="of the management API, such as https://host:15671; user and password are those of the broker's URL if it "
        "names none. Without it only what is missing is seen",
    )


def add_was(parser: ArgumentParser) -> None:
    """Give a command the option --was."""
    parser.add_argument(
        "--was",
        metavar="FILE",
        action="append",
        default=[],
        help="the contract of an earlier release, as taskroute lock writes it: its bindings that no target has are "
        "stale; may be repeated",
    )


def planned(arguments: Namespace) -> Planned:
    """Return the plan of what a command was given.

    Raises:
        UsageError: an argument cannot be used.
        DefinitionError: the targets do not fit together.
        BrokerUnavailableError: the broker cannot be looked at.
    """
    from dataclasses import replace

    from taskroute.operate.management import ManagementApi
    from taskroute.operate.plan.compare import compare
    from taskroute.operate.plan.looking import ApiLooking
    from taskroute.operate.plan.passive import PassiveLooking
    from taskroute.operate.plan.targets import Targets

    stood = [binding for file in getattr(arguments, "was", ()) for binding in _bindings_of(file)]
    loaded = load_targets(arguments)
    targets = Targets.of(target.topology for target in loaded)
    with_url = next((target for target in loaded if getattr(target.value, "url", None) is not None), loaded[0])
    nodes = nodes_of(url_of(arguments.url, with_url), tls_of(arguments.url, with_url))
    quieten_log()
    api: ManagementApi | None = None
    looking: Looking
    if arguments.api is None:
        looking = PassiveLooking(nodes, targets)
    else:
        api = ManagementApi(arguments.api, user=nodes[0].user, password=nodes[0].password)
        looking = ApiLooking(api, nodes, targets, pause)
    observed, remarks = looking.at_all()
    plan = compare(targets, observed, stood)
    note_memory(nodes)
    return Planned(targets, nodes, api, looking, observed, replace(plan, remarks=(*plan.remarks, *remarks)))


def _bindings_of(file: str) -> Iterator[BindingId]:
    from taskroute import Contract
    from taskroute.operate.plan.binding_id import BindingId

    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"--was {file!r} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--was {file!r} cannot be read: it is not UTF-8, so it is no contract") from None
    return BindingId.stood_in(Contract.read(text, file))


def pause(seconds: float) -> None:
    """Let some seconds pass, in which the broker counts."""
    threading.Event().wait(seconds)


def do_steps(arguments: Namespace, command: Command) -> int:
    """Ask, do the steps of a command, say what became of each, and return an exit code."""
    check_can_ask(arguments.yes, "; `taskroute plan` shows what would be done")
    found = planned(arguments)
    steps = found.plan.of(command)
    is_left = (found.plan.has_to_replace or found.plan.may_have_to_move) and command == "apply"
    if not steps:
        _report(arguments, found, [])
        return _ending(found, is_left)
    _warn_of_publishers(found)
    if not _agrees(arguments, steps):
        complain(command, "nothing was done")
        return Exit.FINDINGS
    outcomes: list[Outcome] = []
    with _writing(found) as writing:
        from taskroute.operate.plan.execute import execute
        from taskroute.operate.plan.render import outcome_line

        try:
            for outcome in execute(steps, found.looking, writing, pause):
                outcomes.append(outcome)
                if arguments.format == "text":
                    show(outcome_line(outcome))
        finally:
            if arguments.format == "json":
                _report(arguments, found, outcomes)
    is_left = is_left or any(outcome.result in ("skipped", "failed") for outcome in outcomes)
    code = _ending(found, is_left)
    return Exit.BROKER if any(outcome.is_denied for outcome in outcomes) else code


def _report(arguments: Namespace, found: Planned, outcomes: Sequence[Outcome]) -> None:
    from taskroute.operate.plan.render import nothing_line, outcomes_data

    if arguments.format == "json":
        show_document(steps=outcomes_data(outcomes))
    elif not outcomes:
        show(nothing_line(found.plan))


def _ending(found: Planned, is_left: bool) -> int:
    for remark in found.plan.remarks:
        if remark.kind in ("replace", "missing", "unseen", "unmoved"):
            complain("", f"{remark.subject}: {remark.text}")
    return Exit.FINDINGS if is_left else Exit.OK


@contextmanager
def _writing(found: Planned) -> Iterator[BrokerWriting]:
    from taskroute.broker.alterations import Alterations
    from taskroute.operate.plan.writing import BrokerWriting

    alterations = Alterations(found.nodes, found.targets.topology, "taskroute-plan")
    try:
        yield BrokerWriting(alterations, found.api, found.nodes[0].virtual_host)
    finally:
        alterations.close()


def _warn_of_publishers(found: Planned) -> None:
    """Say who is connected with another topology, or that it cannot be seen. Publishing blocks nothing."""
    from taskroute.operate.plan.publishers import connections_of_others, may_see_publishers

    if found.api is None:
        return
    if not may_see_publishers(found.api):
        complain("", "publishers of other versions are not seen: that takes the tag monitoring; look for them yourself")
        return
    for other in connections_of_others(found.api, found.nodes[0].virtual_host, found.targets.digests):
        complain("", f"connected with another topology: {other}")


def _agrees(arguments: Namespace, steps: Sequence[AnyStep]) -> bool:
    """Show what is to be done, and ask, unless that was said with the command."""
    if arguments.yes:
        return True
    for step in steps:
        print(f"  {step}", file=sys.stderr)
    return agrees(f"do {len(steps)} steps?")

"""Policies: what an operator may set so that a queue changes where it is. Nothing here sets one. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Final

from taskroute.broker.mismatch import Difference
from taskroute.operate.observed import Observed, ObservedPolicy, ObservedQueue

_SETTABLE: Final = ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow")
"""What a spec can leave to a policy: all else is always declared, or no policy has it."""
_NONE: Final = ObservedPolicy(name="", priority=0, definition={})


def policy_to_set(queue: ObservedQueue, differences: Iterable[Difference], observed: Observed) -> str | None:
    """Return the command that gives a queue what is declared and it lacks, None if no policy can give all of it.

    It has what is in effect already, as one policy counts for a queue: a second one would take the limits of the first
    away. What an operator's policy says counts beside any other, and is not in it.
    """
    wanted = {}
    for difference in differences:
        if difference.name not in _SETTABLE or difference.present is not None or difference.declared is None:
            return None
        value = difference.declared
        wanted[difference.name.removeprefix("x-")] = int(value) if value.isdecimal() else value
    if not wanted:
        return None
    above = _NONE if queue.policy == "" else observed.policies.get(queue.policy or "")
    if above is None:
        return "a policy can set it; which one is in effect is not known yet, so that none is shown: plan again"
    name = f"{queue.name}.taskroute"
    priority = above.priority if above.name in ("", name) else above.priority + 1
    definition = json.dumps({**above.definition, **wanted}, sort_keys=True)
    words = ["rabbitmqctl", "set_policy", "-p", observed.virtual_host, "--priority", str(priority)]
    words += ["--apply-to", "queues", name, f"^{re.escape(queue.name)}$", definition]
    return f"or leave it out of the spec, and set a policy{_instead_of(above, name)}: {shlex.join(words)}"


def _instead_of(above: ObservedPolicy, name: str) -> str:
    if not above.name:
        return ""
    if above.name == name:
        return " anew, with what it says already"
    return f", which counts instead of {above.name!r} (priority {above.priority}) and includes what that says"

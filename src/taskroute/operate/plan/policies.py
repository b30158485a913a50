"""Policies: what an operator may set so that a queue changes where it is. Nothing here sets one. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Final

from taskroute.broker.mismatch import Difference
from taskroute.operate.observed import ObservedQueue

_SETTABLE: Final = ("x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow")
"""What a spec can leave to a policy: all else is always declared, or no policy has it."""


def policy_to_set(queue: ObservedQueue, differences: Iterable[Difference], virtual_host: str) -> str | None:
    """Return the command that gives a queue what is declared and it lacks, None if no policy can give all of it.

    It has what is in effect already, as one policy counts for a queue: a second one would take the limits of the first
    away.
    """
    wanted = {}
    for difference in differences:
        if difference.name not in _SETTABLE or difference.present is not None or difference.declared is None:
            return None
        value = difference.declared
        wanted[difference.name.removeprefix("x-")] = int(value) if value.isdecimal() else value
    if not wanted:
        return None
    if queue.policy_definition is None or queue.policy is None:
        return "a policy can set it; which one is in effect is not known yet, so that none is shown: plan again"
    definition = json.dumps({**queue.policy_definition, **wanted}, sort_keys=True)
    words = ["rabbitmqctl", "set_policy", "-p", virtual_host, "--apply-to", "queues"]
    words += [f"{queue.name}.taskroute", f"^{re.escape(queue.name)}$", definition]
    above = f", with --priority above that of {queue.policy!r}, which it includes" if queue.policy else ""
    return f"or leave it out of the spec, and set a policy{above}: {shlex.join(words)}"

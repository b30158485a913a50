"""What is told of a policy. A topology has none: they are the operator's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from taskroute.quoting import shown


def policy_note(policy: Mapping[str, Any], kind: str = "policy") -> str:
    r"""Return a policy in a line, for people.

    >>> policy_note({"name": "a", "pattern": "^b", "apply-to": "queues", "priority": 1, "definition": {"expires": 5}})
    'policy \'a\' (queues like \'^b\', priority 1) is left out: {"expires": 5}'
    """
    target, pattern = str(policy.get("apply-to", "all")), policy.get("pattern")
    where = f"{target} like {shown(pattern)}, priority {shown(policy.get('priority', 0))}"
    return f"{kind} {shown(policy.get('name'))} ({where}) is left out: {json.dumps(policy.get('definition'))}"

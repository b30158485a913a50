"""`taskroute check`: what is wrong with a topology and its handlers, without a broker."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskroute.cli.exits import Exit
from taskroute.cli.target import add_target, load_target

if TYPE_CHECKING:
    from taskroute import Finding


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text for people by default")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    parser.add_argument("--broker", metavar="VERSION", help="also look for what this version of RabbitMQ does not take")


def run(arguments: Namespace) -> int:
    """Print the findings; 1 if one is an error, or with --strict a warning."""
    findings = load_target(arguments).routes().check(broker=arguments.broker)
    print(_json(findings) if arguments.format == "json" else _text(findings))
    fails = ("error", "warning") if arguments.strict else ("error",)
    return Exit.FINDINGS if any(finding.severity in fails for finding in findings) else Exit.OK


def _text(findings: Sequence[Finding]) -> str:
    return "\n".join([*map(str, findings), f"{len(findings) or 'no'} finding{'s' * (len(findings) != 1)}"])


def _json(findings: Sequence[Finding]) -> str:
    fields = ("code", "severity", "subject", "witness", "message")
    rows = [{field: getattr(finding, field) for field in fields} for finding in findings]
    return json.dumps({"version": 1, "findings": rows}, indent=2)

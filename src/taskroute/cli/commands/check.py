"""`taskroute check`: what is wrong with a topology and its handlers, without a broker."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, get_args

from taskroute.cli.annotation import show_annotation
from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit
from taskroute.cli.suggestion import known_or_suggest
from taskroute.cli.target import Target, add_target, load_target
from taskroute.cli.terminal import Colour, show
from taskroute.code_place import code_of
from taskroute.graph.check.code import Code

if TYPE_CHECKING:
    from taskroute import Finding, Handler

_CODES: Final = sorted(get_args(Code))
_COLOURS: Final[dict[str, Colour]] = {"error": "red", "warning": "yellow", "info": "blue"}


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_format(parser, "github")
    parser.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    parser.add_argument(
        "--ignore",
        metavar="CODE",
        action="append",
        default=[],
        help=f"leave findings of this code out; may be repeated; one of {', '.join(_CODES)}",
    )
    parser.add_argument(
        "--broker", metavar="VERSION", help="also find what this broker does not take: 4.3, or 'LavinMQ 2.9'"
    )


def run(arguments: Namespace) -> int:
    """Print the findings; 1 if one is an error, or with --strict a warning."""
    ignored = [known_or_suggest("--ignore", code, _CODES) for code in arguments.ignore]
    target = load_target(arguments)
    findings = [finding for finding in target.check(arguments.broker) if finding.code not in ignored]
    if arguments.format == "json":
        show_document(findings=[_fields(finding) for finding in findings])
    elif arguments.format == "github":
        _show_annotations(findings, target)
    else:
        _show_text(findings)
    fails = ("error", "warning") if arguments.strict else ("error",)
    return Exit.FINDINGS if any(finding.severity in fails for finding in findings) else Exit.OK


def _fields(finding: Finding) -> dict[str, object]:
    return {name: getattr(finding, name) for name in ("code", "severity", "subject", "witness", "message")}


def _show_text(findings: Sequence[Finding]) -> None:
    for finding in findings:
        show(str(finding), first_word=_COLOURS[finding.severity])
    counts = {severity: sum(finding.severity == severity for finding in findings) for severity in _COLOURS}
    told = [f"{count} {severity}{'s' * (count > 1 and severity != 'info')}" for severity, count in counts.items()]
    show(", ".join(text for text in told if not text.startswith("0")) or "nothing found")


def _show_annotations(findings: Sequence[Finding], target: Target) -> None:
    places = {str(handler): _place(handler) for handler in target.handlers}
    for finding in findings:
        properties = {**places.get(finding.subject, {}), "title": f"taskroute {finding.code}"}
        show_annotation(finding.severity, finding.message, properties)


def _place(handler: Handler) -> dict[str, str]:
    """Return the file of a handler, as it is seen from the current folder, and its line."""
    code = code_of(handler.function)
    return {} if code is None else {"file": os.path.relpath(code.co_filename), "line": str(code.co_firstlineno)}

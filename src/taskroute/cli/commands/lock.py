"""`taskroute lock`: what a service routes, handles, reads and writes, as a file, and what changes since."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskroute.cli.annotation import show_annotation
from taskroute.cli.document import add_format, show_document
from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.suggestion import hint
from taskroute.cli.target import add_target, load_target
from taskroute.cli.terminal import Colour, show
from taskroute.cli.typed import typed

if TYPE_CHECKING:
    from taskroute import Contract, Difference

FILE: Final = "taskroute.lock.json"
_COLOURS: Final[dict[str, Colour]] = {"error": "red", "warning": "yellow", "info": "blue"}
_FIELDS: Final = ("code", "severity", "name", "message", "exchange", "key", "queue", "body", "allowed")


@dataclass(frozen=True, slots=True)
class _Found:
    """A difference, and the file that it is a difference from."""

    file: str
    difference: Difference


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    add_format(parser, "github")
    parser.add_argument("--check", action="store_true", help="compare and write nothing; 1 for what is lost or refused")
    parser.add_argument("--file", metavar="FILE", default=FILE, help=f"the contract; {FILE} if left out")
    parser.add_argument(
        "--was",
        metavar="FILE",
        action="append",
        default=[],
        help="also compare with the contract of an earlier release, whose messages may lie in a queue; may be repeated",
    )
    parser.add_argument(
        "--allow",
        metavar="CODE:NAME",
        action="append",
        default=[],
        help="this difference is meant; lock records it in the file; may be repeated",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 for what is undecided, and for a file that is not up to date"
    )


def run(arguments: Namespace) -> int:
    """Compare the target with its contract, print what differs, and write the contract unless it is to be checked."""
    allowed = [_allowance(each) for each in arguments.allow]
    before = {name: _read(f"--was {name!r}", name) for name in dict.fromkeys(arguments.was)}
    is_there = Path(arguments.file).exists()
    if arguments.check and not is_there and not before:
        raise UsageError(f"--check: there is no {arguments.file!r}: write it with taskroute lock, and commit it")
    recorded = _read(f"--file {arguments.file!r}", arguments.file) if is_there else None
    contract = _contract_of(arguments).allowing(recorded=recorded)
    compared = {**({} if recorded is None else {arguments.file: recorded}), **before}
    found = _compare(contract, compared, allowed)
    _check_meant(allowed, found, contract)
    meant = [each.difference for each in found if each.difference.allowance in allowed]
    contract = contract.allowing(meant, recorded=contract)
    is_current = recorded is not None and contract.text == Path(arguments.file).read_text(encoding="utf-8")
    code = _code(found, strict=arguments.strict, is_current=is_current or not arguments.check)
    is_written = not arguments.check and not is_current and code == Exit.OK
    if is_written:
        Path(arguments.file).write_text(contract.text, encoding="utf-8")
    if arguments.format == "github":
        _annotate(found, compared)
    else:
        _show(arguments, found, is_compared=bool(compared), is_current=is_current or is_written, is_written=is_written)
    return code


def _allowance(word: str) -> str:
    from taskroute.errors import ConfigurationError
    from taskroute.graph.contract.allowances import checked

    try:
        return checked(word)
    except ConfigurationError as error:
        raise UsageError(f"--allow: {error}") from None


def _read(option: str, name: str) -> Contract:
    from taskroute import Contract

    try:
        return Contract.read(Path(name).read_text(encoding="utf-8-sig"), name)
    except OSError as error:
        raise UsageError(f"{option} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{option} cannot be read: it is not UTF-8, so it is no contract") from None


def _contract_of(arguments: Namespace) -> Contract:
    from taskroute import Contract

    return Contract.of(load_target(arguments).routes())


def _compare(contract: Contract, compared: dict[str, Contract], allowed: Iterable[str]) -> list[_Found]:
    """Return what differs from each of some contracts, each difference once."""
    from taskroute.graph.contract.allowances import apply

    found: dict[tuple[str, str], _Found] = {}
    for file, old in compared.items():
        for difference in apply(contract.differences(old, file), allowed):
            found.setdefault((difference.code, difference.name), _Found(file, difference))
    return list(found.values())


def _check_meant(allowed: Iterable[str], found: Iterable[_Found], contract: Contract) -> None:
    known = {each.difference.allowance for each in found if each.difference.code != "compatible"}
    recorded = {each.allow for each in contract.allowed}
    for each in allowed:
        if each not in known | recorded:
            there_are = f"there are {', '.join(sorted(known))}" if known else "nothing has to be allowed"
            raise UsageError(f"--allow {typed(each)}: there is no such difference{hint(each, known, there_are)}")


def _code(found: Iterable[_Found], *, strict: bool, is_current: bool) -> Exit:
    fails = ("error", "warning") if strict else ("error",)
    if any(each.difference.severity in fails for each in found) or (strict and not is_current):
        return Exit.FINDINGS
    return Exit.OK


def _show(
    arguments: Namespace, found: Sequence[_Found], *, is_compared: bool, is_current: bool, is_written: bool
) -> None:
    if arguments.format == "json":
        show_document(
            differences=[{**_fields(each.difference), "was": each.file} for each in found], up_to_date=is_current
        )
    else:
        _show_text(arguments, found, is_compared=is_compared, is_current=is_current, is_written=is_written)


def _annotate(found: Iterable[_Found], compared: dict[str, Contract]) -> None:
    from taskroute.graph.contract.places import Places

    places = {file: Places(old, Path(file).read_text(encoding="utf-8-sig")) for file, old in compared.items()}
    for each in found:
        line = places[each.file].line_of(each.difference)
        at = {"file": each.file, **({} if line is None else {"line": str(line)})}
        title = f"taskroute {each.difference.code}"
        show_annotation(each.difference.severity, _told(each.difference), {**at, "title": title})


def _fields(difference: Difference) -> dict[str, object]:
    return {**{name: getattr(difference, name) for name in _FIELDS}, "headers": dict(difference.headers)}


def _told(difference: Difference) -> str:
    return difference.message if difference.body is None else f"{difference.message}; for example {difference.body}"


def _show_text(
    arguments: Namespace, found: Sequence[_Found], *, is_compared: bool, is_current: bool, is_written: bool
) -> None:
    several = len({each.file for each in found}) > 1
    for each in found:
        difference = each.difference
        since = f" (since {each.file})" if several else ""
        show(f"{difference}{since}", first_word=_COLOURS[difference.severity])
        if difference.body is not None:
            show(f"such as {difference.body}", indent=2)
        if difference.severity == "error":
            show(f"if it is meant: --allow '{difference.allowance}'", indent=2)
    counts: dict[str, int] = {}
    for each in found:
        code = "allowed" if each.difference.allowed else each.difference.code
        counts[code] = counts.get(code, 0) + 1
    told = ", ".join(f"{count} {code}" for code, count in counts.items()) or "nothing differs"
    if is_written and not is_compared:
        told = "a new contract"
    if is_written:
        show(f"{told}: {arguments.file} is written")
    elif arguments.check and not is_current:
        show(f"{told}: {arguments.file} is not up to date: run taskroute lock")
    else:
        show(told if is_current else f"{told}: {arguments.file} is not written")

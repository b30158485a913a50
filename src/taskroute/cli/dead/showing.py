"""`taskroute dead show`: letters with all that they carry."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.telling import AUTHORS, age_of, fields_of, queue_fields, tell_unseen
from taskroute.cli.dead.which import which_of
from taskroute.cli.document import show_document
from taskroute.cli.exits import Exit
from taskroute.cli.terminal import complain, show

if TYPE_CHECKING:
    from taskroute import DeadLetters, Letter


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    parser.add_argument("ids", metavar="ID", nargs="+", help="letters, as list names them; equal letters have one id")


def run(arguments: Namespace) -> int:
    """Print letters; 1 if one is not there."""
    letters = letters_of(arguments)
    found = letters.find(**which_of(arguments))
    if arguments.format == "json":
        shown = [_fields(letter, letters) for letter in found.letters]
        show_document(letters=shown, queues=queue_fields(found.queues))
    else:
        for letter in found.letters:
            _show_text(letter, letters)
    missing = [each for each in dict.fromkeys(arguments.ids) if each not in {letter.id for letter in found.letters}]
    if not missing:
        return Exit.OK
    complain("dead", f"there is no letter {missing[0]!r} (any more): see taskroute dead list")
    tell_unseen(found.queues)
    return Exit.FINDINGS


def _show_text(letter: Letter, letters: DeadLetters) -> None:
    show(f"letter {letter.id}", first_word="bold")
    facts = {
        "lies in": f"{letter.lies_in}, {AUTHORS[letter.written_by]}",
        "failed in": f"{letter.queue}, attempt {letter.attempt}, {age_of(letter)} ago",
        "published to": f"exchange {letter.exchange!r} with key {letter.routing_key!r}",
        "message id": letter.message_id or "-",
        "reason": letter.reason or "-",
        "handler": letter.handler,
        "error": letter.error,
        "text": letter.error_text,
        "sent again": f"{letter.replays} times" if letter.replays else "",
        "today": str(letters.rehearse(letter)),
    }
    for name, value in facts.items():
        if value:
            show(f"{name}: {value}", indent=2)
    _show_lines("traceback", letter.traceback.splitlines())
    _show_lines("history", [_death(death) for death in letter.history])
    _show_lines("headers", [f"{name}: {value!r}" for name, value in letter.headers.items() if name != "x-death"])
    _show_lines(f"body ({len(letter.body)} bytes)", letter.body.decode(errors="backslashreplace").splitlines())


def _show_lines(name: str, lines: list[str]) -> None:
    if lines:
        show(f"{name}:", indent=2)
    for line in lines:
        show(line, indent=4)


def _death(death: Any) -> str:
    how_often = death.get("count")
    return f"{death.get('reason')} in {death.get('queue')!r}, {how_often} times, at {death.get('time')}"


def _fields(letter: Letter, letters: DeadLetters) -> dict[str, Any]:
    from taskroute.operate.dead_letters.archive import body_fields, jsonable

    prospect = letters.rehearse(letter)
    return {
        **fields_of(letter),
        "traceback": letter.traceback,
        "history": jsonable(list(letter.history)),
        "properties": jsonable(letter.properties),
        **body_fields(letter.body),
        "today": {"handler": prospect.handler, "problem": prospect.problem},
    }

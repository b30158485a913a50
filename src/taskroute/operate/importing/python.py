"""Python: an expression as data, and its text as Ruff formats it. Pure.

Nothing from outside gets out of a string or a comment: what would end one is escaped, and names are made by
`identifiers`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from taskroute.quoting import escaped

WIDTH: Final = 88
"""Columns of a line, where no word is longer: what formatters take if they are not told."""
_INDENT: Final = "    "


@dataclass(frozen=True, slots=True)
class Name:
    """A name of this module's own making, or two with a dot between them."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call of `function`; an argument without a name stands under the empty one."""

    function: Name
    arguments: Mapping[str, Expression]


Expression = Name | Call | Sequence["Expression"] | Mapping[str, "Expression"] | str | int | float | bool | None


def text_of(expression: Expression, indent: int = 0, before: int = 0, after: int = 1) -> str:
    """Return the text of an expression: in one line if it has room there, else each of its parts in a line.

    Args:
        expression: what to write.
        indent: how deep its line is.
        before: columns that are taken before it in its line, the indent apart.
        after: columns that are taken behind it.
    """
    line = _line(expression)
    if isinstance(expression, str | int | float | Name | None) or not _parts(expression):
        return line
    if len(_INDENT) * indent + before + len(line) + after <= WIDTH:
        return line
    opening, closing = _brackets(expression)
    inner = [
        f"{_INDENT * (indent + 1)}{start}{text_of(part, indent + 1, len(start))}," for start, part in _parts(expression)
    ]
    return "\n".join([opening, *inner, f"{_INDENT * indent}{closing}"])


def assignment(name: str, expression: Expression) -> str:
    """Return a statement that assigns an expression to a name."""
    return f"{name} = {text_of(expression, before=len(name) + 3, after=0)}"


def comment(text: str) -> str:
    """Return a comment of as many lines as it needs; none that is in the text ends it."""
    lines = textwrap.wrap(escaped(text), WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"# {line}" for line in lines)


def _line(expression: Expression) -> str:
    if isinstance(expression, Name):
        return expression.text
    if isinstance(expression, str):
        return _string(expression)
    if isinstance(expression, int | float | None):
        return repr(expression)
    opening, closing = _brackets(expression)
    return f"{opening}{', '.join(start + _line(part) for start, part in _parts(expression))}{closing}"


def _brackets(expression: Expression) -> tuple[str, str]:
    if isinstance(expression, Call):
        return f"{expression.function.text}(", ")"
    return ("{", "}") if isinstance(expression, Mapping) else ("[", "]")


def _parts(expression: Expression) -> list[tuple[str, Expression]]:
    """Return its parts, each with what stands before it."""
    if isinstance(expression, Call):
        return [(f"{name}=" if name else "", part) for name, part in expression.arguments.items()]
    if isinstance(expression, Mapping):
        return [(f"{_string(name)}: ", part) for name, part in expression.items()]
    return [("", part) for part in expression] if isinstance(expression, Sequence) else []


def _string(text: str) -> str:
    """Return a string as Ruff writes it: in double quotes, unless single ones need fewer escapes.

    >>> print(_string('a'), _string('say "hi"'), _string("it's"))
    "a" 'say "hi"' "it's"
    """
    quote = "'" if text.count('"') > text.count("'") else '"'
    body = (f"\\{each}" if each in (quote, "\\") else each if each.isprintable() else repr(each)[1:-1] for each in text)
    return f"{quote}{''.join(body)}{quote}"

"""Text from outside in an error or a log line: quoted and cut, so that it can neither forge a line nor fill one."""

from __future__ import annotations

import re
from reprlib import Repr
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

_WORD: Final = re.compile(r"[\w.:/@+#*-]+", re.ASCII)
_LIMIT: Final = 200

_PASSWORD: Final = re.compile(r"(://[^\s:/@'\"]{0,256}):[^\s'\"]{0,4096}@")
"""User and password of a URL, up to the last ``@`` of the word: a password may hold one that nobody has encoded."""


def shorten(text: str, limit: int = 80) -> str:
    """Return the `repr` of `text`, cut to about `limit` characters.

    >>> shorten("video.upload", limit=5)
    "'video'..."
    """
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}..."


def shorten_list(names: str, limit: int = 400) -> str:
    """Return an enumeration, cut to about `limit` characters."""
    return names if len(names) <= limit else f"{names[:limit]}, ..."


def cut(text: str, limit: int = 200) -> str:
    """Return the first line of a text that is fit to be shown, cut to about `limit` characters.

    >>> cut("abcdef", limit=3)
    'abc...'
    """
    line = text.partition("\n")[0]
    return line if len(line) <= limit else f"{line[:limit]}..."


def type_name(annotation: Any) -> str:
    """Return a type as somebody would write it: names without modules, unions with bars, no metadata.

    >>> type_name(int | None), type_name(dict[str, Annotated[list[int], "mark"]]), type_name(Literal["a"])
    ('int | None', 'dict[str, list[int]]', "Literal['a']")
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(map(type_name, parts))
    if annotation is type(None):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, list):  # the arguments of a callable
        return f"[{', '.join(map(type_name, annotation))}]"
    name = getattr(origin or annotation, "__name__", None)
    if not isinstance(name, str):
        return str(annotation)
    if origin is None or not parts:
        return name
    return f"{name}[{', '.join(map(repr if origin is Literal else type_name, parts))}]"


def kind_with_article(value: object) -> str:
    """Return the class of a value for a sentence.

    >>> kind_with_article(1), kind_with_article("a")
    ('an int', 'a str')
    """
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'AEIOaeio' else 'a'} {kind}"


def shown(value: object) -> str:
    """Return a value as an error shows it: the `repr`, cut; of what has a name, such as a queue, its kind and name.

    >>> shown(["a", 1.5, None]), shown("x" * 500)[:5]
    ("['a', 1.5, None]", "'xxxx")
    """
    return _SHOWN.repr(value)


class _Shown(Repr):
    """Cuts what is long, and shows an object that has a name by that."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80

    def repr_instance(self, x: Any, level: int) -> str:
        name = getattr(x, "name", None)
        if isinstance(name, str) and not isinstance(x, type):
            return f"{type(x).__name__} {shorten(name)}"
        return super().repr_instance(x, level)


_SHOWN: Final = _Shown()


def quoted(text: str) -> str:
    """Return a word as it is, so that it can be searched for; quote and cut what could end a line or a field.

    >>> quoted("video.upload"), quoted("m-1 attempt=9")
    ('video.upload', "'m-1 attempt=9'")
    """
    return text if len(text) <= _LIMIT and _WORD.fullmatch(text) else shorten(text, _LIMIT)


def printable(text: str) -> str:
    """Return text as it is, unless it could end a line or command a terminal.

    >>> printable("m-1 attempt=9")
    'm-1 attempt=9'
    """
    return text if len(text) <= _LIMIT and text.isprintable() else shorten(text, _LIMIT)


def escaped(text: str) -> str:
    r"""Return text with an escape in place of each character that could end a line, command a terminal or turn a line.

    >>> escaped("two\nlines")
    'two\\nlines'
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def without_passwords(text: str) -> str:
    """Return text in which no URL has its password, whatever it is a URL of.

    >>> without_passwords("cannot reach amqp://app:secret@localhost/")
    'cannot reach amqp://app:***@localhost/'
    """
    return _PASSWORD.sub(r"\1:***@", text) if "://" in text else text

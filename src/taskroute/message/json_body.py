"""JSON bodies: written so that a handler of the same type reads the same value, or refused."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from taskroute.errors import MessageInvalidError
from taskroute.message.finite import Place, declared, extra, not_finite
from taskroute.message.reading_back import needs_of, root_kind

TYPES_REMEMBERED: Final = 1024
"""How many types of bodies are remembered, with what each of them needs."""

_ALWAYS_READ: Final = 200
"""Levels of arrays and objects that pydantic reads. It writes some more."""

_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ASTERISKS: Final = b"***"
"""What pydantic writes of a secret."""

_WAY_OUT: Final = (
    "let its type read what it writes (a serializer that hides nothing, a validator that takes what it returns, one "
    "alias for both ways, no exclude), or publish another type"
)


class JsonType:
    """Writes bodies of one type as JSON. Safe from any thread.

    Args:
        adapter: of the type.
    """

    __slots__ = ("_adapter", "_is_finite", "_is_typed", "_may_be_deep", "_needs_trial", "_to_json", "is_raw")

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        needs = needs_of(adapter.core_schema)
        self._adapter = adapter
        self._to_json = adapter.serializer.to_json
        self._is_finite = "finite" not in needs
        self._may_be_deep = "depth" in needs
        self._needs_trial = "trial" in needs
        self._is_typed = "untyped" not in needs
        self.is_raw: Final = root_kind(adapter.core_schema) in ("bytes", "any")
        """Whether bytes are published as they are: nothing else of the type could be taken for them."""

    def write(self, body: object) -> bytes:
        """Return a body as JSON. Fields are written under their aliases, as handlers read them.

        Raises:
            MessageInvalidError: a handler of the same type would refuse it, or read another value.
            PydanticSerializationError: it cannot be written.
        """
        try:
            document = self._to_json(body, by_alias=True, warnings="error")
        except (
            PydanticSerializationError
        ):  # it is not of the type, as nothing has validated it; it may be read all the same
            document = self._to_json(body, by_alias=True, warnings="none")
            self._read(body, document)
        if not self._is_finite and b"null" in document:  # as which pydantic writes them
            _check_finite(body)
        if self._may_be_deep and document.count(b"[") + document.count(b"{") > _ALWAYS_READ:
            _check_depth(body, document)
        if self._needs_trial or (not self._is_typed and _ASTERISKS in document):
            self._try(body, document)
        return document

    def check_text(self, text: str) -> None:
        """Refuse a text that is published as it is, and read as if it were JSON. Raises as `write` does."""
        if self._needs_trial:
            self._try(text, to_json(text))

    def _try(self, body: object, document: bytes) -> None:
        read = self._read(body, document)
        place = next(_differences(body, read, self._is_typed), None)
        # A type without equality differs from itself as well.
        if place is not None and next(_differences(self._read(body, document), read, True), None) is None:
            raise _unreadable(body, ".".join(place), "as it is written, another value would be read")

    def _read(self, body: object, document: bytes) -> object:
        try:
            return self._adapter.validate_json(document)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(map(str, problem["loc"]))
            raise _unreadable(body, place, f"as it is written, it cannot be read back ({problem['type']})") from None
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            raise _unreadable(body, "", f"as it is written, reading it raises {type(error).__name__}") from None


@lru_cache(maxsize=TYPES_REMEMBERED)
def json_type(kind: Hashable) -> JsonType | None:
    """Return what writes bodies of a model or dataclass; None for other types, and where pydantic cannot tell."""
    if not isinstance(kind, type) or not (issubclass(kind, BaseModel) or is_dataclass(kind)):
        return None
    try:
        return JsonType(TypeAdapter(kind))
    except Exception:  # noqa: BLE001 - types bring their own code, and names that only their module resolves
        return None


def write(body: object) -> bytes:
    """Return a body as JSON, whatever its type is.

    Raises:
        MessageInvalidError: a handler of the same type would refuse it, or read another value.
        PydanticSerializationError: it cannot be written.
    """
    kind: Any = type(body)
    known = json_type(kind)
    if known is not None:
        return known.write(body)
    document = to_json(body, inf_nan_mode="constants")
    # How a number that is not finite is written: by a model, as a value, as a key. A text may hold the same.
    if b"null" in document or b"NaN" in document or b"Inf" in document or b'nan"' in document or b'inf"' in document:
        _check_finite(body)
    if document.count(b"[") + document.count(b"{") > _ALWAYS_READ:
        _check_depth(body, document)
    if _ASTERISKS in document:
        _check_secrets(body, body, ())
    return document


def _check_depth(body: object, document: bytes) -> None:
    """Refuse a body that is nested so deeply that pydantic writes it and does not read it."""
    brackets = document.translate(None, _NO_BRACKETS)
    for _ in range(_ALWAYS_READ):  # each turn takes the innermost ones away
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:  # unless they are those of a text
        try:
            from_json(document)
        except ValueError as error:
            raise MessageInvalidError(
                f"the body, {type(body).__name__}, cannot be sent: no handler could read it: {error}: nest it less deep"
            ) from None


def _check_secrets(body: object, value: Any, place: Place) -> None:
    """Refuse a secret in a body without a type, which is written as asterisks. Models say how theirs are written."""
    if hasattr(value, "get_secret_value"):
        raise _unreadable(body, ".".join(place), f"{type(value).__name__} is written as asterisks")
    if isinstance(value, Mapping):
        for key, inside in value.items():
            _check_secrets(body, inside, (*place, str(key)))
    elif isinstance(value, list | tuple | AbstractSet):
        for at, inside in enumerate(value):
            _check_secrets(body, inside, (*place, str(at)))
    else:
        kind: Any = type(value)
        known = json_type(kind)
        if known is not None:
            known.write(value)


def _check_finite(body: object) -> None:
    place = next(not_finite(body), None)
    if place is not None:
        raise MessageInvalidError(
            f"the body, {type(body).__name__}, cannot be sent: {'.'.join(place) or 'it'} is NaN or infinite, and JSON "
            f"has no such number: send None, or a text"
        )


def _differences(given: Any, read: Any, is_typed: bool, place: Place = ()) -> Iterator[Place]:
    """Yield the places where a value that was read is not the one that was given. What is private is not compared."""
    if isinstance(given, type(read)) and (isinstance(read, BaseModel) or is_dataclass(read)):
        for name, inside in declared(read):
            yield from _differences(getattr(given, name, None), inside, is_typed, (*place, name))
        yield from _differences(extra(given), extra(read), False, place)
    elif isinstance(given, Mapping) and isinstance(read, Mapping) and given.keys() == read.keys():
        for key, inside in given.items():
            yield from _differences(inside, read[key], is_typed, (*place, str(key)))
    elif type(given) is type(read) and isinstance(given, list | tuple) and len(given) == len(read):
        for at, (one, other) in enumerate(zip(given, read, strict=True)):
            yield from _differences(one, other, is_typed, (*place, str(at)))
    elif not _is_same(given, read) and (is_typed or not _is_same_json(given, read)):
        yield place


def _is_same(given: Any, read: Any) -> bool:
    return isinstance(given, bool) is isinstance(read, bool) and bool(given == read)


def _is_same_json(given: Any, read: Any) -> bool:
    """Return whether a value was read as JSON has it: a moment as a text, where a type says nothing."""
    is_secret = hasattr(given, "get_secret_value")
    return not is_secret and isinstance(read, _JSON_VALUES) and to_json(given) == to_json(read)


_JSON_VALUES: Final = (str, int, float, list, dict)


def _unreadable(body: object, place: str, problem: str) -> MessageInvalidError:
    where = f"field {place}: " if place else ""
    return MessageInvalidError(f"the body, {type(body).__name__}, cannot be sent: {where}{problem}: {_WAY_OUT}")

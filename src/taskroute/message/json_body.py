"""JSON bodies: written so that a handler of the same type reads the same value, or refused."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import is_dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from taskroute.errors import MessageInvalidError
from taskroute.message.difference import ARRAYS, differences
from taskroute.message.document import (
    ALWAYS_READ,
    DECIMAL_MARKS,
    MOST_DIGITS,
    check_depth,
    check_digits,
    check_finite,
    marks_of,
)
from taskroute.message.finite import Place
from taskroute.message.reading_back import root_kind, survey

TYPES_REMEMBERED: Final = 1024
"""How many types of bodies are remembered, with what each of them needs."""

_ASTERISK: Final = ord("*")
_ASTERISKS: Final = b"***"
"""What pydantic writes of a secret."""

_SCALARS: Final = frozenset({str, int, float, bool, type(None), bytes, datetime, date, UUID, Decimal})
"""Types of most values: no containers, and written by pydantic alone."""

_TEXT: Final = frozenset({str})
_CONTAINERS: Final = (*ARRAYS, AbstractSet)
_subclasses: Final = type.__subclasses__

_WAY_OUT: Final = (
    "let its type read what it writes (a serializer that hides nothing, a validator that takes what it returns, one "
    "alias for both ways, no exclude, no subclass in the place of its base), or publish another type"
)


class JsonType:
    """Writes bodies of one type as JSON. Safe from any thread.

    Args:
        adapter: of the type.
    """

    __slots__ = (
        "_adapter",
        "_classes",
        "_fields",
        "_is_open",
        "_is_typed",
        "_marks",
        "_may_be_deep",
        "_model",
        "_needs_trial",
        "_open_fields",
        "_to_json",
        "is_raw",
    )

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        needs, kind, self._classes, self._open_fields = survey(adapter.core_schema)
        self._adapter = adapter
        self._to_json = adapter.serializer.to_json
        self._may_be_deep = "depth" in needs
        self._needs_trial = "trial" in needs
        self._is_typed = "untyped" not in needs
        self._is_open = kind is None and not self._is_typed and not self._needs_trial
        self._marks = marks_of(needs)
        self._model = kind if kind is not None and issubclass(kind, BaseModel) else None
        self._fields = frozenset(() if self._model is None else self._model.model_fields)
        self.is_raw: Final = root_kind(adapter.core_schema) in ("bytes", "any")
        """Whether bytes are published as they are: nothing else of the type could be taken for them."""

    def write(self, body: Any) -> bytes:
        """Return a body as JSON. Fields are written under their aliases, as handlers read them.

        Raises:
            MessageInvalidError: a handler of the same type would refuse it, or read another value.
            PydanticSerializationError: it cannot be written.
        """
        try:
            document = self._to_json(body, by_alias=True, warnings="error")
        except PydanticSerializationError:
            # It is not of the type, as nothing has validated it; it may be read all the same.
            document = self._to_json(body, by_alias=True, warnings="none")
            self._read(body, document)
        for byte, mark in self._marks:
            if byte in document and mark in document:
                check_finite(body)
                break
        if self._may_be_deep and document.count(b"[") + document.count(b"{") > ALWAYS_READ:
            check_depth(body, document)
        if len(document) > MOST_DIGITS and check_digits(body, document):
            self._read(body, document)  # a key may be a number as well
        if (
            self._needs_trial
            or (not self._is_typed and _ASTERISK in document and _ASTERISKS in document)
            or (type(body) is self._model and len(body.__dict__) != len(self._fields) and self._lacks_fields(body))
            # Fields may hold a subclass of theirs.
            or (self._classes and any(map(_subclasses, self._classes)))
        ):
            self._try(body, document)
        if self._is_open:
            _check_inside(body, body)
        for name in self._open_fields:
            _check_inside(body, getattr(body, name, None))
        return document

    def _lacks_fields(self, body: BaseModel) -> bool:
        """Return whether a model was made without validation, and without a field. It may keep more than fields."""
        return not self._fields <= body.__dict__.keys()

    def check_text(self, text: str) -> None:
        """Refuse a text that is published as it is, and read as if it were JSON. Raises as `write` does."""
        if self._needs_trial:
            self._try(text, to_json(text))

    def _try(self, body: object, document: bytes) -> None:
        read = self._read(body, document)
        place = next(differences(body, read, self._is_typed), None)
        # A type without equality differs from itself as well.
        if place is not None and next(differences(self._read(body, document), read, True), None) is None:
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
    for byte, mark in DECIMAL_MARKS:  # of numbers that are no model's, and no keys
        if byte in document and mark in document:
            check_finite(body)
            break
    if document.count(b"[") + document.count(b"{") > ALWAYS_READ:
        check_depth(body, document)
    if len(document) > MOST_DIGITS:
        check_digits(body, document)
    if _ASTERISK in document and _ASTERISKS in document:
        _check_secrets(body, body, ())
    _check_inside(body, body)
    return document


def _check_inside(body: object, value: Any) -> None:
    """Hold models in a place without a type to the rules of their own, and refuse keys that JSON has once."""
    kind: Any = type(value)
    if kind in _SCALARS or _is_plain(value):
        return
    if isinstance(value, Mapping):
        if not _TEXT.issuperset(map(type, value)):
            _check_keys(body, dict.fromkeys(value))
        for each in value.values():
            _check_inside(body, each)
    elif isinstance(value, _CONTAINERS):
        for each in value:
            _check_inside(body, each)
    elif (known := json_type(kind)) is not None:
        known.write(value)


def _check_keys(body: object, keys: Mapping[Any, None]) -> None:
    check_finite(keys)
    if len(from_json(to_json(keys))) < len(keys):
        raise MessageInvalidError(
            f"the body, {type(body).__name__}, cannot be sent: two keys of a dict are written as the same text, as "
            f"1 and '1' are, and one of them would be lost: use texts"
        )


def _is_plain(value: Any) -> bool:
    """Return whether there are only dicts with keys of text, lists and scalars: quickly, as most are that."""
    if type(value) is dict:
        if not _TEXT.issuperset(map(type, value)):
            return False
        value = value.values()
    elif type(value) is not list:
        return False
    for each in value:  # noqa: SIM110 - a generator takes twice as long
        if type(each) not in _SCALARS and not _is_plain(each):
            return False
    return True


def _check_secrets(body: object, value: Any, place: Place) -> None:
    """Refuse a secret in a body without a type, which is written as asterisks. Models say how theirs are written."""
    if hasattr(value, "get_secret_value"):
        raise _unreadable(body, ".".join(place), f"{type(value).__name__} is written as asterisks")
    if isinstance(value, Mapping):
        for key, inside in value.items():
            _check_secrets(body, inside, (*place, str(key)))
    elif isinstance(value, _CONTAINERS):
        for at, inside in enumerate(value):
            _check_secrets(body, inside, (*place, str(at)))
    else:
        kind: Any = type(value)
        known = json_type(kind)
        if known is not None:
            known.write(value)


def _unreadable(body: object, place: str, problem: str) -> MessageInvalidError:
    where = f"field {place}: " if place else ""
    return MessageInvalidError(f"the body, {type(body).__name__}, cannot be sent: {where}{problem}: {_WAY_OUT}")

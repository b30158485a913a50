"""A handler's signature, compiled once into a plan that turns a delivery into its keyword arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Annotated, Any, Final, NamedTuple, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.dependencies import (
    Dependency,
    Depends,
    Provider,
    Source,
    kind_of,
    needed,
    provided,
    provided_async,
)
from taskroute.keys.pattern import Captures, RoutingPattern
from taskroute.message.delivery import Delivery
from taskroute.message.message import Message
from taskroute.message.outcome import Reason
from taskroute.quoting import shorten

_JSON_TYPES: Final = frozenset({None, "", "application/json", "application/octet-stream"})
_PLAIN_ENCODINGS: Final = frozenset({None, "", "utf-8", "utf8", "us-ascii", "ascii", "binary"})
_ERRORS_SHOWN: Final = 3
_NO_OVERRIDES: Final[Mapping[Provider, Provider]] = {}


@dataclass(frozen=True, slots=True)
class Header:
    """Marks a parameter that takes a header of the message: ``tenant: Annotated[str, Header("x-tenant")]``."""

    name: str


_MARKS: Final[Mapping[str, type]] = {"Depends": Depends, "Header": Header}


class InvalidArgumentError(Exception):
    """A message does not give a parameter what it asks for. Internal: becomes the reason of its dead letter."""

    def __init__(self, reason: Reason, error: str) -> None:
        super().__init__(error)
        self.reason: Reason = reason
        self.error = error


class BodyParameter(NamedTuple):
    """The parameter that takes the body: its annotation, and how it is read from a delivery."""

    annotation: Any
    source: Source


class ArgumentPlan:
    """Where each parameter of a handler comes from, decided at registration. `body` None: it takes no body."""

    __slots__ = ("_sources", "body", "dependencies", "needs")

    def __init__(
        self,
        sources: Mapping[str, Source],
        needs: Mapping[str, Provider] | None = None,
        dependencies: Iterable[Dependency] = (),
        body: BodyParameter | None = None,
    ) -> None:
        self.body = body
        self._sources = tuple(sources.items())
        self.needs = tuple((needs or {}).items())
        self.dependencies = tuple(dependencies)  # each one after those that it needs

    def bind(self, delivery: Delivery, captures: Captures) -> dict[str, object]:
        """Return the keyword arguments that one message gives.

        Raises:
            InvalidArgumentError: the message does not fit; says with which reason.
        """
        return {name: source(delivery, captures) for name, source in self._sources}

    def also(self, name: str, source: Source) -> ArgumentPlan:
        """Return a plan that feeds one parameter more."""
        return ArgumentPlan({**dict(self._sources), name: source}, dict(self.needs), self.dependencies)

    def caller(self, function: Callable[..., Any]) -> Callable[[Delivery, Captures], Any]:
        """Return `function` as a function of the message; what providers open is open while it runs."""
        if not self.dependencies:
            return lambda delivery, captures: function(**self.bind(delivery, captures))

        # Bound first: nothing is opened for a message that does not fit.
        def call(delivery: Delivery, captures: Captures) -> Any:
            arguments = self.bind(delivery, captures)
            with provided(self.dependencies, delivery, captures) as made:
                return function(**arguments, **needed(self.needs, made))

        async def call_async(delivery: Delivery, captures: Captures) -> Any:
            arguments = self.bind(delivery, captures)
            async with provided_async(self.dependencies, delivery, captures) as made:
                return await function(**arguments, **needed(self.needs, made))

        return call_async if is_async(function) else call


def plan_arguments(
    function: Callable[..., object], pattern: RoutingPattern, overrides: Mapping[Provider, Provider] = _NO_OVERRIDES
) -> ArgumentPlan:
    """Read the signature of a handler for `pattern`.

    A name the pattern captures is that capture; `Message` is the envelope; ``Annotated[T, Header(name)]`` a
    header; ``Annotated[T, Depends(provider)]`` what the provider makes; the one that remains is the body. A
    parameter with a default that nothing feeds keeps it. `overrides` has providers in place of others.

    Raises:
        HandlerSignatureError: a parameter that nothing can feed, a generator function, an async provider of a plain
            handler, an annotation that cannot be resolved or validated.
    """
    name = describe(function)
    if not callable(function):
        raise HandlerSignatureError(f"a handler is a function, not {type(function).__name__}")
    if kind_of(function).endswith("generator"):
        raise HandlerSignatureError(
            f"handler {name} is a generator function, and calling it would run nothing; "
            f"write a plain or an async function"
        )
    providers = _Providers(pattern, overrides)
    sources, needs, remaining = providers.sort(function, name)
    taken = _body_parameter(remaining, pattern, name)
    body = None if taken is None else BodyParameter(taken.annotation, _body_source(taken, name))
    if taken is not None and body is not None:
        sources[taken.name] = body.source
    for dependency in providers.planned.values():
        if dependency.is_async and not is_async(function):
            raise HandlerSignatureError(
                f"handler {name} is a plain function, and its provider {describe(dependency.provider)} is async; "
                f"make both plain, or both async"
            )
    return ArgumentPlan(sources, needs, providers.planned.values(), body)


class _Providers:
    """The providers that a handler needs, planned each after those that it needs itself."""

    def __init__(self, pattern: RoutingPattern, overrides: Mapping[Provider, Provider]) -> None:
        self._pattern = pattern
        self._overrides = overrides
        self._being_planned: list[Provider] = []
        self.planned: dict[Provider, Dependency] = {}

    def sort(
        self, function: Callable[..., object], name: str
    ) -> tuple[dict[str, Source], dict[str, Provider], list[inspect.Parameter]]:
        """Return where parameters come from, by name: the message, or a provider; and those that are left over."""
        sources: dict[str, Source] = {}
        needs: dict[str, Provider] = {}
        remaining: list[inspect.Parameter] = []
        for parameter in _parameters(function, name):
            provider = _provider_of(parameter)
            if provider is not None:
                needs[parameter.name] = self._plan(provider, name)
            elif (source := _source(parameter, self._pattern, name)) is not None:
                sources[parameter.name] = source
            else:
                remaining.append(parameter)
        return sources, needs, remaining

    def _plan(self, asked: Provider, user: str) -> Provider:
        try:
            provider = self._overrides.get(asked, asked)
            hash(provider)
        except TypeError:
            raise HandlerSignatureError(
                f"handler {user}: Depends({asked!r}) has no hash, by which it is told from others; "
                f"pass a method of it, its __call__ say, or make its class a frozen dataclass"
            ) from None
        if not callable(provider):
            raise HandlerSignatureError(f"handler {user}: Depends({provider!r}) needs a function")
        if provider in self._being_planned:
            circle = " -> ".join(describe(each) for each in [*self._being_planned, provider])
            raise HandlerSignatureError(f"handler {user}: providers depend on each other in a circle: {circle}")
        if provider not in self.planned:
            self._being_planned.append(provider)
            self.planned[provider] = self._dependency(provider, f"{user} (its provider {describe(provider)})")
            self._being_planned.pop()
        return provider

    def _dependency(self, provider: Provider, name: str) -> Dependency:
        sources, needs, remaining = self.sort(provider, name)
        for parameter in remaining:
            if parameter.default is parameter.empty:
                raise HandlerSignatureError(
                    f"handler {name}: nothing feeds parameter {parameter.name!r}; a provider takes what the pattern "
                    f"captures, Message, Header(...) and Depends(...), and not the body"
                )
        return Dependency(provider, tuple(sources.items()), tuple(needs.items()))


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling a function gives a coroutine, as far as can be seen before."""
    return kind_of(function) == "coroutine"


def describe(function: Callable[..., object]) -> str:
    """Name of a function for errors and logs: module and qualified name."""
    return ".".join(names_of(function))


def names_of(function: Callable[..., object]) -> tuple[str, str]:
    """Module and qualified name of a function; of a partial, those of what it calls; of an object, its class's."""
    while isinstance(function, partial):
        function = function.func
    qualified = getattr(function, "__qualname__", None) or type(function).__qualname__
    return getattr(function, "__module__", "?"), qualified


def _parameters(function: Callable[..., object], name: str) -> Iterable[inspect.Parameter]:
    try:
        # A class with its type arguments, ``Repository[int]``, is called as the class is.
        signature = inspect.signature(get_origin(function) or function, eval_str=True)
    except NameError as error:
        raise HandlerSignatureError(
            f"handler {name}: an annotation names {error.name!r}, which its module does not have; "
            f"define or import it at module level"
        ) from None
    except Exception as error:  # noqa: BLE001 - a quoted annotation is an expression and may raise anything
        raise HandlerSignatureError(f"handler {name}: its signature cannot be read: {error}") from None
    for parameter in signature.parameters.values():
        _check_marks(parameter, name)
        if isinstance(parameter.default, Depends | Header):
            mark = type(parameter.default).__name__
            raise HandlerSignatureError(
                f"handler {name}: parameter {parameter.name!r} has {mark}(...) as its default; "
                f"it belongs into the annotation: {parameter.name}: Annotated[..., {mark}(...)]"
            )
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise HandlerSignatureError(
                f"handler {name}: parameter {str(parameter).split(':')[0]!r} cannot be passed by name; "
                f"name each parameter and leave out '/', * and **"
            )
    return signature.parameters.values()


def _check_marks(parameter: inspect.Parameter, name: str) -> None:
    """Refuse what looks like a mark and is none, which would be passed over: another library's, or one not called."""
    for mark in (*_marks(parameter.annotation), parameter.default):
        kind = mark if isinstance(mark, type | FunctionType) else type(mark)
        own = _MARKS.get(kind.__name__)
        subject = f"handler {name}: parameter {parameter.name!r} is marked with"
        if own is not None and kind is not own:
            raise HandlerSignatureError(
                f"{subject} {kind.__module__}.{kind.__name__}: import {kind.__name__} from taskroute instead"
            )
        if own is not None and mark is own:
            raise HandlerSignatureError(f"{subject} {kind.__name__}: write {kind.__name__}(...), with brackets")


def _marks(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _source(parameter: inspect.Parameter, pattern: RoutingPattern, name: str) -> Source | None:
    """The source of a parameter that is not the body, or None."""
    annotation = parameter.annotation
    if parameter.name in pattern.capture_names:
        return _capture_source(parameter, name)
    if annotation is Message:
        return lambda delivery, _: delivery.message()
    headers = [mark for mark in _marks(annotation) if isinstance(mark, Header)]
    return _header_source(parameter, headers[0].name, name) if headers else None


def _provider_of(parameter: inspect.Parameter) -> Provider | None:
    for mark in _marks(parameter.annotation):
        if isinstance(mark, Depends):
            return mark.provider
    return None


def _body_parameter(remaining: list[inspect.Parameter], pattern: RoutingPattern, name: str) -> inspect.Parameter | None:
    required = [parameter for parameter in remaining if parameter.default is parameter.empty]
    if required and (required[0].name == "self" or (required[0].name == "cls" and len(required) > 1)):
        raise HandlerSignatureError(
            f"handler {name} takes {required[0].name}, as a method does that belongs to no object yet: "
            f"register it from its object, registry.add(pattern, object.{name.rpartition('.')[2]})"
        )
    if len(required) > 1:
        names = ", ".join(parameter.name for parameter in required)
        captured = ", ".join(sorted(pattern.capture_names)) or "nothing"
        raise HandlerSignatureError(
            f"handler {name}: only one parameter can take the body, but {names} remain "
            f"({str(pattern)!r} captures {captured}); capture them, mark them Header(...) or Depends(...), "
            f"or give them defaults"
        )
    return required[0] if required else None


def _adapter(annotation: Any, parameter: str, name: str) -> TypeAdapter[Any]:
    try:
        adapter = TypeAdapter[Any](Any if annotation is inspect.Parameter.empty else annotation)
        adapter.validate_json(b"")  # pydantic puts off a name that it cannot resolve until the first use
    except ValidationError:
        return adapter
    except Exception as error:  # noqa: BLE001 - types bring their own code, which may raise anything
        reason = str(error).partition("\n")[0]
        raise HandlerSignatureError(
            f"handler {name}: parameter {parameter!r} has an annotation that cannot be validated: {reason}"
        ) from None
    return adapter


def _capture_source(parameter: inspect.Parameter, name: str) -> Source:
    key, annotation = parameter.name, parameter.annotation
    if annotation is str:
        return lambda _, captures: _joined(captures[key])
    if annotation is parameter.empty:
        return lambda _, captures: captures[key]
    adapter = _adapter(annotation, key, name)

    def validated(_: Delivery, captures: Captures) -> object:
        try:
            return adapter.validate_python(captures[key])
        except ValidationError as error:
            raise InvalidArgumentError("invalid_key", describe_invalid(error, key)) from None

    return validated


def _joined(capture: str | tuple[str, ...]) -> str:
    return capture if isinstance(capture, str) else ".".join(capture)


def _header_source(parameter: inspect.Parameter, header: str, name: str) -> Source:
    adapter = _adapter(parameter.annotation, parameter.name, name)
    default = parameter.default

    def validated(delivery: Delivery, _: Captures) -> object:
        headers = delivery.headers
        if header not in headers:
            if default is parameter.empty:
                raise InvalidArgumentError("invalid_header", f"{header}: missing")
            return default
        try:
            return adapter.validate_python(headers[header])
        except ValidationError as error:
            raise InvalidArgumentError("invalid_header", describe_invalid(error, header)) from None

    return validated


def _body_source(parameter: inspect.Parameter, name: str) -> Source:
    if parameter.annotation is bytes:
        return lambda delivery, _: delivery.body
    if parameter.annotation is str:
        return _text_body
    validate_json = _adapter(parameter.annotation, parameter.name, name).validate_json

    def validated(delivery: Delivery, _: Captures) -> object:
        check_content(delivery)
        try:
            if b"NaN" in delivery.body or b"Infinity" in delivery.body:
                from_json(delivery.body, allow_inf_nan=False)
            return validate_json(delivery.body)
        except ValidationError as error:
            raise InvalidArgumentError("invalid_body", describe_invalid(error, "body")) from None
        except ValueError:
            raise InvalidArgumentError("invalid_body", "body: NaN and Infinity are not JSON") from None

    return validated


def _text_body(delivery: Delivery, _: Captures) -> object:
    _check_encoding(delivery)
    try:
        return delivery.body.decode()
    except UnicodeDecodeError:
        raise InvalidArgumentError("invalid_body", "body: not UTF-8") from None


def check_content(delivery: Delivery) -> None:
    """Raise InvalidArgumentError unless the body claims to be plain JSON; nothing is ever unpacked or inflated."""
    content_type = delivery.properties.get("content_type")
    if content_type not in _JSON_TYPES:
        kind = str(content_type).partition(";")[0].strip().lower()
        if kind not in _JSON_TYPES and not kind.endswith(("/json", "+json")):
            raise InvalidArgumentError("unsupported_content", f"content_type: {shorten(kind)}")
    _check_encoding(delivery)


def _check_encoding(delivery: Delivery) -> None:
    encoding = delivery.properties.get("content_encoding")
    if encoding not in _PLAIN_ENCODINGS and str(encoding).lower() not in _PLAIN_ENCODINGS:
        raise InvalidArgumentError("unsupported_content", f"content_encoding: {shorten(str(encoding))}")
    compression = delivery.headers.get("compression")
    if compression is not None:
        raise InvalidArgumentError("unsupported_content", f"compression: {shorten(str(compression))}")


def describe_invalid(error: ValidationError, subject: str) -> str:
    """Field and type of the first few problems, never a value: ``"id: missing; file: string_type"``."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [
        f"{'.'.join(shorten(str(part)).strip(chr(39)) for part in problem['loc']) or subject}: {problem['type']}"
        for problem in problems[:_ERRORS_SHOWN]
    ]
    more = len(problems) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")

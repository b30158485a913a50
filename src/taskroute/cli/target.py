"""Target: the object of the user's code that a command is about, named `module:object`."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import pkgutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from taskroute.cli.exits import UsageError
from taskroute.cli.signals import raise_interrupt_behind
from taskroute.cli.suggestion import hint
from taskroute.cli.traceback import has_users_frame, users_traceback

if TYPE_CHECKING:
    from taskroute import Finding, Handler, HandlerRegistry, Routes, Topology

_KINDS: Final = "a Service, Routes, a Topology, a Worker, or an object with .topology and .registry"
_MISSING: Final = object()


class TargetError(Exception):
    """The user's code has raised while it was imported or called; the text is its traceback."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is about.

    Attributes:
        text: as it was typed.
        value: the object: a service, routes, a topology, a worker, or whatever has `topology` and `registry`.
        topology: of it.
        registry: of it; None if it has none, as a topology, or has compiled it already, as routes.
    """

    text: str
    value: Any
    topology: Topology
    registry: HandlerRegistry | None

    def routes(self) -> Routes:
        """Return its routes, compiled now unless it has them. A topology has no handlers.

        Raises:
            DefinitionError: topology and handlers do not fit together.
        """
        import taskroute

        if isinstance(self.value, taskroute.Routes):
            return self.value
        if isinstance(self.value, taskroute.Worker):
            return self.value.routes
        return taskroute.Routes(self.topology, self.registry or taskroute.HandlerRegistry())

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """Its handlers, whether or not they fit."""
        return self.routes().handlers if self.registry is None else self.registry.handlers

    def check(self, broker: str | None) -> tuple[Finding, ...]:
        """Return what is wrong with it; see `Routes.check`. Handlers that are ambiguous are findings too.

        Raises:
            DefinitionError: topology and handlers do not fit together in another way, or `broker` names none.
        """
        from taskroute.errors import AmbiguousHandlerError
        from taskroute.graph.check.check import check
        from taskroute.topology.broker_facts import facts_named

        try:
            return self.routes().check(broker=broker)
        except AmbiguousHandlerError:  # all of them, where an error has one
            return check(self.topology, self.handlers, None if broker is None else facts_named(broker))


def add_target(parser: ArgumentParser) -> None:
    """Give a command the argument TARGET, and the options that say how it is found."""
    _add(parser, "target")


def add_targets(parser: ArgumentParser) -> None:
    """Give a command one or several."""
    _add(parser, "targets", nargs="+")


def load_targets(arguments: Namespace) -> list[Target]:
    """Import each target that a command was given. Raises what `load_target` does."""
    return [load_target(Namespace(**{**vars(arguments), "target": text})) for text in arguments.targets]


def _add(parser: ArgumentParser, name: str, **options: Any) -> None:
    parser.add_argument(
        name,
        metavar="TARGET",
        help="module:object or module:object.attribute, for example shop.service:service",
        **options,
    )
    parser.add_argument("--factory", action="store_true", help="the object is a function: call it for the target")
    parser.add_argument(
        "--app-dir", metavar="DIR", default=".", help="where the module is; the current folder if left out"
    )


def load_target(arguments: Namespace) -> Target:
    """Import the target that a command was given.

    Raises:
        UsageError: there is no such module or object, or it is of another kind.
        TargetError: the user's code has raised.
    """
    text: str = arguments.target
    if "://" in text or "@" in text:  # not repeated: it may have a password
        raise UsageError("TARGET is a URL: that is --url, and TARGET is module:object, such as shop.service:service")
    module_name, colon, path = text.partition(":")
    if not module_name or (colon and not path):
        raise UsageError(f"TARGET {text!r} is not module:object, for example shop.service:service")
    module = _import(module_name, text, arguments.app_dir)
    if not colon:
        fitting = ", ".join(f"{module_name}:{name}" for name, value in vars(module).items() if _is_fitting(value))
        raise UsageError(f"TARGET {text!r} names no object: write {fitting or f'{module_name}:NAME'}")
    value = _look_up(module, path, text)
    if arguments.factory:
        value = _call(value, text)
    return _read(value, text)


def _import(name: str, text: str, app_dir: str) -> ModuleType:
    try:
        folder = os.path.abspath(app_dir)
    except OSError as error:
        raise UsageError(f"--app-dir {app_dir!r}: where is the current folder? {error.strerror}") from None
    if not os.path.isdir(folder):
        raise UsageError(f"--app-dir {app_dir!r} is no folder")
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    try:
        with _users_code():
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(_no_module(error.name or name, text, folder)) from None
    except (ValueError, TypeError):  # of the name itself, such as a dot in front
        raise UsageError(f"TARGET {text!r} is not module:object, for example shop.service:service") from None
    except SystemExit as end:
        way_out = "put what runs under if __name__ == '__main__'"
        raise UsageError(f"TARGET {text!r}: {name} ended the program ({end.code}) when imported: {way_out}") from None


@contextlib.contextmanager
def _users_code() -> Iterator[None]:
    """Run code of the user's: what it prints goes to stderr, as stdout is for what the command says.

    Raises:
        TargetError: it has raised. What was raised before any of it ran is passed on: there is no such module.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except Exception as error:
        raise_interrupt_behind(error)
        if not has_users_frame(error) and not isinstance(error, SyntaxError):
            raise
        raise TargetError(users_traceback(error)) from None


def _no_module(name: str, text: str, folder: str) -> str:
    typed = text.partition(":")[0]
    if typed.endswith(".py") or "/" in typed:
        way_out = f": did you mean {typed.removesuffix('.py').strip('./').replace('/', '.')!r}?"
    else:
        known = [module.name for module in pkgutil.iter_modules([folder])]
        way_out = hint(name, known, "start in the folder that has it, or name that folder with --app-dir")
    return f"TARGET {text!r}: there is no module {name!r} in {folder}{way_out}"


def _look_up(module: ModuleType, path: str, text: str) -> Any:
    value: Any = module
    done = module.__name__
    for name in path.split("."):
        with _users_code():  # a property or a module's `__getattr__` may do anything
            found = getattr(value, name, _MISSING)
        if found is _MISSING:
            near = hint(name, (each for each in dir(value) if not each.startswith("_")))
            raise UsageError(f"TARGET {text!r}: {done} has no {name!r}{near}")
        value, done = found, f"{done}.{name}"
    return value


def _call(factory: Any, text: str) -> Any:
    if not callable(factory):
        raise UsageError(f"--factory: {text} is no function, but {_kind(factory)}: leave --factory out")
    if inspect.iscoroutinefunction(factory):
        raise UsageError(f"--factory: {text} is an async def: make it a plain function")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise UsageError(f"--factory: {text} is called without arguments: {error}") from None
    except ValueError:
        pass  # it cannot be asked
    with _users_code():
        return factory()


def _read(value: Any, text: str) -> Target:
    import taskroute

    if isinstance(value, taskroute.Topology):
        return Target(text, value, value, None)
    if isinstance(value, taskroute.Routes | taskroute.Worker):
        routes = value if isinstance(value, taskroute.Routes) else value.routes
        return Target(text, value, routes.topology, None)
    topology, registry = getattr(value, "topology", None), getattr(value, "registry", None)
    if isinstance(topology, taskroute.Topology) and isinstance(registry, taskroute.HandlerRegistry):
        return Target(text, value, topology, registry)
    if inspect.isroutine(value):
        raise UsageError(f"TARGET {text!r} is a function: with --factory it is called")
    raise UsageError(f"TARGET {text!r} is {_kind(value)}, not {_KINDS}")


def _is_fitting(value: Any) -> bool:
    import taskroute

    if isinstance(value, taskroute.Topology | taskroute.Routes | taskroute.Worker):
        return True
    parts = (getattr(value, "topology", None), getattr(value, "registry", None))
    return isinstance(parts[0], taskroute.Topology) and isinstance(parts[1], taskroute.HandlerRegistry)


def _kind(value: object) -> str:
    return f"a {type(value).__name__}" if value is not None else "None"

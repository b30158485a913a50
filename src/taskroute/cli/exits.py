"""Exit codes: one table for every command. Loads nothing of what commands need."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from taskroute.errors import BrokerError, DefinitionError, PublishRejectedError, TaskrouteError

_ACCESS_REFUSED: Final = 403
"""AMQP's code of a broker that denies something to a user."""


class Exit(IntEnum):
    """How a command ended, for the program that called it."""

    OK = 0
    """Fine."""
    FINDINGS = 1
    """Findings, or not everything was done: a key without a handler, a message without a queue, a drain cut short."""
    USAGE = 2
    """An argument is wrong, or the target cannot be imported."""
    BROKER = 3
    """The broker is away, denies it, or has something else."""
    CHANGES = 10
    """`plan`: something is to be done."""
    REPLACE = 11
    """`plan`: something has to be replaced, whatever else is to be done."""


class UsageError(Exception):
    """The command line cannot be done as it is written; the text names the argument and the way out, in a line."""


def exit_of(error: TaskrouteError) -> Exit:
    """Return the exit code of a command that an error of the library has ended.

    >>> exit_of(UnroutableError("no queue"))
    <Exit.FINDINGS: 1>
    """
    if isinstance(error, DefinitionError):
        return Exit.USAGE
    is_denied = isinstance(error, PublishRejectedError) and getattr(error.__cause__, "code", None) == _ACCESS_REFUSED
    return Exit.BROKER if isinstance(error, BrokerError) or is_denied else Exit.FINDINGS

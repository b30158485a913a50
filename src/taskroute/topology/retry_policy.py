"""RetryPolicy: how often a failed message is tried again, and after which delays."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator

from taskroute.topology.durations import PositiveDuration
from taskroute.topology.spec import Spec, a_list


def _some(delays: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
    if not delays:
        raise ValueError("needs at least one; for no retries, write retry=False")
    return delays


class RetryPolicy(Spec, frozen=True):
    """How often and after which delays a failed message is tried again before it is dead-lettered.

    Args:
        delays: seconds or timedeltas, one further attempt each; each delay is a wait queue of its own.

    Example:
        >>> RetryPolicy(delays=(1, 60)).attempts
        3
    """

    _written: ClassVar[str] = "retry=RetryPolicy(delays=(1, 5, 25)), or retry=False"

    delays: Annotated[tuple[PositiveDuration, ...], AfterValidator(_some), a_list("delays=[1, 5, 25]")] = (
        timedelta(seconds=1),
        timedelta(seconds=5),
        timedelta(seconds=25),
    )

    if TYPE_CHECKING:  # a checker would allow only what the fields become, not what they are made from

        def __init__(self, *, delays: Iterable[timedelta | float] = ...) -> None: ...

    @property
    def attempts(self) -> int:
        """How many times a message is handled at most."""
        return len(self.delays) + 1

"""RetryPolicy: how often a failed message is tried again, and after which delays."""

from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator

from taskroute.exported import exported_by
from taskroute.topology.durations import PositiveDuration
from taskroute.topology.spec import Spec, a_list


def _at_least_one(delays: tuple[timedelta, ...]) -> tuple[timedelta, ...]:
    if not delays:
        raise ValueError("needs at least one; for no retries, write retry=False")
    return delays


@exported_by("taskroute")
class RetryPolicy(Spec, frozen=True):
    """How often and after which delays a failed message is tried again before it is dead-lettered.

    Args:
        delays: seconds or timedeltas, one for each further attempt; each delay has a wait queue of its own.

    Example:
        >>> RetryPolicy(delays=(1, 60)).attempts
        3
    """

    _written: ClassVar[str] = "retry=RetryPolicy(delays=(1, 5, 25)), or retry=False"

    delays: Annotated[tuple[PositiveDuration, ...], AfterValidator(_at_least_one), a_list("delays=[1, 5, 25]")] = (
        timedelta(seconds=1),
        timedelta(seconds=5),
        timedelta(seconds=25),
    )

    if TYPE_CHECKING:  # what a caller may give; a type checker would allow only what the fields become

        def __init__(self, *, delays: Iterable[timedelta | float] = ...) -> None: ...

    @property
    def attempts(self) -> int:
        """How many times a message is handled at most, the first attempt included."""
        return len(self.delays) + 1

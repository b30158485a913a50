"""The tree of errors."""

from __future__ import annotations

import inspect
import pickle

import pytest

from taskroute import errors
from taskroute.errors import BrokerUnavailableError, PublishError, TaskrouteError

EVERY = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, Exception)]


@pytest.mark.parametrize("error", EVERY)
def test_error_is_a_documented_taskroute_error_of_the_tree(error: type[Exception]) -> None:
    assert issubclass(error, TaskrouteError)
    assert error.__name__.endswith("Error")
    assert error.__doc__
    assert error.__name__ in (errors.__doc__ or "")


def test_tree_of_errors_has_each_error_once_under_its_parent() -> None:
    """The tree is drawn in the docstring of the module."""
    parents: dict[int, str] = {}
    drawn = []
    for line in (errors.__doc__ or "").splitlines():
        name = line.lstrip(" │├└─").split(" ")[0]
        if not name.endswith("Error"):
            continue
        depth = line.index(name)
        parent = parents.get(max((at for at in parents if at < depth), default=-1))
        parents = {**{at: above for at, above in parents.items() if at < depth}, depth: name}
        drawn.append(name)
        bases = [base.__name__ for base in getattr(errors, name).__bases__]
        assert parent is None or parent in bases
    assert sorted(drawn) == sorted(error.__name__ for error in EVERY)


def test_broker_unavailable_error_is_a_publish_error() -> None:
    assert issubclass(BrokerUnavailableError, PublishError)


@pytest.mark.parametrize("error", EVERY)
def test_error_can_be_pickled(error: type[Exception]) -> None:
    copy = pickle.loads(pickle.dumps(error("queue 'q': gone")))

    assert type(copy) is error
    assert str(copy) == "queue 'q': gone"

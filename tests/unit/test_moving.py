"""Moving: a connection to another node than the first is left once nothing is open, at a moment of the client's own."""

from __future__ import annotations

import itertools
import random

import pytest

from taskroute.broker.moving import FIRST_MOVE, LAST_MOVE, Moving
from taskroute.broker.roles.role import Role


class Leaves(Role):
    """A role that has something open until it is told otherwise."""

    leaving_time = 10.0

    def __init__(self) -> None:
        self.has_open = True
        self.is_leaving = False

    def leave(self) -> bool:
        self.is_leaving = True
        return not self.has_open

    def stay(self) -> None:
        self.is_leaving = False


class Scene:
    """A session on another node than its first, at 0 by its clock, with the first reachable again."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.looks = 0
        self.is_reachable = True
        self.role = Leaves()
        self.moving = Moving(self.role, self.look, lambda: self.now, random.Random(seed))
        self.moving.opened(is_first=False)

    def look(self) -> None:
        self.looks += 1

    def answer(self) -> None:
        """Tell what was looked for, and pass once more."""
        self.moving.looked(is_reachable=self.is_reachable)
        assert not self.moving.is_over()

    def begin(self) -> bool:
        """Go on to the moment at which it is looked next."""
        moment = self.moving.next_deadline()
        assert moment is not None
        self.now = moment
        return self.moving.is_over()


def test_client_on_its_first_node_stays() -> None:
    scene = Scene()

    scene.moving.opened(is_first=True)
    scene.now = 10 * LAST_MOVE

    assert scene.moving.next_deadline() is None
    assert not scene.moving.is_over()


@pytest.mark.parametrize("is_leaving", [False, True])
def test_nothing_is_due_without_a_connection(is_leaving: bool) -> None:
    """A session that waits for a broker would go round and round over a moment that has passed."""
    scene = Scene()
    if is_leaving:
        scene.begin()
        scene.answer()

    scene.moving.lost()

    assert scene.moving.next_deadline() is None


def test_fleet_does_not_go_back_all_at_once() -> None:
    moments = sorted(Scene(seed).moving.next_deadline() or 0.0 for seed in range(300))

    assert FIRST_MOVE <= moments[0] < moments[-1] <= LAST_MOVE
    assert max(later - earlier for earlier, later in itertools.pairwise(moments)) < 60


def test_connection_is_left_once_nothing_is_open() -> None:
    scene = Scene()

    assert not scene.begin()
    scene.answer()
    assert scene.role.is_leaving

    scene.role.has_open = False
    assert scene.moving.is_over()


def test_role_goes_on_when_it_takes_too_long_to_leave() -> None:
    scene = Scene()
    scene.begin()
    scene.answer()
    began = scene.now

    assert not scene.begin()  # its time is over

    assert scene.now == began + scene.role.leaving_time
    assert not scene.role.is_leaving
    assert (scene.moving.next_deadline() or 0.0) >= scene.now + FIRST_MOVE


def test_node_that_takes_no_connections_is_looked_for_later() -> None:
    scene = Scene()
    scene.is_reachable = False
    scene.begin()

    scene.answer()

    assert not scene.role.is_leaving
    assert (scene.moving.next_deadline() or 0.0) >= scene.now + FIRST_MOVE
    scene.begin()
    assert scene.looks == 2


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("has_answer", [True, False])
def test_connection_that_ends_meanwhile_ends_the_leaving(is_first: bool, has_answer: bool) -> None:
    scene = Scene()
    scene.begin()
    if has_answer:
        scene.answer()

    scene.moving.opened(is_first=is_first)
    scene.moving.looked(is_reachable=True)  # too late
    scene.role.has_open = False

    assert not scene.moving.is_over()

"""Remarks: what a broker has not as declared, and what could not be looked at, where nothing stops over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import amqp

from taskroute.errors import BrokerError, BrokerUnavailableError
from taskroute.foreign import Log

log = Log("taskroute.broker")

_UNCOMPARED: Final = "not compared"


class Remarks:
    """Of one session: a line in the log for each that is new, and a text for `Worker.health`.

    The session's thread makes every call; others may read `texts`.
    """

    def __init__(self) -> None:
        self.texts: Mapping[str, str] = {}
        """By what they are about, those of the last connection. Replaced, never changed."""
        self._logged: dict[str, str] = {}
        self._uncompared: list[str] = []

    def begin_anew(self) -> None:
        """Forget what was said of the connection before."""
        self.texts = {}
        self._uncompared = []

    def unseen(self, subject: str, why: str) -> None:
        """Say that this user may not look whether something is there."""
        if subject not in self.texts:
            self._note(subject, f"this user may not look at {subject}: {why}")
            if self._is_new(subject, why):
                log.warning("cannot_look subject=%s error=%s", subject, why)

    def uncompared(self, subject: str, why: str) -> None:
        """Say that something is there, and that this user may not ask whether it is as declared."""
        self._uncompared.append(subject)
        known = "known to be there, and not compared, as this user may not declare"
        self._note(_UNCOMPARED, f"{known}: {', '.join(self._uncompared)}")
        if self._is_new(_UNCOMPARED, ""):  # one line serves all
            log.warning("cannot_compare subject=%s error=%s", subject, why)

    def differs(self, kind: Literal["queue", "exchange"], name: str, error: BrokerError) -> None:
        """Say that the broker has something otherwise than declared, lacks it, or refuses it."""
        subject, text = f"{kind} {name!r}", str(error)
        self._note(subject, text)
        if self._is_new(subject, text):
            if kind == "queue":
                log.warning("queue_differs queue=%s error=%s", name, error)
            else:
                log.warning("exchange_differs exchange=%s error=%s", name, error)

    def lost(self, name: str, pause: float, error: BrokerError) -> None:
        """Say that a queue is not consumed now, and tried again after `pause` seconds.

        `Worker.health` says why as long as it lasts, and a warning once; the next attempts end alike.
        """
        differs = not (isinstance(error, BrokerUnavailableError) or isinstance(error.__cause__, amqp.NotFound))
        tell = log.warning if self._is_new(_consumer_of(name), str(error)) else log.debug
        if differs:
            tell("queue_differs queue=%s pause=%.1f error=%s", name, pause, error)
        else:
            tell("queue_missing queue=%s pause=%.1f error=%s", name, pause, error)

    def found(self, name: str) -> None:
        """Take note that a queue is consumed."""
        self._logged.pop(_consumer_of(name), None)

    def clear_of(self, kind: Literal["queue", "exchange"], name: str) -> None:
        """Take back what was said of something that is as declared now."""
        subject = f"{kind} {name!r}"
        self.texts = {about: text for about, text in self.texts.items() if about != subject}
        self._logged.pop(subject, None)

    def _note(self, about: str, text: str) -> None:
        self.texts = {**self.texts, about: text}

    def _is_new(self, about: str, text: str) -> bool:
        was, self._logged[about] = self._logged.get(about), text
        return was != text


def _consumer_of(queue: str) -> str:
    return f"consumer of {queue!r}"

"""Where unknown peer ids wait: few at once, each for few seconds, and the oldest gives way."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Protocol

from .interface import Admission

__all__ = ["STRANGERS", "STRANGER_TIMEOUT_S", "Antechamber"]

STRANGERS = 8
STRANGER_TIMEOUT_S = 5.0


class Guest(Protocol):
    """A connection that may be a stranger's."""

    admission: Admission

    def abort(self) -> None:
        """Drop the connection."""
        ...


class Antechamber:
    """The strangers that have not been admitted yet."""

    def __init__(self, places: int = STRANGERS, timeout_s: float = STRANGER_TIMEOUT_S) -> None:
        self._places = places
        self._timeout_s = timeout_s
        self._waiting: OrderedDict[Guest, asyncio.TimerHandle] = OrderedDict()

    def enter(self, connection: Guest) -> None:
        """Let a stranger in, in the place of the oldest where all are taken."""
        for guest in [g for g in self._waiting if g.admission is not Admission.STRANGER]:
            self.leave(guest)
        if len(self._waiting) >= self._places:
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.abort()
        loop = asyncio.get_running_loop()
        self._waiting[connection] = loop.call_later(self._timeout_s, self._expel, connection)

    def leave(self, connection: Guest) -> None:
        """Forget a connection, if it is here at all."""
        timer = self._waiting.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _expel(self, connection: Guest) -> None:
        self.leave(connection)
        if connection.admission is Admission.STRANGER:
            connection.abort()

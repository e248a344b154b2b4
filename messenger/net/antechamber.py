"""Where unknown peer ids wait: few at once, each for a few seconds, and the places are shared between networks.

When all places are taken, a newcomer takes one from the network that has the most: that of the oldest connection which
said nothing in its first second (a guest says HELLO at once), else that of the oldest. So a flood from one network
only evicts its own strangers, and a guest from any other network finds a place.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from .interface import Admission
from .shares import Places, network_of

__all__ = ["STRANGERS", "STRANGERS_PER_NETWORK", "STRANGER_TIMEOUT_S", "Antechamber"]

STRANGERS = 8
STRANGERS_PER_NETWORK = 2
"""Most of those for one network once all places are taken; until then a network may have more."""
STRANGER_TIMEOUT_S = 5.0
SILENT_S = 1.0
"""A stranger that has said nothing for this long is evicted first."""


class Candidate(Protocol):
    """A connection that may be a stranger's."""

    admission: Admission
    remote_host: str
    spoken: bool
    """Whether anything has come on a stream."""

    def abort(self) -> None:
        """Drop the connection."""
        ...


class Antechamber:
    """The strangers that have not been admitted yet."""

    def __init__(
        self,
        places: int = STRANGERS,
        timeout_s: float = STRANGER_TIMEOUT_S,
        share: int = STRANGERS_PER_NETWORK,
    ) -> None:
        self._places: Places[Candidate] = Places(places, share)
        self._timeout_s = timeout_s
        self._timers: dict[Candidate, tuple[float, asyncio.TimerHandle]] = {}

    def enter(self, connection: Candidate) -> None:
        """Let a stranger in; if all places are taken, evict another."""
        for guest in [g for g in self._timers if g.admission is not Admission.STRANGER]:
            self.leave(guest)
        network = network_of(connection.remote_host)
        leaver = self._places.take(connection, network, self._is_silent)
        if leaver is not None:
            self.leave(leaver)
            leaver.abort()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._timeout_s, self._expel, connection)
        self._timers[connection] = loop.time(), timer

    def _is_silent(self, guest: Candidate) -> bool:
        since_s, _ = self._timers[guest]
        return not guest.spoken and asyncio.get_running_loop().time() - since_s >= SILENT_S

    def leave(self, connection: Candidate) -> None:
        """Forget a connection, if it is here at all."""
        self._places.leave(connection)
        entry = self._timers.pop(connection, None)
        if entry is not None:
            entry[1].cancel()

    def _expel(self, connection: Candidate) -> None:
        self.leave(connection)
        if connection.admission is Admission.STRANGER:
            connection.abort()

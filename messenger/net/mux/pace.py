"""How much bulk of one connection may be sent now: `flight` judges by delay, `unsent` by what the kernel holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .flight import Flight
from .keepalive import MARK
from .unsent import Unsent
from .yamux import Yamux

__all__ = ["Pace"]

LEAST_WRITE_BYTES = 4096
WRITES_PER_FLIGHT = 8
"""Bulk is written in pieces of this part of what the link holds: some 10 KiB on 10 Mbit/s and 50 ms, which take 10 ms.
On a short line a piece is what may wait in the socket, which is more."""


class Pace:
    """The bulk of one connection; its Yamux counts what has left, and carries the marks."""

    def __init__(self, yamux: Yamux) -> None:
        """Pace a connection that has no socket yet."""
        self._yamux = yamux
        self._flight = Flight()
        self._unsent: Unsent | None = None
        self._marks = 0
        self._marked = 0
        """How many of the bytes sent the flight was told of."""

    def begin(self, socket: asyncio.Transport, again: Callable[[], object]) -> None:
        """Take the socket, and what to call when it may have room."""
        self._unsent = Unsent(socket, again)
        self._unsent.keep(self._flight.unsent_bytes)

    def end(self) -> None:
        """Let go of the socket, which is gone."""
        if self._unsent is not None:
            self._unsent.end()
            self._unsent = None

    @property
    def write_bytes(self) -> int:
        """How much to write at once on a stream."""
        part = self._flight.limit_bytes // WRITES_PER_FLIGHT
        return max(LEAST_WRITE_BYTES, part, self._flight.unsent_bytes)

    def room_bytes(self) -> int:
        """Return how much may be sent now; if the socket has no room, `again` is called once it has."""
        room = self._flight.near or self._unsent is None or self._unsent.has_room()
        return self._flight.piece_bytes if room else 0

    def mark(self, now_s: float) -> None:
        """Send marks after data; their answers tell how much has arrived and how long it took."""
        sent = self._yamux.bulk_sent_bytes
        if sent > self._marked:
            self._flight.sent(sent - self._marked)
            self._marked = sent
        if self._flight.wants_mark:
            self._marks = (self._marks + 1) % MARK
            self._yamux.ping(MARK | self._marks)
            self._flight.mark(MARK | self._marks, now_s)

    def answered(self, value: int, now_s: float) -> None:
        """Take the answer to a mark."""
        self._flight.answered(value, now_s)
        self.mark(now_s)
        if self._unsent is not None:
            self._unsent.keep(self._flight.unsent_bytes)

    def pinged(self, took_s: float) -> None:
        """Take a round trip of any other ping."""
        self._flight.pinged(took_s)

"""The window over one lane of one contact's outbox: what is in flight, and what to load next.

Entries go out in the order of their numbers. At most `WINDOW_ENTRIES` or `WINDOW_BYTES` are unacknowledged at a
time, so that neither a slow peer nor 100,000 queued entries take memory. A new session starts over from the first
entry that is not settled; that is harmless, because the receiver drops duplicates.
"""

from __future__ import annotations

__all__ = ["WINDOW_BYTES", "WINDOW_ENTRIES", "OutgoingWindow"]

WINDOW_ENTRIES = 2048
"""Unacknowledged entries per lane, as many as a receiver takes before it has committed any: enough for 20,000 messages
a second at a round trip of 100 ms. What is queued while the window is full is read from the store later."""
WINDOW_BYTES = 4 << 20
"""Unacknowledged inner bytes per lane."""
_BEFORE_ALL = -(1 << 62)
"""A row id before that of any entry: where history was imported, they may be negative."""


class OutgoingWindow:
    """What is unacknowledged on one lane in this session."""

    __slots__ = ("_bytes", "_flight", "cursor", "end")

    def __init__(self) -> None:
        self.cursor = _BEFORE_ALL
        """Row id of the last entry handed to the session; load after it."""
        self.end: tuple[bytes, int] | None = None
        """Outbox id and number of the last entry of the lane, if that was handed to the session; None if
        something may have to be loaded first."""
        self._flight: dict[int, int] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._flight)

    @property
    def room(self) -> int:
        """How many entries may be loaded now."""
        if self._bytes >= WINDOW_BYTES:
            return 0
        return max(0, WINDOW_ENTRIES - len(self._flight))

    def follows(self, outbox_id: bytes, seq: int) -> bool:
        """Return whether an entry that was queued just now can be handed over without loading."""
        return self.end == (outbox_id, seq - 1) and self.room > 0

    def sent(self, row_id: int, size_bytes: int) -> None:
        """Note that an entry was handed to the session."""
        self.cursor = row_id
        self._flight[row_id] = size_bytes
        self._bytes += size_bytes

    def settled(self, row_id: int) -> None:
        """Note that the peer has acknowledged an entry; one not in flight is ignored."""
        self._bytes -= self._flight.pop(row_id, 0)

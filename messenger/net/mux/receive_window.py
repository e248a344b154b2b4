"""The receiving side of a stream's flow control: what the peer may send, and by how much that grows.

A window grows to what is read in `WINDOW_ROUND_TRIPS`. A larger one would make nothing faster, and urgent data would
wait behind more. A bulk stream that is really used gets `BULK_WINDOW_BYTES` at once: with less, credit would be sent so
often that both ends do little else. Some peers look for new credit only now and then (py-libp2p every 10 ms once it has
none, which cost it a third of its time in an echo); for these, that interval counts as the round trip.

No I/O, no clock: times are arguments.
"""

from __future__ import annotations

from peerpost.net.interface import Priority

__all__ = ["INITIAL_WINDOW_BYTES", "ReceiveWindow"]

INITIAL_WINDOW_BYTES = 256 * 1024
"""What each side may send on a new stream; fixed by the specification."""
BULK_WINDOW_BYTES = 1024 * 1024
WINDOW_ROUND_TRIPS = 2
EPOCH_S = 0.01
"""Over a shorter time, how much was read depends more on the scheduler than on the stream."""
MAX_REACTION_S = 0.02
"""A peer that uses new credit later than this had nothing to send."""


class ReceiveWindow:
    """The window of one stream."""

    __slots__ = (
        "_dry_s",
        "_epoch_bytes",
        "_epoch_s",
        "_reaction_s",
        "_unannounced",
        "credit_bytes",
        "size_bytes",
    )

    def __init__(self, now_s: float) -> None:
        self.size_bytes = INITIAL_WINDOW_BYTES
        self.credit_bytes = INITIAL_WINDOW_BYTES
        """What the peer may still send."""
        self._unannounced = 0
        self._epoch_s = now_s
        self._epoch_bytes = 0
        self._dry_s: float | None = None  # when a peer that had used all its credit got more
        self._reaction_s = 0.0  # how long that lies unused, on average

    @property
    def grown_bytes(self) -> int:
        """By how much it is larger than it was."""
        return self.size_bytes - INITIAL_WINDOW_BYTES

    def use(self, size_bytes: int, now_s: float) -> None:
        """Note that a frame of the peer uses credit."""
        self.credit_bytes -= size_bytes
        if self._dry_s is not None:
            unused_s = min(now_s - self._dry_s, MAX_REACTION_S)
            self._reaction_s += (unused_s - self._reaction_s) / 4
            self._dry_s = None

    def read(self, size_bytes: int) -> bool:
        """Note what was read; return True once it is enough to announce new credit."""
        self._unannounced += size_bytes
        self._epoch_bytes += size_bytes
        return self._unannounced * 2 >= self.size_bytes

    def announce(
        self, priority: Priority, most_bytes: int, rtt_s: float | None, now_s: float
    ) -> int:
        """Return the credit to give now: what was read, and growth of at most `most_bytes`."""
        growth = max(0, min(most_bytes, self._wanted_growth(priority, rtt_s, now_s)))
        self.size_bytes += growth
        credit = self._unannounced + growth
        self._unannounced = 0
        if not self.credit_bytes:
            self._dry_s = now_s
        self.credit_bytes += credit
        return credit

    def _wanted_growth(self, priority: Priority, rtt_s: float | None, now_s: float) -> int:
        if priority is Priority.BULK and self.size_bytes < BULK_WINDOW_BYTES:
            return BULK_WINDOW_BYTES - self.size_bytes
        took_s = now_s - self._epoch_s
        round_s = max(rtt_s or 0.0, self._reaction_s)
        if rtt_s is None or took_s < max(2 * round_s, EPOCH_S):
            return 0
        needed = WINDOW_ROUND_TRIPS * round_s * self._epoch_bytes / took_s
        self._epoch_s, self._epoch_bytes = now_s, 0
        return self.size_bytes if needed > self.size_bytes else 0

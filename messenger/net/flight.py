"""How many bulk bytes may be under way, so that an urgent frame finds short queues on any link.

TCP fills whatever queue the narrowest place of a path has, seconds of it on a slow line, and what is urgent would
wait behind that. So bulk stops when it causes delay itself, in the manner of LEDBAT (RFC 6817) and Vegas: marks,
which are pings, go out among the data; an answered mark tells how much has arrived and how long it took. While that
is near the shortest time seen, twice as much may be under way after each round trip; once it exceeds it by more than
`TARGET_S`, what it takes to come back to half of that, and from then on a little more or less. A fast link never
gets near: what fills it in milliseconds is below any target.

Without I/O or clock: times are told.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

__all__ = ["Flight"]

TARGET_S: Final = 0.025
"""Delay that bulk may add to an idle line."""
LEAST_BYTES: Final = 32 << 10
"""Always allowed."""
FIRST_BYTES: Final = 128 << 10
MOST_BYTES: Final = 32 << 20
"""Beyond any window that a peer grants."""
MARKS_PER_FLIGHT: Final = 8
SPARSE_BYTES: Final = 512 << 10
"""Between two marks while less than half of what is allowed is under way."""
FREE_ROUNDS: Final = 3
"""Round trips without any delay, though full, after which the line is taken for a faster one."""
BASE_S: Final = 10.0
"""A shortest time is believed for this long, if a mark on an idle line says otherwise: routes change."""


class Flight:
    """The bulk bytes of one connection that have left and are not known to have arrived."""

    def __init__(self) -> None:
        self.limit_bytes = FIRST_BYTES
        """How much may be under way now."""
        self._sent = 0
        self._arrived = 0
        self._marked = 0
        self._marks: deque[tuple[int, int, float, bool]] = deque()
        self._bases: deque[tuple[float, float]] = deque()
        self._last_change = self._next_change = 0
        self._round_s = math.inf
        self._full = False
        self._free_rounds = FREE_ROUNDS

    @property
    def under_way_bytes(self) -> int:
        """Bytes that have left since the newest mark that was answered."""
        return self._sent - self._arrived

    @property
    def room_bytes(self) -> int:
        """Bytes that may leave now."""
        return max(0, self.limit_bytes - self.under_way_bytes)

    @property
    def wants_mark(self) -> bool:
        """Whether a mark should follow what has left.

        Some for every flight; few where much leaves and little is under way, for a fast line needs
        no care.
        """
        since = self._sent - self._marked
        if since * MARKS_PER_FLIGHT < self.limit_bytes:
            return since > 0 and not self.room_bytes
        return since >= SPARSE_BYTES or 2 * self.under_way_bytes >= self.limit_bytes

    def sent(self, size_bytes: int) -> None:
        """Note that bulk bytes left."""
        self._sent += size_bytes
        if self.room_bytes < LEAST_BYTES:
            self._full = True

    def mark(self, value: int, now_s: float) -> None:
        """Note that a mark leaves behind what has left so far."""
        self._marked = self._sent
        self._marks.append((value, self._sent, now_s, self.under_way_bytes <= LEAST_BYTES))

    def answered(self, value: int, now_s: float) -> None:
        """Note that a mark was answered; one that is not known is ignored."""
        if not any(mark[0] == value for mark in self._marks):
            return
        while True:
            marked, sent, left_s, idle = self._marks.popleft()
            if marked == value:
                break
        self._arrived = max(self._arrived, sent)
        took_s = now_s - left_s
        base_s = self._base(took_s, now_s, idle=idle)
        if sent <= self._last_change:
            return  # It left before the last change and tells nothing of it.
        # The least delay of a round is that of a queue which stands; bursts of our own make more.
        self._round_s = min(self._round_s, took_s)
        if self._arrived >= self._next_change or took_s - base_s > 4 * TARGET_S:
            self._adapt(self._round_s, base_s)
            self._round_s = math.inf

    def _adapt(self, took_s: float, base_s: float) -> None:
        """Change the limit, once for each round trip."""
        delay_s = took_s - base_s
        if delay_s > TARGET_S:
            # What was under way came in this time: so much less is there in the shorter one.
            shorter = self.limit_bytes * (base_s + TARGET_S / 2) / took_s
            self.limit_bytes = max(LEAST_BYTES, int(shorter))
            self._free_rounds = 0
        elif self._full:
            self._free_rounds = self._free_rounds + 1 if delay_s < TARGET_S / 3 else 0
            if self._free_rounds > FREE_ROUNDS:
                grown = 2.0 * self.limit_bytes
            else:
                step = (TARGET_S - delay_s) / (4 * (base_s + TARGET_S))
                grown = self.limit_bytes * (1 + step)
            self.limit_bytes = min(MOST_BYTES, int(grown))
        self._full = False
        # A round is all that is under way now, and as much again behind it.
        self._last_change, self._next_change = self._sent, self._sent + self.limit_bytes // 2

    def _base(self, took_s: float, now_s: float, *, idle: bool) -> float:
        """Return the shortest time that was seen lately.

        While our own bytes fill the line nothing shorter can be seen: then the old one stays, or
        what we cause ourselves would be taken for the way's.
        """
        bases = self._bases
        if idle or not bases or took_s < bases[0][1]:
            while bases and bases[-1][1] >= took_s:
                bases.pop()
            bases.append((now_s, took_s))
            while bases[0][0] < now_s - BASE_S and len(bases) > 1:
                bases.popleft()
        return bases[0][1]

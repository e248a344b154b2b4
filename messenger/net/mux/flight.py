"""How many bulk bytes may be under way, so that an urgent frame finds short queues on any link.

TCP fills whatever queue the narrowest place of a path has, seconds of it on a slow line, and what is urgent would
wait behind that. So bulk stops when it causes delay itself, in the manner of LEDBAT (RFC 6817) and Vegas: marks,
which are pings, go out among the data; an answered mark tells how much has arrived and how long it took. While that
is near the shortest time seen, twice as much may be under way after each round trip; once it exceeds it by more than
a target, what it takes to come back to half of that, and from then on a little more or less. A fast link never
gets near: what fills it in milliseconds is below any target. On a short line busy ends delay too, so there a delay is
ours only where all is under way that may be; where less is, no more may be from then on, so that the next one tells.

Where next to nothing is under way and the delay stays, it is not ours: the way has become longer, or others fill it.
Then bulk pauses until all has arrived, and one mark alone tells the new shortest time.

Without I/O or clock: times are told.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

__all__ = ["Flight"]

TARGET_S: Final = 0.025
FAST_TARGET_S: Final = 0.003
LEAST_TARGET_S: Final = 0.006
TARGET_PART: Final = 0.25
"""Delay that bulk may add to an idle line: its round trip and `LEAST_TARGET_S`, but no more than `TARGET_S`; and this
part of the round trip. On the shortest lines it is the two ends that are slow, and their turns take milliseconds: what
a limit holds back is not to be slower for them. Where much is under way (`UNREACHED_BYTES`) `FAST_TARGET_S` is enough.
"""
LEAST_BYTES: Final = 8 << 10
"""Always allowed, but for a pause."""
FIRST_BYTES: Final = 64 << 10
MOST_BYTES: Final = 32 << 20
"""Beyond any window that a peer grants."""
MARKS_PER_FLIGHT: Final = 8
SPARSE_BYTES: Final = 512 << 10
"""Between two marks while less than half of what is allowed is under way."""
FREE_ROUNDS: Final = 3
"""Round trips without any delay, though full, after which the line is taken for a faster one."""
GROWTH: Final = 2.0
SHORT_GROWTH: Final = 1.25
"""By how much it then is. Where round trips are short, and not little may be under way already, many small steps take
less time than what a guess too high costs.
"""
UNREACHED_BYTES: Final = 512 << 10
"""So much may always be under way on a short line that is not full: who sends little is not held back later."""
UNSENT_S: Final = 0.002
LEAST_UNSENT_BYTES: Final = 2 << 10
MOST_UNSENT_BYTES: Final = 257 << 10
"""What leaves at once, and may wait in the socket: so much time of the line, within these bounds. When TCP sends less
for a while (after a loss; bbr every ten seconds, to look how short the way is), what is urgent waits for all of it.
The most is a chunk and what is around it: all of it is one frame, sealed without being copied.
"""
NEAR_S: Final = 0.005
"""Shorter lines end in this machine or this building: what waits for them waits for a processor."""
PAUSE_EVERY_S: Final = 2.0
"""Longest that a delay which is not ours goes unnoticed; more pauses would cost more than they tell."""


class Flight:
    """The bulk bytes of one connection that have left and are not known to have arrived."""

    def __init__(self) -> None:
        self.limit_bytes = FIRST_BYTES
        """How much may be under way now."""
        self._sent = 0
        self._arrived = 0
        self._marked = 0
        self._marks: deque[tuple[int, int, float]] = deque()
        self._base_s = math.inf
        self._pausing = False
        self._paused_s = -math.inf
        self._last_change = self._next_change = 0
        self._round_s = math.inf
        self._full = False
        self._most = 0
        """Most that was under way since the last change."""
        self._free_rounds = FREE_ROUNDS

    @property
    def under_way_bytes(self) -> int:
        """Bytes that have left since the newest mark that was answered."""
        return self._sent - self._arrived

    @property
    def room_bytes(self) -> int:
        """Bytes that may leave now."""
        return 0 if self._pausing else max(0, self.limit_bytes - self.under_way_bytes)

    @property
    def piece_bytes(self) -> int:
        """Bytes that may leave at once."""
        return min(self.room_bytes, self.unsent_bytes)

    @property
    def unsent_bytes(self) -> int:
        """Bytes that may wait in the socket: the most, or a power of two."""
        part = min(1.0, UNSENT_S / max(self._base_s, 1e-6))
        most = min(MOST_UNSENT_BYTES, max(LEAST_UNSENT_BYTES, int(self.limit_bytes * part)))
        return most if most == MOST_UNSENT_BYTES else 1 << most.bit_length() - 1

    @property
    def wants_mark(self) -> bool:
        """Whether a mark should follow what has left.

        Some for every flight; few where much leaves and little is under way, for a fast line needs
        no care.
        """
        since = self._sent - self._marked
        if self._pausing or (since and math.isinf(self._base_s)):
            return not self._marks
        if since * MARKS_PER_FLIGHT < self.limit_bytes:
            return since > 0 and not self.room_bytes
        return since >= SPARSE_BYTES or 2 * self.under_way_bytes >= self.limit_bytes

    def sent(self, size_bytes: int) -> None:
        """Note that bulk bytes left."""
        self._sent += size_bytes
        self._most = max(self._most, self.under_way_bytes)
        if self.room_bytes < LEAST_BYTES:
            self._full = True

    def mark(self, value: int, now_s: float) -> None:
        """Note that a mark leaves behind what has left so far."""
        self._marked = self._sent
        self._marks.append((value, self._sent, now_s))

    def answered(self, value: int, now_s: float) -> None:
        """Note that a mark was answered; one that is not known is ignored."""
        if not any(mark[0] == value for mark in self._marks):
            return
        while True:
            marked, sent, left_s = self._marks.popleft()
            if marked == value:
                break
        alone = sent == self._arrived
        self._arrived = max(self._arrived, sent)
        took_s = now_s - left_s
        if self._pausing and alone:
            self._pausing, self._base_s = False, took_s
        self.pinged(took_s)
        if sent <= self._last_change:
            return  # It left before the last change and tells nothing of it.
        # The least delay of a round is that of a queue which stands; bursts of our own make more.
        self._round_s = min(self._round_s, took_s)
        if self._arrived >= self._next_change:
            self._adapt(self._round_s, now_s)
            self._round_s = math.inf

    @property
    def near(self) -> bool:
        """Whether the line is too short to ask what waits for it."""
        return self._base_s < NEAR_S

    @property
    def _short(self) -> bool:
        """Whether the line adds so little that busy ends delay as much."""
        return LEAST_TARGET_S + self._base_s < TARGET_S

    @property
    def _target_s(self) -> float:
        least_s = FAST_TARGET_S if self.limit_bytes > UNREACHED_BYTES else LEAST_TARGET_S
        return min(TARGET_S, least_s + self._base_s) + TARGET_PART * self._base_s

    def pinged(self, took_s: float) -> None:
        """Note a round trip, of a mark or of any other ping."""
        self._base_s = min(self._base_s, took_s)

    def _adapt(self, took_s: float, now_s: float) -> None:
        """Change the limit, once for each round trip."""
        base_s, target_s = self._base_s, self._target_s
        delay_s = took_s - base_s
        if delay_s > target_s and (self._full or not self._short):
            if self.limit_bytes == LEAST_BYTES and now_s - self._paused_s >= PAUSE_EVERY_S:
                self._pausing, self._paused_s = True, now_s
            # What was under way came in this time: so much less is there in the shorter one. But half stays, for
            # it may have been one of the ends that was busy.
            shorter = max(0.5, (base_s + target_s / 2) / took_s)
            self.limit_bytes = max(LEAST_BYTES, int(self.limit_bytes * shorter))
            self._free_rounds = 0
        elif delay_s > target_s:
            # A limit that nothing reaches bounds nothing: the next delay is told from the ends' own.
            self.limit_bytes = min(self.limit_bytes, max(UNREACHED_BYTES, self._most))
        elif self._full:
            self._free_rounds = self._free_rounds + 1 if delay_s < target_s / 3 else 0
            if self._free_rounds > FREE_ROUNDS:
                careful = self._short and self.limit_bytes >= UNREACHED_BYTES
                grown = (SHORT_GROWTH if careful else GROWTH) * self.limit_bytes
            else:
                step = (target_s - delay_s) / (4 * (base_s + target_s))
                grown = self.limit_bytes * (1 + step)
            self.limit_bytes = min(MOST_BYTES, int(grown))
        self._full, self._most = False, 0
        # A round is all that is under way now, and as much again behind it.
        self._last_change, self._next_change = self._sent, self._sent + self.limit_bytes // 2

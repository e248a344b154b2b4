"""How many bulk bytes may be in flight, so that an urgent frame finds short queues on any link.

TCP fills the queue at the bottleneck of a path, which holds seconds of traffic on a slow line, and an urgent frame
would wait behind all of it. So bulk is limited by the delay that it causes, as in LEDBAT (RFC 6817) and Vegas. Pings,
called marks, go out among the data; the answer to a mark tells how much has arrived, and the round trip it took.

- While the round trip is near the shortest one seen, the limit doubles with each round trip.
- When it exceeds the shortest one by more than a target, the limit shrinks to where half the target should be left;
  after that it changes in small steps. A fast link never gets there: its queue drains in less time than any target.
- On a short line, two busy ends cause delay too. There the delay counts as ours only if the limit was reached. If it
  was not, the limit comes down to what was in flight, so that the next delay can be attributed.
- If the delay stays although almost nothing is in flight, it is not ours: the path became longer, or others fill it.
  Then bulk pauses until everything has arrived, and a single mark measures the new shortest round trip.

No I/O, no clock: times are arguments.
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
"""The delay that bulk may add to an idle line with round trip `rtt`: min(`TARGET_S`, rtt + `LEAST_TARGET_S`) plus this
part of rtt. `LEAST_TARGET_S` is there because on the shortest lines the two ends cause milliseconds of delay
themselves, and that must not slow bulk down. Once the limit exceeds `UNREACHED_BYTES`, `FAST_TARGET_S` replaces it.
"""
LEAST_BYTES: Final = 8 << 10
"""The limit never falls below this, except for a pause."""
FIRST_BYTES: Final = 64 << 10
MOST_BYTES: Final = 32 << 20
"""More than any window that a peer grants."""
MARKS_PER_FLIGHT: Final = 8
SPARSE_BYTES: Final = 512 << 10
"""Bytes between two marks while less than half of the limit is in flight."""
FREE_ROUNDS: Final = 3
"""After so many round trips at the limit and without delay, the line must be faster than assumed: the limit grows
quickly again."""
GROWTH: Final = 2.0
SHORT_GROWTH: Final = 1.25
"""The factors by which it then grows. On a short line whose limit is already large, many small steps take less time
than recovering from a step that was too large.
"""
UNREACHED_BYTES: Final = 512 << 10
"""On a short line, a delay never brings the limit below this unless the limit was reached: a sender that sent little
for a while must not be held back later."""
UNSENT_S: Final = 0.002
LEAST_UNSENT_BYTES: Final = 2 << 10
MOST_UNSENT_BYTES: Final = 257 << 10
"""How much is sent at once, and may wait unsent in the socket: what the line carries in this time, within these bounds.
An urgent frame waits behind all of it whenever TCP sends less for a while (after a loss; with bbr every ten seconds,
when it measures the shortest round trip). The upper bound is one chunk with its envelope, which is one frame and is
sealed without being copied.
"""
NEAR_S: Final = 0.005
"""A line with a shorter round trip ends in this machine or building: there, bytes in the socket wait for a processor,
not for the line."""
PAUSE_EVERY_S: Final = 2.0
"""The shortest time between two pauses, and so the longest that a delay which is not ours goes unnoticed. More frequent
pauses would cost more than they tell."""


class Flight:
    """The bulk bytes of one connection that have left and are not known to have arrived."""

    def __init__(self) -> None:
        self.limit_bytes = FIRST_BYTES
        """How much may be in flight now."""
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
        """The most that was in flight since the limit last changed."""
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
        """Bytes that may wait in the socket: the upper bound, or a power of two below it."""
        part = min(1.0, UNSENT_S / max(self._base_s, 1e-6))
        most = min(MOST_UNSENT_BYTES, max(LEAST_UNSENT_BYTES, int(self.limit_bytes * part)))
        return most if most == MOST_UNSENT_BYTES else 1 << most.bit_length() - 1

    @property
    def wants_mark(self) -> bool:
        """Whether a mark should follow what has left.

        Usually `MARKS_PER_FLIGHT` for each flight; fewer while much is sent and little is in flight,
        because a fast line needs no care.
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
        """Note that a mark is sent now, after everything that was sent so far."""
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
            return  # It was sent before the limit last changed, so it tells nothing about the new limit.
        # The smallest delay of a round is that of the standing queue; our own bursts add to the others.
        self._round_s = min(self._round_s, took_s)
        if self._arrived >= self._next_change:
            self._adapt(self._round_s, now_s)
            self._round_s = math.inf

    @property
    def near(self) -> bool:
        """Whether the line is so short that it is not worth asking what waits in the kernel."""
        return self._base_s < NEAR_S

    @property
    def _short(self) -> bool:
        """Whether the line is so short that busy ends may cause as much delay as a queue."""
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
            # The bytes in flight took this time to arrive, so proportionally fewer take the shorter time that we
            # want. Never less than half: the delay may come from a busy end.
            shorter = max(0.5, (base_s + target_s / 2) / took_s)
            self.limit_bytes = max(LEAST_BYTES, int(self.limit_bytes * shorter))
            self._free_rounds = 0
        elif delay_s > target_s:
            # A limit that is not reached bounds nothing. Lowered to what was in flight, it does, and the next delay
            # shows whether it was ours.
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
        # The next change comes after what is in flight now has arrived, and half a limit more.
        self._last_change, self._next_change = self._sent, self._sent + self.limit_bytes // 2

"""Bulk bytes under way, against simulated links: full use, short queues, at any rate and distance."""

from __future__ import annotations

import heapq
import itertools

import pytest

from peerpost.net.mux.flight import (
    FIRST_BYTES,
    LEAST_BYTES,
    LEAST_TARGET_S,
    MOST_UNSENT_BYTES,
    TARGET_PART,
    TARGET_S,
    Flight,
)

FRAME = 16_384


class Line:
    """A path with a narrowest place in front of a queue without end, and a way back that costs only time."""

    def __init__(self, rate_bytes_s: float, rtt_s: float) -> None:
        self.rate = rate_bytes_s
        self.rtt_s = rtt_s
        self.now_s = 0.0
        self.free_s = 0.0
        self.delivered = 0
        self.waits: list[float] = []
        self.flight = Flight()
        self._answers: list[tuple[float, int, int]] = []
        self._numbers = itertools.count(1)

    def send(self, size: int) -> None:
        self.free_s = max(self.free_s, self.now_s) + size / self.rate
        self.delivered += size

    def run(self, seconds: float, *, greedy: bool = True) -> None:
        """Send as much as may be sent; note how long an urgent frame would wait in the queue."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            while greedy and (piece := min(FRAME, self.flight.piece_bytes)):
                self.flight.sent(piece)
                self.send(piece)
                if self.flight.wants_mark:
                    self._mark()
            if self.flight.wants_mark:
                self._mark()
            self.waits.append(max(0.0, self.free_s - self.now_s))
            if not self._answers:
                return
            self.now_s, value, _ = heapq.heappop(self._answers)
            self.flight.answered(value, self.now_s)

    def _mark(self) -> None:
        value = next(self._numbers)
        self.flight.mark(value, self.now_s)
        arrives_s = max(self.free_s, self.now_s) + self.rtt_s
        heapq.heappush(self._answers, (arrives_s, value, 0))


@pytest.mark.parametrize("rate", [125_000, 1_250_000, 12_500_000, 125_000_000])
@pytest.mark.parametrize("rtt_s", [0.0005, 0.01, 0.05, 0.2])
def test_the_line_is_used_and_its_queue_stays_short(rate: float, rtt_s: float) -> None:
    line = Line(rate, rtt_s)
    line.run(5.0)
    line.waits.clear()
    before, begun_s = line.delivered, line.now_s
    line.run(20.0)
    used = (line.delivered - before) / (rate * (line.now_s - begun_s))
    assert used >= 0.8
    # The least that is always allowed takes its time on a slow line.
    target_s = min(TARGET_S, LEAST_TARGET_S + rtt_s) + TARGET_PART * rtt_s
    allowed_s = max(2 * target_s, 2 * (LEAST_BYTES + FRAME) / rate)
    waits = sorted(line.waits)
    assert waits[int(len(waits) * 0.99) - 1] <= 1.1 * allowed_s


def test_a_fast_line_is_never_held_back() -> None:
    line = Line(1e9, 0.0002)
    line.run(1.0)
    assert line.flight.limit_bytes >= 1 << 20, "five times what it holds"


def test_who_sends_less_than_may_be_under_way_is_not_held_back_by_a_busy_peer() -> None:
    flight, now_s = Flight(), 0.0
    for value in range(200):
        flight.sent(8 << 10)
        flight.mark(value, now_s)
        now_s += 0.0005 if value < 20 else 0.05
        flight.answered(value, now_s)
    assert flight.limit_bytes >= FIRST_BYTES


def test_a_limit_that_nothing_reaches_does_not_let_a_queue_stand_on_a_short_line() -> None:
    flight, now_s, rate = Flight(), 0.0, 200e6
    flight.limit_bytes = 8 << 20
    flight.pinged(0.0003)
    for value in range(40):
        while flight.under_way_bytes < 2 << 20 and flight.room_bytes:
            flight.sent(256 << 10)
        flight.mark(value, now_s)
        now_s += 0.0003 + flight.under_way_bytes / rate
        flight.answered(value, now_s)
    assert 256 << 10 <= flight.limit_bytes <= 1 << 20, "some 3 ms of the line"


def test_a_short_line_that_busy_ends_held_back_is_soon_filled_again() -> None:
    line = Line(125_000_000, 0.0005)
    line.flight.pinged(0.0005)
    line.flight.limit_bytes = LEAST_BYTES
    line.run(0.01)
    assert line.flight.limit_bytes >= 256 << 10, "2 ms of the line"


def test_a_line_that_becomes_slow_is_noticed() -> None:
    line = Line(12_500_000, 0.02)
    line.run(5.0)
    line.rate = 1_250_000
    line.run(5.0)
    line.waits.clear()
    line.run(5.0)
    assert max(line.waits) <= 0.2


def test_a_longer_way_is_believed_soon() -> None:
    line = Line(12_500_000, 0.01)
    line.run(5.0)
    line.rtt_s = 0.1
    line.run(8.0)
    before, begun_s = line.delivered, line.now_s
    line.run(10.0)
    assert (line.delivered - before) / (line.rate * (line.now_s - begun_s)) >= 0.9


def test_a_queue_that_stands_from_the_first_mark_on_is_not_taken_for_the_way() -> None:
    line = Line(1_250_000, 0.05)
    line.flight.pinged(0.05)
    line.send(312_500)  # somebody else's: 250 ms
    line.run(5.0)
    line.waits.clear()
    line.run(5.0)
    assert max(line.waits) <= 0.1


def test_an_end_that_was_busy_once_does_not_throttle_the_line() -> None:
    line = Line(12_500_000, 0.02)
    line.run(5.0)
    before = line.flight.limit_bytes
    line.free_s += 0.3
    line.run(0.5)
    assert line.flight.limit_bytes >= before // 4
    line.run(1.5)
    assert line.flight.limit_bytes >= before // 2


def test_little_waits_in_the_socket_of_a_slow_line_and_enough_in_that_of_a_fast_one() -> None:
    slow, fast = Line(1_250_000, 0.05), Line(1e9, 0.001)
    for line in (slow, fast):
        line.run(3.0)
    assert slow.flight.unsent_bytes <= 4096
    assert fast.flight.unsent_bytes == MOST_UNSENT_BYTES


def test_without_need_the_limit_does_not_grow() -> None:
    flight = Flight()
    for number in range(100):
        flight.sent(1000)
        flight.mark(number, number * 0.1)
        flight.answered(number, number * 0.1 + 0.01)
    assert flight.limit_bytes == Flight().limit_bytes


def test_unknown_and_repeated_answers_change_nothing() -> None:
    flight = Flight()
    flight.sent(1000)
    flight.mark(7, 0.0)
    flight.answered(8, 0.1)
    assert flight.under_way_bytes == 1000
    flight.answered(7, 0.1)
    flight.answered(7, 0.2)
    assert flight.under_way_bytes == 0

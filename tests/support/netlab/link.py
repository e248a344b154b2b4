"""One direction of a link, without I/O or clock: a queue, a rate and a delay.

A packet waits in a first-in-first-out queue of bounded size (if it does not fit, it is dropped, as in a plain router),
leaves it at the rate, may be lost, and arrives after the delay.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass

__all__ = ["Counts", "Quality", "Way"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a direction does to packets."""

    delay_s: float = 0.0
    """From the queue's end to the other side."""
    jitter_s: float = 0.0
    """The delay is longer by a random time up to this; packets keep their order."""
    loss: float = 0.0
    """The part of the packets that is lost at random, after the queue."""
    reorder: float = 0.0
    """Part of the packets that takes `reorder_s` longer, so that others overtake them."""
    reorder_s: float = 0.005
    rate_bytes_s: float | None = None
    """IP bytes; None for as fast as it goes."""
    queue_bytes: int = 256 << 10
    """How much may wait in the queue."""
    cut: bool = False
    """Nothing comes through, and what is under way is lost."""


@dataclass(slots=True)
class Counts:
    """How many packets were delivered, lost or dropped so far."""

    arrived: int = 0
    arrived_bytes: int = 0
    lost: int = 0
    """By `loss` or `cut`."""
    dropped: int = 0
    """Because the queue was full."""
    queue_peak_bytes: int = 0


class Way:
    """Packets in, packets out when they are due."""

    def __init__(self, quality: Quality, seed: int = 1) -> None:
        self.counts = Counts()
        self._quality = quality
        self._random = random.Random(seed)
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._served_s = 0.0  # when the head of the queue has left
        self._flying: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._latest_s = 0.0  # arrival of the last packet that kept the order

    def change(self, quality: Quality, now_s: float) -> None:
        """Change the link's properties from now on; what is in the queue leaves it at the new rate."""
        self._serve(now_s)
        self._quality = quality
        if quality.cut:
            self.counts.lost += len(self._queue) + len(self._flying)
            self._queue.clear()
            self._flying.clear()
            self._queue_bytes = 0
        elif quality.rate_bytes_s is None:
            while self._queue:
                self._leave(self._queue.popleft(), now_s)
            self._queue_bytes = 0
        elif self._queue:
            self._served_s = now_s + len(self._queue[0]) / quality.rate_bytes_s

    def offer(self, packet: bytes, now_s: float) -> None:
        """Take a packet."""
        quality = self._quality
        if quality.cut:
            self.counts.lost += 1
            return
        if quality.rate_bytes_s is None:
            self._leave(packet, now_s)
            return
        self._serve(now_s)
        if self._queue_bytes + len(packet) > quality.queue_bytes:
            self.counts.dropped += 1
            return
        if not self._queue:
            self._served_s = now_s + len(packet) / quality.rate_bytes_s
        self._queue.append(packet)
        self._queue_bytes += len(packet)
        self.counts.queue_peak_bytes = max(self.counts.queue_peak_bytes, self._queue_bytes)

    def take(self, now_s: float) -> list[bytes]:
        """Return what has arrived by now."""
        self._serve(now_s)
        arrived: list[bytes] = []
        while self._flying and self._flying[0][0] <= now_s:
            arrived.append(heapq.heappop(self._flying)[2])
        self.counts.arrived += len(arrived)
        self.counts.arrived_bytes += sum(map(len, arrived))
        return arrived

    @property
    def due_s(self) -> float | None:
        """When to call `take` again; None while nothing is under way."""
        if self._flying and (not self._queue or self._flying[0][0] <= self._served_s):
            return self._flying[0][0]
        return self._served_s if self._queue else None

    def _serve(self, now_s: float) -> None:
        while self._queue and self._served_s <= now_s:
            packet = self._queue.popleft()
            self._queue_bytes -= len(packet)
            self._leave(packet, self._served_s)
            if self._queue and self._quality.rate_bytes_s is not None:
                self._served_s += len(self._queue[0]) / self._quality.rate_bytes_s

    def _leave(self, packet: bytes, left_s: float) -> None:
        quality, draw = self._quality, self._random.random
        if quality.loss and draw() < quality.loss:
            self.counts.lost += 1
            return
        arrives_s = left_s + quality.delay_s
        if quality.jitter_s:
            arrives_s += quality.jitter_s * draw()
        if quality.reorder and draw() < quality.reorder:
            arrives_s += quality.reorder_s
        else:
            arrives_s = self._latest_s = max(arrives_s, self._latest_s)
        self._number += 1
        heapq.heappush(self._flying, (arrives_s, self._number, packet))

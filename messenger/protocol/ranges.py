"""A set of chunk numbers, kept as runs.

A terabyte that arrives in order is one run, not four million numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["RangeSet"]


class RangeSet:
    """Numbers from 0, held as ascending half-open runs that neither touch nor overlap."""

    __slots__ = ("_size", "_starts", "_stops")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        """Start with `runs`, each (first, stop)."""
        self._starts: list[int] = []
        self._stops: list[int] = []
        self._size = 0
        for first, stop in runs:
            self.add(first, stop)

    @classmethod
    def from_bitmap(cls, bitmap: bytes) -> RangeSet:
        """Return the numbers whose bit is set.

        Bit i (least significant first) of byte j is number 8 j + i.
        """
        ranges = cls()
        at = 0
        while at < len(bitmap):
            byte = bitmap[at]
            if byte == 0xFF:
                # The bitmap of a long file is mostly bytes with all bits set: find the end of such a run in one step.
                rest = len(bitmap) - at
                full = rest - len(bitmap[at:].lstrip(b"\xff"))
                ranges.add(8 * at, 8 * (at + full))
                at += full
                continue
            for bit in range(8):
                if byte >> bit & 1:
                    ranges.add(8 * at + bit, 8 * at + bit + 1)
            at += 1
        return ranges

    def to_bitmap(self, count: int) -> bytes:
        """Return `count` bits, in bytes, in the order of `from_bitmap`."""
        bitmap = bytearray((count + 7) // 8)
        for first, stop in self.runs():
            stop = min(stop, count)
            while first < stop and first % 8:
                bitmap[first // 8] |= 1 << first % 8
                first += 1
            while stop > first and stop % 8:
                stop -= 1
                bitmap[stop // 8] |= 1 << stop % 8
            if first < stop:
                bitmap[first // 8 : stop // 8] = b"\xff" * ((stop - first) // 8)
        return bytes(bitmap)

    def __len__(self) -> int:
        """Return how many numbers are in the set."""
        return self._size

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._stops[at]

    def __repr__(self) -> str:
        return f"RangeSet({list(self.runs())})"

    @property
    def fragments(self) -> int:
        """How many runs there are, which is what the set costs in memory."""
        return len(self._starts)

    @property
    def stop(self) -> int:
        """One more than the largest number; 0 for the empty set."""
        return self._stops[-1] if self._stops else 0

    def runs(self) -> Iterator[tuple[int, int]]:
        """Yield (first, stop) of each run, ascending."""
        return zip(tuple(self._starts), tuple(self._stops), strict=True)

    def add(self, first: int, stop: int) -> None:
        """Put in the numbers from `first` up to, not including, `stop`."""
        if first >= stop:
            return
        low = bisect_left(self._stops, first)
        high = bisect_right(self._starts, stop)
        if low < high:
            first = min(first, self._starts[low])
            stop = max(stop, self._stops[high - 1])
            self._size -= sum(
                b - a for a, b in zip(self._starts[low:high], self._stops[low:high], strict=True)
            )
        self._starts[low:high] = [first]
        self._stops[low:high] = [stop]
        self._size += stop - first

    def remove(self, first: int, stop: int) -> None:
        """Take out the numbers from `first` up to, not including, `stop`."""
        if first >= stop:
            return
        low = bisect_right(self._stops, first)
        high = bisect_left(self._starts, stop)
        if low >= high:
            return
        self._size -= sum(
            b - a for a, b in zip(self._starts[low:high], self._stops[low:high], strict=True)
        )
        kept = [
            (a, b) for a, b in ((self._starts[low], first), (stop, self._stops[high - 1])) if a < b
        ]
        self._starts[low:high] = [a for a, _ in kept]
        self._stops[low:high] = [b for _, b in kept]
        self._size += sum(b - a for a, b in kept)

    def pop_run(self, limit: int, below: int | None = None) -> tuple[int, int] | None:
        """Take out the lowest run and return its (first, count), or None.

        At most `limit` numbers, all under `below`.
        """
        if not self._starts or limit <= 0:
            return None
        first = self._starts[0]
        stop = min(self._stops[0], first + limit)
        if below is not None:
            stop = min(stop, below)
        if stop <= first:
            return None
        self.remove(first, stop)
        return first, stop - first

    def clear(self) -> None:
        """Take out everything."""
        self._starts.clear()
        self._stops.clear()
        self._size = 0

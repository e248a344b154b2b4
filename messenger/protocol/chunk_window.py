"""How many chunks a receiver asks for ahead: enough to keep the link full, no more.

Chunks that were asked for and are not yet written take memory, and are sent again after a crash. So
the window follows the measured rate: a quarter of a second of it, or two answer times on a long link,
between 1 MiB (a slow link must not be idle while one chunk is asked for) and 8 MiB.
"""

from __future__ import annotations

from typing import Final

from peerpost.wire.limits import MAX_WINDOW_BYTES

__all__ = ["MAX_WINDOW_BYTES", "MIN_WINDOW_BYTES", "ChunkWindow"]

MIN_WINDOW_BYTES: Final = 1 << 20
"""Four chunks of the usual size: less than the 2 MB that a killed transfer may send again."""
_MIN_CHUNKS: Final = 2
"""One is written while the next one arrives."""
_TARGET_S: Final = 0.25
"""How many seconds of the measured rate are asked for ahead: covers a round trip and a slow disk write."""
_SAMPLE_S: Final = 0.1
"""The shortest time over which a rate is measured: over less, a single burst decides it."""
_SLOW_DECAY: Final = 0.75
"""Weight of the past when the rate falls; when it rises the window follows at once."""


class ChunkWindow:
    """The number of chunks that may be outstanding."""

    __slots__ = ("_answer_s", "_bytes", "_chunk_bytes", "_rate", "_since_s", "largest", "size")

    def __init__(self, chunk_bytes: int, max_bytes: int = MAX_WINDOW_BYTES) -> None:
        self._chunk_bytes = chunk_bytes
        self.largest = max(_MIN_CHUNKS, max_bytes // chunk_bytes)
        """In chunks: never exceeded."""
        self.size = 0
        """In chunks, now."""
        self.reset()

    @property
    def smallest(self) -> int:
        """In chunks: where it begins, and what a slow link keeps."""
        return min(self.largest, max(_MIN_CHUNKS, MIN_WINDOW_BYTES // self._chunk_bytes))

    @property
    def answer_s(self) -> float | None:
        """Shortest time from a request to the first byte of its answer, once there is one."""
        return self._answer_s

    def reset(self) -> None:
        """Start over: the next session may run over another link."""
        self._rate = 0.0
        self._bytes = 0
        self._since_s: float | None = None
        self._answer_s: float | None = None
        self.size = self.smallest

    def answered(self, waited_s: float) -> None:
        """Note the time between asking for a chunk and its first byte."""
        if self._answer_s is None or waited_s < self._answer_s:
            self._answer_s = waited_s

    def arrived(self, size_bytes: int, now_s: float) -> None:
        """Note that a whole chunk has come."""
        if self._since_s is None:
            self._since_s = now_s
            return
        self._bytes += size_bytes
        passed_s = now_s - self._since_s
        if passed_s < _SAMPLE_S:
            return
        rate = self._bytes / passed_s
        self._rate = max(rate, _SLOW_DECAY * self._rate + (1 - _SLOW_DECAY) * rate)
        self._since_s, self._bytes = now_s, 0
        target_s = max(_TARGET_S, 2 * (self._answer_s or 0.0))
        wanted = -int(-self._rate * target_s // self._chunk_bytes)
        self.size = min(self.largest, max(self.smallest, wanted))

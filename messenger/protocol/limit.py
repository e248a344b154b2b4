"""A rate limit in one direction: bytes and messages per second, for one contact, within the limit for everybody.

Times are arguments, as for `fastpath.TokenBucket`, which does the counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from peerpost.fastpath import TokenBucket

__all__ = ["BURST_S_DIVISOR", "Limit", "Rate"]

BURST_S_DIVISOR: Final = 8
"""Unless a burst is set, a limit lets through at once what it allows in an eighth of a second."""
_LEAST_BURST_BYTES: Final = 1 << 17
"""Twice the largest frame: a frame larger than the bucket could never be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a limit says; None is no limit."""

    bytes_s: int | None = None
    messages_s: int | None = None
    burst_bytes: int | None = None


class Limit:
    """The buckets of one direction of one contact, or of all (`parent`)."""

    def __init__(self, rate: Rate, now_ns: int, parent: Limit | None = None) -> None:
        self._parent = parent
        self._bytes: TokenBucket | None = None
        self._messages: TokenBucket | None = None
        self._owed_bytes = self._owed_messages = 0
        """What has passed without taking tokens. The next tokens go to this debt before anything else may pass."""
        self.taken_bytes = 0
        """Everything that has passed, limited or not."""
        self.rate = rate
        self.change(rate, now_ns)

    def change(self, rate: Rate, now_ns: int) -> None:
        """Put another rate in force from now on."""
        self.rate = rate
        self._bytes = self._changed(self._bytes, rate.bytes_s, _burst(rate), now_ns)
        per_s = rate.messages_s
        burst = max(1, (per_s or 0) // BURST_S_DIVISOR)
        self._messages = self._changed(self._messages, per_s, burst, now_ns)
        if self._bytes is None:
            self._owed_bytes = 0
        if self._messages is None:
            self._owed_messages = 0

    @staticmethod
    def _changed(
        bucket: TokenBucket | None, per_s: int | None, burst: int, now_ns: int
    ) -> TokenBucket | None:
        if per_s is None:
            return None
        if bucket is None:
            return TokenBucket(per_s, burst, now_ns)
        bucket.set_rate(per_s, burst, now_ns)
        return bucket

    @property
    def limited(self) -> bool:
        """Whether anything is limited, here or above."""
        above = self._parent is not None and self._parent.limited
        return above or self._bytes is not None or self._messages is not None

    def take(self, size_bytes: int, messages: int, now_ns: int) -> int:
        """Take a frame's tokens and return 0, or take none and return nanoseconds to wait."""
        if due := self.repay(now_ns):
            return max(b.wait_time(min(n, b.burst), now_ns) for b, n in due)
        wanted = self.wanted(size_bytes, messages)
        if not wanted:
            self.taken_bytes += size_bytes
            return 0
        wait_ns = max((b.wait_time(min(n, b.burst), now_ns) for b, n in wanted), default=0)
        if wait_ns:
            return wait_ns
        for bucket, count in wanted:
            bucket.take(min(count, bucket.burst), now_ns)
        self.taken_bytes += size_bytes
        return 0

    def owe(self, size_bytes: int, messages: int) -> None:
        """Note, here and in the parent, what has passed because it could not wait: what comes next pays for it."""
        self.taken_bytes += size_bytes
        if self._bytes is not None:
            self._owed_bytes += size_bytes
        if self._messages is not None:
            self._owed_messages += messages
        if self._parent is not None:
            self._parent.owe(size_bytes, messages)

    def repay(self, now_ns: int) -> list[tuple[TokenBucket, int]]:
        """Pay the debt with the tokens there are; return what is still owed, to the parent's buckets too."""
        due = [] if self._parent is None else self._parent.repay(now_ns)
        if self._owed_bytes and self._bytes is not None:
            self._owed_bytes -= _drain(self._bytes, self._owed_bytes, now_ns)
            due += [(self._bytes, self._owed_bytes)] if self._owed_bytes else []
        if self._owed_messages and self._messages is not None:
            self._owed_messages -= _drain(self._messages, self._owed_messages, now_ns)
            due += [(self._messages, self._owed_messages)] if self._owed_messages else []
        return due

    def is_common(self, size_bytes: int, messages: int, now_ns: int) -> bool:
        """Return whether only everybody's byte limit is short: then all wait for it, in their order."""
        parent = self._parent
        return parent is not None and not any(
            bucket.wait_time(min(count, bucket.burst), now_ns)
            for bucket, count in self.wanted(size_bytes, messages)
            if bucket is not parent._bytes  # noqa: SLF001 - of its own class
        )

    def wanted(self, size_bytes: int, messages: int) -> list[tuple[TokenBucket, int]]:
        """Return each bucket that applies, the parent's too, with the tokens that it must give."""
        parent = self._parent
        wanted = [] if parent is None else parent.wanted(size_bytes, messages)
        if self._bytes is not None and size_bytes:
            wanted.append((self._bytes, size_bytes))
        if self._messages is not None and messages:
            wanted.append((self._messages, messages))
        return wanted


def _drain(bucket: TokenBucket, most: int, now_ns: int) -> int:
    """Take up to `most` tokens, as many as the bucket has; return how many."""
    paid = min(most, bucket.level(now_ns))
    bucket.take(paid, now_ns)
    return paid


def _burst(rate: Rate) -> int:
    if rate.burst_bytes is not None:
        return max(rate.burst_bytes, _LEAST_BURST_BYTES)
    return max((rate.bytes_s or 0) // BURST_S_DIVISOR, _LEAST_BURST_BYTES)

"""The pure twin of the token bucket, which counts with integers of any length."""

# ruff: noqa: SLF001 - a bucket asks its parents

from __future__ import annotations

from operator import index

__all__ = ["TokenBucket"]

_MAX_COUNT = 2**63 - 1
_SECOND_NS = 1_000_000_000


class TokenBucket:
    """A rate limit: `burst` tokens at once, `per_s` a second in the long run; it starts full.

    A token is a byte, or whatever is counted. Everything is exact: whole tokens are taken, and the
    level is kept in billionths of a token, so that nothing drifts however often it is asked. Times
    are nanoseconds of any clock, given by the caller; if the clock stands still or goes back, no
    tokens are added. With a parent (the global bucket of a contact's one), tokens are taken from
    both or from neither. Rates, bursts and sizes are below 2^63, times within 2^63 of zero.
    """

    __slots__ = ("_at_ns", "_burst", "_level", "_parent", "_per_s")

    FOREVER_NS = _MAX_COUNT
    """What `wait_time` returns for never, and for anything later than that."""

    def __init__(
        self, per_s: int, burst: int, now_ns: int, parent: TokenBucket | None = None
    ) -> None:
        """Make a full bucket."""
        self._per_s = _count(per_s)
        self._burst = _count(burst)
        self._at_ns = _time(now_ns)
        if parent is not None and not isinstance(parent, TokenBucket):
            raise TypeError("the parent must be a TokenBucket")
        self._parent = parent
        self._level = self._burst * _SECOND_NS  # in billionths

    @property
    def per_s(self) -> int:
        """Tokens that come in each second."""
        return self._per_s

    @property
    def burst(self) -> int:
        """Tokens that it holds when it is full."""
        return self._burst

    def level(self, now_ns: int) -> int:
        """Return how many whole tokens it holds, not considering its parent."""
        self._settle(_time(now_ns))
        return self._level // _SECOND_NS

    def take(self, size: int, now_ns: int) -> bool:
        """Take size tokens if it and its parents hold them; return whether they did.

        Raises ValueError if one of them never holds as many.
        """
        size, now_ns = _count(size), _time(now_ns)
        chain = self._asked(size, now_ns)
        if any(bucket._level < size * _SECOND_NS for bucket in chain):
            return False
        for bucket in chain:
            bucket._level -= size * _SECOND_NS
        return True

    def wait_time(self, size: int, now_ns: int) -> int:
        """Return after exactly how many nanoseconds `take` would succeed, if nobody takes tokens before.

        Raises ValueError if it or one of its parents never holds as many.
        """
        size, now_ns = _count(size), _time(now_ns)
        chain = self._asked(size, now_ns)
        return max(bucket._wait(size * _SECOND_NS, now_ns) for bucket in chain)

    def set_rate(self, per_s: int, burst: int, now_ns: int) -> None:
        """Change the rate and the burst from now on; what it holds beyond the burst is lost."""
        per_s, burst = _count(per_s), _count(burst)
        self._settle(_time(now_ns))
        self._per_s, self._burst = per_s, burst
        self._level = min(self._level, burst * _SECOND_NS)

    def _settle(self, now_ns: int) -> None:
        passed = max(0, now_ns - self._at_ns)
        self._at_ns += passed
        self._level = min(self._burst * _SECOND_NS, self._level + passed * self._per_s)

    def _asked(self, size: int, now_ns: int) -> list[TokenBucket]:
        """Return it and its parents, after bringing each up to date and checking that it is large enough."""
        chain: list[TokenBucket] = []
        bucket: TokenBucket | None = self
        while bucket is not None:
            if size > bucket._burst:
                raise ValueError("more than the burst: it never holds as many")
            chain.append(bucket)
            bucket = bucket._parent
        for bucket in chain:
            bucket._settle(now_ns)
        return chain

    def _wait(self, needed: int, now_ns: int) -> int:
        if self._level >= needed:
            return 0
        if not self._per_s:
            return self.FOREVER_NS
        wait_ns = -((self._level - needed) // self._per_s)
        return min(self.FOREVER_NS, wait_ns + self._at_ns - now_ns)


def _count(value: int) -> int:
    if not 0 <= (value := index(value)) <= _MAX_COUNT:
        raise ValueError("a rate, a burst and a size must be in 0..2^63-1")
    return value


def _time(now_ns: int) -> int:
    if not -_MAX_COUNT - 1 <= (now_ns := index(now_ns)) <= _MAX_COUNT:
        raise ValueError("a time must fit in 64 bits")
    return now_ns

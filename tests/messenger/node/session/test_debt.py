"""What a broken connection has brought counts: the limit downward holds however often it breaks."""

from __future__ import annotations

import asyncio

import pytest

from peerpost.node.session.rates import RateLimits, Traffic
from peerpost.protocol.limit import Limit, Rate
from peerpost.store.tables.limits import RateLimit
from peerpost.wire.inner import Lane

S = 1_000_000_000
BURST = 1 << 17


def test_what_is_owed_is_paid_before_anything_passes() -> None:
    everybody = Limit(Rate(), 0)
    limit = Limit(Rate(bytes_s=BURST), 0, everybody)
    limit.owe(3 * BURST, 0)
    # One burst is there at once, the next two take a second each, and what comes then its own.
    now, waited = 0, 0
    while wait := limit.take(BURST, 0, now):
        now, waited = now + wait, waited + wait
    assert waited == 3 * S
    assert limit.taken_bytes == 4 * BURST
    assert not limit.take(0, 0, now)


def test_what_is_owed_is_owed_to_everybodys_limit_too() -> None:
    everybody = Limit(Rate(bytes_s=BURST, messages_s=8), 0)
    one, other = Limit(Rate(), 0, everybody), Limit(Rate(), 0, everybody)
    one.owe(2 * BURST, 0)
    assert other.take(1, 0, 0) > S // 2
    assert other.is_common(1, 0, 0)
    one.owe(0, 9)
    one.owe(0, 2)
    # Eight a second: of eleven one was there, and the twelfth is this one.
    assert other.take(1, 1, 60 * S) > S // 10


def test_nothing_is_owed_where_nothing_is_limited() -> None:
    limit = Limit(Rate(), 0)
    limit.owe(1 << 40, 1000)
    limit.change(Rate(bytes_s=BURST), 0)
    assert not limit.take(BURST, 1, 0)
    limit.owe(1 << 40, 0)
    limit.change(Rate(), 0)
    assert not limit.take(BURST, 1, 0)


def _traffic(limits: RateLimits) -> Traffic:
    return limits.traffic("contact")


@pytest.mark.parametrize("stage", ["unread", "between", "pacing"])
def test_sessions_that_break_do_not_exceed_the_limit(stage: str) -> None:
    """Each session brings a window's worth and breaks before it is paid."""

    async def main() -> None:
        limits = RateLimits()
        limits.change(RateLimit(contact_id="contact", down_bytes_s=BURST * 8, burst_bytes=BURST))
        for _ in range(4):
            traffic = _traffic(limits)
            if stage == "unread":
                traffic.end(2 * BURST)
                continue
            traffic.came(Lane.BULK, 2 * BURST, 2)
            if stage == "pacing":
                # The first half, no larger than the burst, may have its turn at once.
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await traffic.pace(Lane.BULK, 2 * BURST, 2)
            traffic.end(0)
        began_s = asyncio.get_running_loop().time()
        traffic = _traffic(limits)
        traffic.came(Lane.URGENT, 1000, 1)
        await traffic.pace(Lane.URGENT, 1000, 1)
        traffic.end(0)
        assert (
            asyncio.get_running_loop().time() - began_s > 0.8
        )  # 8 bursts, of which one was there.
        assert limits.passed_bytes("contact")[1] == 8 * BURST + 1000

    asyncio.run(main())

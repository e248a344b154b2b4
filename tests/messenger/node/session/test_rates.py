"""The limits of a node, by the time of day."""

from __future__ import annotations

import asyncio
import logging

import pytest

from peerpost.client import schedule
from peerpost.node.session.rates import RateLimits
from peerpost.store.tables.limits import RateLimit
from tests.support.virtual_time import on_virtual_time, running


@on_virtual_time
async def test_everybodys_limits_follow_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    """It is 08:00 when it begins."""
    caplog.set_level(logging.INFO)
    held = RateLimits(running().clock)
    held.load([RateLimit(up_bytes_s=7, burst_bytes=9)])
    windows = [schedule.parse("09:00-18:00 up=1MB/s"), schedule.parse("00:00-24:00 down=2MB/s")]
    async with asyncio.TaskGroup() as group:
        following = group.create_task(held.follow(windows))
        await asyncio.sleep(3599)
        assert held.everybody == RateLimit(up_bytes_s=7, down_bytes_s=2_000_000, burst_bytes=9)
        await asyncio.sleep(3)
        assert held.everybody == RateLimit(up_bytes_s=1_000_000, burst_bytes=9)
        # What is set meanwhile holds where the schedule says nothing, and afterwards.
        held.change(RateLimit(up_bytes_s=5, down_bytes_s=6))
        assert held.everybody == RateLimit(up_bytes_s=1_000_000, down_bytes_s=6)
        assert held.traffic("x").up._parent.rate.bytes_s == 1_000_000  # type: ignore[union-attr]
        await asyncio.sleep(9 * 3600)
        assert held.everybody == RateLimit(up_bytes_s=5, down_bytes_s=2_000_000)
        following.cancel()
    # Each change is told once.
    assert [record.message for record in caplog.records] == [
        "limits: 00:00-24:00 down=2MB/s",
        "limits: 09:00-18:00 up=1MB/s",
        "limits: 00:00-24:00 down=2MB/s",
    ]

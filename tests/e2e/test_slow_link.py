"""Ten megabits, fifty milliseconds, and a file that fills them: texts come through. `bench link` is the long form."""

from __future__ import annotations

import asyncio
import statistics
from pathlib import Path

import pytest

from tests.support.netlab import Lab, Quality, missing
from tests.support.nodes import content
from tests.support.saturated import FIFO, LANES, file_bytes, residents, texts

pytestmark = [pytest.mark.asyncio, pytest.mark.skipif(bool(missing()), reason=missing())]

RATE_BYTES_S = 1_250_000
LINE = Quality(rate_bytes_s=RATE_BYTES_S, delay_s=0.025, queue_bytes=RATE_BYTES_S // 4)
GOAL_S = 0.25
TEXTS, INTERVAL_S = 60, 0.05
TRIES = 3
"""The machine may be busy otherwise; it is not the link's fault then, nor ours."""
MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


async def test_text_is_not_stuck_behind_a_file() -> None:
    with Lab(LINE) as lab:
        async with residents(lab, LANES, MEMORY) as (alice, bob):
            await alice.queue_file("bob", "big.bin", content(20_000_000))
            await asyncio.sleep(1.5)
            before, p99_s = await file_bytes(bob), []
            while len(p99_s) < TRIES and min(p99_s, default=1.0) > GOAL_S:
                took = sorted(await texts(alice, TEXTS, INTERVAL_S))
                p99_s.append(took[int(TEXTS * 0.99) - 1])
            moved = await file_bytes(bob) - before
            assert min(p99_s) <= GOAL_S, p99_s
            # And the file was there all the time: the line was full.
            assert moved >= 0.6 * RATE_BYTES_S * TEXTS * INTERVAL_S * len(p99_s)


async def test_it_is_without_lanes() -> None:
    with Lab(LINE) as lab:
        async with residents(lab, FIFO, MEMORY) as (alice, _):
            await alice.queue_file("bob", "big.bin", content(10_000_000))
            await asyncio.sleep(1.5)
            took = await texts(alice, TEXTS // 3, INTERVAL_S)
            assert statistics.median(took) > GOAL_S, took

"""Limits on real nodes: the benchmark in a short form, and what `limits test` tells."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.nodes import Friend

BENCH = Path(__file__).parents[2] / "bench" / "bench_limits.py"
OFF = 0.1
"""Of a window of a second on a machine that does other things; ten seconds are held to a half of it."""


@pytest.mark.parametrize("rate", [4_000_000])
def test_limits_are_held(folder: Path, rate: int) -> None:
    out = folder / "out"
    command = [sys.executable, str(BENCH), "--contacts=2", "--seconds=1.2", f"--json={out}"]
    done = subprocess.run(
        [*command, f"--rates={rate}", f"--folder={folder}"],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    rows, idle_ms = result["rows"], statistics.median(result["idle_text_ms"])
    assert [row["direction"] for row in rows] == ["up", "down"]
    for row in rows:
        assert abs(row["all"]) < OFF, row
        assert abs(row["one"]) < OFF, row
        assert abs(row["halved"]) < OFF, row
        # Half a megabyte of a file waits on the sender's lane: behind it a text took 125 ms more.
        assert statistics.median(row["text_ms"]) < 3 * idle_ms + 60, row


@pytest.mark.asyncio
async def test_what_a_contact_gets_is_measured(pair: tuple[Friend, Friend]) -> None:
    alice, bob = pair
    await alice.cli("limits", "set", "--up", "5MB/s")
    await alice.cli("limits", "set", "--contact", "bob", "--up", "2MB/s")
    row = (await alice.cli("limits", "test", "--contact", "bob", "--seconds", "1")).row
    assert set(row) == {"contact", "seconds", "sent_bytes", "measured_bytes_s", "limit_bytes_s"}
    assert row["limit_bytes_s"] == 2_000_000
    assert abs(row["measured_bytes_s"] / 2_000_000 - 1) < OFF
    told = (await alice.cli("limits", "test", "--contact", "bob", "--size", "10MB")).row
    assert (told["up_s"], told["down_s"]) == (5.0, None)
    (shown,) = (await alice.cli("limits", "show", "--contact", "bob")).rows
    assert shown["up_bytes"] > row["sent_bytes"]
    assert shown["schedule"] is None
    assert await bob.ask("inbox.list", {}) == []
    await bob.stop()
    gone = await alice.cli("limits", "test", "--contact", "bob", code=69)
    assert "bob is not online" in gone.error["message"]
    bad = await alice.cli("limits", "test", code=2)
    assert "--size" in bad.error["message"]


@pytest.mark.asyncio
@pytest.mark.parametrize("rate", ["20kB/s", "1kB/s"])
async def test_a_slow_limit_is_measured_in_the_time_that_was_given(
    pair: tuple[Friend, Friend], rate: str
) -> None:
    alice, _ = pair
    await alice.cli("limits", "set", "--up", rate)
    row = (await alice.cli("limits", "test", "--contact", "bob", "--seconds", "2")).row
    # A little more: the last segment is waited for.
    assert row["seconds"] < 6


@pytest.mark.asyncio
@pytest.mark.parametrize("limited", ["sender", "receiver"])
async def test_messages_a_second(pair: tuple[Friend, Friend], limited: str) -> None:
    alice, bob = pair
    who, contact = (alice, "bob") if limited == "sender" else (bob, "alice")
    await who.cli("limits", "set", "--contact", contact, "--messages", "100/s")
    begun_s = time.monotonic()
    texts = [{"contact": "bob", "text": str(number)} for number in range(300)]
    sent = await asyncio.gather(*(alice.ask("send-net", text) for text in texts))
    for entry in sent:
        await alice.delivered(entry["id"])
    # An eighth of a second's worth goes at once; a receiver has read what it lets in before it waits.
    at_once = 12 if limited == "sender" else 12 + 64
    assert time.monotonic() - begun_s > (300 - at_once) / 100 - 0.05
    assert sorted(await bob.texts(), key=int) == [text["text"] for text in texts]

"""A file that fills a lab's link, and texts beside it: for the benchmark and for its short form among the tests."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from bench.pair import Client
from tests.support.netlab import Lab
from tests.support.nodes import leave_nothing, meet
from tests.support.resident import Resident

__all__ = ["FIFO", "LANES", "TEXT", "file_bytes", "residents", "texts"]

LANES, FIFO = "peerpost.node", "tests.support.fifo_node"
"""What kind of node: the shipped one, and one without lanes."""
TEXT = "x" * 200


@contextlib.asynccontextmanager
async def residents(
    lab: Lab, module: str, place: Path | None = None
) -> AsyncIterator[tuple[Resident, Resident]]:
    """Alice on the left and Bob on the right, who know each other."""
    with tempfile.TemporaryDirectory(prefix="pp-link-", dir=place) as name:
        folder = Path(name)
        alice, bob = Resident("alice", folder, lab, "left"), Resident("bob", folder, lab, "right")
        try:
            await asyncio.gather(alice.start(module), bob.start(module))
            await asyncio.gather(alice.create(), bob.create())
            await meet(bob, alice)
            yield alice, bob
        finally:
            await asyncio.gather(alice.close(), bob.close())
            leave_nothing(folder)


async def texts(sender: Resident, count: int, interval_s: float) -> list[float]:
    """Send texts at their times, earlier ones answered or not; return how long each took to its receipt."""
    async with contextlib.AsyncExitStack() as stack:
        idle: list[Client] = []

        async def one(due_s: float) -> float:
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            client = idle.pop() if idle else await stack.enter_async_context(Client(sender.home))
            await client.call("send-net", contact="bob", text=TEXT, wait=True)
            idle.append(client)
            return time.perf_counter() - due_s

        begin_s = time.perf_counter()
        return await asyncio.gather(*(one(begin_s + i * interval_s) for i in range(count)))


async def file_bytes(receiver: Resident) -> float:
    """Return how much of the file is checked and on the receiver's disk."""
    rows = await receiver.ask("transfers.list")
    return sum(float(row["size"] * row["progress"]) for row in rows)

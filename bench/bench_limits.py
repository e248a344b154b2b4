"""Limits held: one node, eight contacts over loopback, files between it and all of them at once.

    python3 dev.py bench limits [--rates 1MB/s,10MB/s,50MB/s] [--seconds 10] [--contacts 8] [--json FILE]

Each rate is set for everybody, and a tenth of it for one contact, which is a limit within a limit; first for sending,
then for receiving. Envelope bytes are counted (PROTOCOL.md: frames on a stream, before Noise), as the receiver has read
them. Each window has the given seconds and begins when traffic flows. Then the limit is halved while it runs, and what
passes from one second later on is compared with the new limit. Meanwhile texts go in the same direction as the files,
and are timed until their receipt.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import machine
from pair import Client
from star import Star, star

from peerpost.client.ask import call
from peerpost.client.units import parse_size

FILE_BYTES = 5 * 10**9
"""More than any run moves. All bytes are zeros, which are sealed and hashed like any others."""
SHARE = 10
"""The one contact's limit is this part of everybody's."""
SETTLE_S = 2.0
HALVED_S = 3.0
PAUSE_S = 0.03
POLL_S = 0.01
TEXT_EVERY_S = 0.05


class Flow:
    """What goes between the node in the middle and its contacts."""

    def __init__(self, made: Star) -> None:
        self.folder, self.names = made.folder, made.names
        self.hub, self.ends = made.hub, made.ends

    async def pace(self, seconds: float, *, upward: bool) -> dict[str, float]:
        """Return the bytes per second that went to each contact, or came from it, as counted by the reader.

        A window begins and ends at the moment at which a frame passes, because at the lowest rates a
        frame takes half a second.
        """

        async def of(name: str) -> float:
            before, from_s = await self.passing(name, upward=upward)
            await asyncio.sleep(max(0.0, until_s - time.perf_counter()))
            after, to_s = await self.passing(name, upward=upward)
            return (after - before) / (to_s - from_s)

        until_s = time.perf_counter() + seconds
        paces = await asyncio.gather(*(of(name) for name in self.names))
        return dict(zip(self.names, paces, strict=True))

    async def passing(self, name: str, *, upward: bool) -> tuple[int, float]:
        """Wait until something has arrived and nothing more does; return the bytes so far, and the time."""
        seen, changed_s = await self.read_bytes(name, upward=upward), None
        begun_s = time.perf_counter()
        while True:
            await asyncio.sleep(POLL_S)
            now, now_s = await self.read_bytes(name, upward=upward), time.perf_counter()
            if now != seen:
                seen, changed_s = now, now_s
            elif changed_s is not None and now_s > changed_s + PAUSE_S:
                return seen, changed_s
            if changed_s is not None and now_s > begun_s + 10 * PAUSE_S:
                return seen, changed_s  # It never pauses: a frame is small beside the rate.

    async def read_bytes(self, name: str, *, upward: bool) -> int:
        """Return what a contact has read, or the node from it."""
        client, contact = (self.ends[name], "hub") if upward else (self.hub, name)
        total: int = (await client.call("limits.show", contact=contact))[0]["down_bytes"]
        return total

    @asynccontextmanager
    async def files(self, *, upward: bool) -> AsyncIterator[None]:
        """Keep sending files from the node to all contacts, or from all to it."""
        path = self.folder / "zeros"
        with path.open("wb") as file:
            file.truncate(FILE_BYTES)
        ways = [("hub", name) if upward else (name, "hub") for name in self.names]
        sent = [(sender, await self.send(sender, receiver, path)) for sender, receiver in ways]
        try:
            yield
        finally:
            for sender, id_ in sent:
                client = self.hub if upward else self.ends[sender]
                await client.call("queue.cancel", id=id_)
            await asyncio.sleep(0.5)

    async def send(self, sender: str, receiver: str, path: Path) -> str:
        """Queue a file, as the command line does, and return the entry's id."""
        file = {"name": path.name, "path_hint": str(path)}
        with path.open("rb") as source:
            entry = await asyncio.to_thread(
                call,
                self.folder / sender,
                "send-net",
                {"contact": receiver, "file": file},
                fds=(source.fileno(),),
                spawn=False,
            )
        return str(entry["id"])


async def hold(made: Flow, rate: int, seconds: float, *, upward: bool) -> dict[str, Any]:
    """Measure one rate in one direction."""
    limit, own = ("up_bytes_s", "up_bytes") if upward else ("down_bytes_s", "down_bytes")
    one = made.names[0]

    async def total() -> int:
        passed: int = (await made.hub.call("limits.show"))[0][own]
        return passed

    await made.hub.call("limits.set", **{limit: rate})
    await made.hub.call("limits.set", contact=one, **{limit: rate // SHARE})
    async with made.files(upward=upward):
        await asyncio.sleep(min(SETTLE_S, seconds / 2))
        paces, took = await asyncio.gather(
            made.pace(seconds, upward=upward), texts(made, seconds, upward=upward)
        )
        await made.hub.call("limits.set", **{limit: rate // 2})
        await asyncio.sleep(1.0)
        before, from_s = await total(), time.perf_counter()
        await asyncio.sleep(min(HALVED_S, seconds))
        halved = (await total() - before) / (time.perf_counter() - from_s)
    await made.hub.call("limits.set", **{limit: None})
    await made.hub.call("limits.set", contact=one, **{limit: None})
    others = [paces[name] for name in made.names[1:]]
    return {
        "rate": rate,
        "direction": "up" if upward else "down",
        "all": sum(paces.values()) / rate - 1,
        "one": paces[one] / (rate // SHARE) - 1,
        "jain": sum(others) ** 2 / (len(others) * sum(x * x for x in others)),
        "halved": halved / (rate // 2) - 1,
        "text_ms": [1e3 * s for s in took],
    }


async def texts(made: Flow, seconds: float, *, upward: bool) -> list[float]:
    """Send texts to the contacts in turn, or from them, and return how long each took to its receipt."""
    took = []
    until_s = time.perf_counter() + seconds
    async with AsyncExitStack() as stack:
        # Texts use connections of their own, because one that is also asked for figures answers in order.
        senders = ["hub"] if upward else made.names
        clients = [await stack.enter_async_context(Client(made.folder / n)) for n in senders]
        while time.perf_counter() < until_s:
            number = len(took)
            receiver = made.names[number % len(made.names)] if upward else "hub"
            client = clients[number % len(clients)]
            from_s = time.perf_counter()
            await client.call("send-net", contact=receiver, text="x" * 200, wait=True)
            took.append(time.perf_counter() - from_s)
            await asyncio.sleep(TEXT_EVERY_S)
    return took


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory(prefix="pp-bench-", dir=options.folder) as folder:
        async with star(Path(folder), options.contacts) as nodes:
            made = Flow(nodes)
            idle = await texts(made, min(2.0, options.seconds), upward=True)
            for rate in options.rates:
                for upward in (True, False):
                    row = await hold(made, rate, options.seconds, upward=upward)
                    print(line(row), file=sys.stderr, flush=True)
                    rows.append(row)
    return {
        "machine": machine.describe(),
        "contacts": options.contacts,
        "seconds": options.seconds,
        "idle_text_ms": [1e3 * s for s in idle],
        "rows": rows,
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"| {row['rate'] / 1e6:g} MB/s {row['direction']} | {row['all']:+.1%} | {row['one']:+.1%} "
        f"| {row['jain']:.3f} | {row['halved']:+.1%} | {spread(row['text_ms'])} |"
    )


def spread(took_ms: list[float]) -> str:
    ordered = sorted(took_ms)
    return f"{statistics.median(ordered):.1f} | {ordered[int(len(ordered) * 0.99) - 1]:.1f}"


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['contacts']} contacts, windows of {result['seconds']:g} s; {result['machine']}",
        "",
        "| everybody's limit | held to | one's tenth | Jain | halved, from 1 s | p50, ms | p99, ms |",
        "|---|---|---|---|---|---|---|",
        *(line(row) for row in result["rows"]),
        f"| none, idle | | | | | {spread(result['idle_text_ms'])} |",
    ]
    return "\n".join(lines)


def rates(text: str) -> list[int]:
    return [parse_size(part.removesuffix("/s")) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=rates, default="1MB/s,10MB/s,50MB/s")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--contacts", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    options = parser.parse_args()
    result = asyncio.run(measure(options))
    print(table(result))
    if options.json is not None:
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

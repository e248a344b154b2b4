"""Texts from one node to another over loopback: how long one takes, how many a second, and beside a saturating file.

    python3 dev.py bench messages [--texts 2000] [--pipelined 20000] [--json FILE]

A text counts from the request at the control socket until the receipt says that it is on the receiver's disk; both
sides fsync. Under load a file fills the same contact's link, once with the receiver's home on tmpfs, so that the
file does not fill the disk that the commits wait for, and once on the same disk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
from pair import Client, Pair

TEXT = "x" * 200
CLIENTS = 32
INTERVAL_S = 0.02
FILE_BYTES = 2 * 10**9


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": statistics.median(ordered) * 1e3,
        "p99_ms": ordered[int(len(ordered) * 0.99) - 1] * 1e3,
        "max_ms": ordered[-1] * 1e3,
    }


async def one_by_one(home: Path, count: int, interval_s: float = 0.0) -> list[float]:
    """Send texts, one after another's receipt, and return what each took."""
    took: list[float] = []
    async with Client(home) as client:
        due = time.perf_counter()
        for _ in range(count):
            due = max(due + interval_s, time.perf_counter())
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            await client.call("send-net", contact="bob", text=TEXT, wait=True)
            took.append(time.perf_counter() - started)
    return took


async def pipelined(home: Path, count: int) -> float:
    """Send texts over many connections at once; return how many a second had their receipt."""
    left = iter(range(count))

    async def work() -> None:
        async with Client(home) as client:
            for _ in left:
                await client.call("send-net", contact="bob", text=TEXT)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    async with Client(home) as client:
        while await client.call("queue.list", limit=1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return count / (time.perf_counter() - started)


@contextlib.contextmanager
def saturated(pair: Pair, folder: Path) -> Iterator[None]:
    """Keep the link full of files meanwhile."""
    file = folder / "file"
    if not file.exists():
        with file.open("wb") as out:
            for _ in range(FILE_BYTES // 10**7):
                out.write(os.urandom(10**7))
    command = pair.command("alice", "send-net", "--contact=bob", f"--file={file}")
    # Enough of them for the whole measurement.
    for _ in range(8):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    try:
        yield
    finally:
        for row in pair.run("alice", "queue", "list"):
            if row["kind"] == "file":
                with contextlib.suppress(RuntimeError):
                    pair.run("alice", "queue", "cancel", row["id"])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine.describe(), "texts": arguments.texts}
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="peerpost-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        with Pair(folder, folder) as pair:
            alice = pair.homes["alice"]
            asyncio.run(one_by_one(alice, 50))
            result["idle"] = spread(asyncio.run(one_by_one(alice, arguments.texts)))
            result["per_s"] = asyncio.run(pipelined(alice, arguments.pipelined))
            with saturated(pair, folder):
                took = asyncio.run(one_by_one(alice, arguments.texts, INTERVAL_S))
            result["file on the same disk"] = spread(took)
        if shm.is_dir():
            with (
                tempfile.TemporaryDirectory(prefix="peerpost-bench-", dir=shm) as fast,
                tempfile.TemporaryDirectory(prefix="peerpost-bench-", dir=arguments.folder) as slow,
            ):
                with Pair(Path(slow), Path(fast)) as pair, saturated(pair, folder):
                    alice = pair.homes["alice"]
                    took = asyncio.run(one_by_one(alice, arguments.texts, INTERVAL_S))
                result["file on another device"] = spread(took)
    return result


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['texts']} texts of 200 bytes to the durable receipt; {result['machine']}",
        "",
        "| | p50 ms | p99 ms | max ms |",
        "|---|---|---|---|",
    ]
    for name in ("idle", "file on another device", "file on the same disk"):
        if name in result:
            row = result[name]
            figures = " | ".join(f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "max_ms"))
            lines.append(f"| {name} | {figures} |")
    lines += ["", f"Pipelined: {result['per_s']:.0f} texts a second with their receipts."]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--pipelined", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    arguments = parser.parse_args()
    result = measure(arguments)
    print(table(result))
    if arguments.json is not None:
        with arguments.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

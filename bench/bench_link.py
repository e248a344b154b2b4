"""Texts and a file over a slow line: real nodes in two network namespaces, joined by a link with a rate, a delay
and a queue (tests/support/netlab).

    python3 dev.py bench link [--only 10Mbit/s] [--seconds 40] [--folder DIR] [--json FILE]

A file fills the line while texts of 200 bytes are sent at a steady pace, whether earlier ones have their receipts or
not. A text is timed from the request at the control socket until the receipt says that it is on the receiver's disk.
For comparison, the same is run with a single first-in-first-out queue instead of lanes and scheduler. The rate at which
the file reaches the receiver's disk, and that of one plain TCP connection, are given as a part of the line's rate,
which counts IP packets. Everything runs with a high priority: it needs little CPU, and only the line should be
measured. Needs root.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import socket
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
from bench_messages import spread

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for what tests and benchmarks share

from tests.support.netlab import Lab, Quality, before_others, missing
from tests.support.nodes import content
from tests.support.saturated import FIFO, LANES, file_bytes, residents, texts

WARM_UP_S = 3.0
"""The time from the beginning of the file to the first text that counts."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A link, and what is sent over it."""

    name: str
    quality: Quality
    interval_s: float
    """The time from one text to the next."""
    fifo: bool = True


def line(
    name: str, mbit_s: float, rtt_s: float, queue_s: float, interval_s: float, **rest: Any
) -> Line:
    rate = mbit_s * 1e6 / 8
    quality = Quality(
        rate_bytes_s=rate,
        delay_s=rtt_s / 2,
        queue_bytes=int(rate * queue_s),
        loss=rest.pop("loss", 0.0),
    )
    return Line(name=name, quality=quality, interval_s=interval_s, **rest)


LINES = [
    line("10 Mbit/s, 50 ms", 10, 0.05, 0.25, 0.1),
    line("1 Mbit/s, 200 ms", 1, 0.2, 1.0, 0.5),
    line("100 Mbit/s, 20 ms, 0.5 % lost", 100, 0.02, 0.1, 0.1, loss=0.005, fifo=False),
]


def tcp_goodput(lab: Lab, seconds: float) -> float:
    """Return the bytes a second of one plain connection over the line, after the same warm-up."""
    with lab.socket("right", socket.SOCK_STREAM) as server:
        server.bind((lab.addresses["right"], 0))
        server.listen()
        near = lab.socket("left", socket.SOCK_STREAM)
        near.connect(server.getsockname())
        far, _ = server.accept()
    near.setblocking(False)
    begin_s, end_s = time.perf_counter() + WARM_UP_S, time.perf_counter() + WARM_UP_S + seconds
    arrived, block = 0, bytes(65536)
    with near, far:
        while time.perf_counter() < end_s:
            read, write, _ = select.select([far], [near], [], 0.1)
            if write:
                near.send(block)
            if read:
                size = len(far.recv(1 << 20))
                arrived += size if time.perf_counter() >= begin_s else 0
    return arrived / seconds


async def measure(
    one: Line, congestion: str, module: str, seconds: float, place: Path | None = None
) -> dict[str, Any]:
    """Return the results for texts and file."""
    rate = one.quality.rate_bytes_s or 0.0
    with Lab(one.quality, replace(one.quality, loss=0.0), congestion=congestion) as lab:
        plain = await asyncio.to_thread(tcp_goodput, lab, seconds / 4)
        async with residents(lab, module, place) as (alice, bob):
            idle = await texts(alice, 20, 0.2)
            # More than will have left at the end.
            enough = int(rate * (seconds + 2 * WARM_UP_S)) >> 20
            await alice.queue_file("bob", "file", content(1 << 20) * enough)
            await asyncio.sleep(WARM_UP_S)
            before, begin_s = await file_bytes(bob), time.perf_counter()
            took = await texts(alice, int(seconds / one.interval_s), one.interval_s)
            goodput = (await file_bytes(bob) - before) / (time.perf_counter() - begin_s)
            there, _ = lab.counts()
    return {
        "line": one.name,
        "congestion": congestion,
        "order": "lanes" if module == LANES else "fifo",
        "texts": len(took),
        "idle": spread(idle),
        "busy": spread(took),
        "goodput": goodput / rate,
        "tcp": plain / rate,
        "queue_peak_s": there.queue_peak_bytes / rate,
        "dropped": there.dropped,
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        f"Texts of 200 bytes beside a file, to the durable receipt; {machine.describe()}",
        "",
        "| line | | idle p50 ms | p50 ms | p99 ms | max ms | file | plain TCP | queue at most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        busy = row["busy"]
        lines.append(
            f"| {row['line']} | {row['congestion']}, {row['order']} | {row['idle']['p50_ms']:.0f} "
            f"| {busy['p50_ms']:.0f} | {busy['p99_ms']:.0f} | {busy['max_ms']:.0f} "
            f"| {row['goodput']:.0%} | {row['tcp']:.0%} | {row['queue_peak_s'] * 1e3:.0f} ms |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="the line whose name begins so")
    parser.add_argument("--congestion", choices=["cubic", "bbr"])
    parser.add_argument("--order", choices=["lanes", "fifo"])
    parser.add_argument("--seconds", type=float, default=40.0, help="how long each is measured")
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    arguments = parser.parse_args()
    before_others(os.getpid())
    rows: list[dict[str, Any]] = []
    for congestion in [arguments.congestion] if arguments.congestion else ["cubic", "bbr"]:
        if lack := missing(congestion):
            print(f"left out: {congestion}: {lack}", file=sys.stderr)
            continue
        for one in LINES:
            if not one.name.startswith(arguments.only):
                continue
            for order, module in (("lanes", LANES), ("fifo", FIFO)):
                if arguments.order not in (None, order) or (module == FIFO and not one.fifo):
                    continue
                rows.append(
                    asyncio.run(
                        measure(one, congestion, module, arguments.seconds, arguments.folder)
                    )
                )
                print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if arguments.json is not None:
        with arguments.json.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())

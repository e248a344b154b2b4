"""A long queue for contacts who are away: do the others get theirs at full rate, and what does waiting cost?

    python3 dev.py bench queue [--contacts 1000] [--messages 100000] [--reachable 10] [--drained 50000] [--json FILE]

The messages are divided equally between all contacts, but those that are online get `--drained` in all, so that it
takes long enough to be timed. Of those that are away, one half refuses connections, and the other half accepts them and
says nothing. The node starts with all of that queued. Measured are: the time until the contacts that are online have
everything, then the node's CPU while the rest waits, then texts at the same time. Before that, the same is measured
with the online contacts and their messages only. It takes about two minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apsw
import machine
import psutil
from bench_limits import spread
from pair import Client
from star import Star, run, star

from peerpost.crypto.keys import Ed25519KeyPair
from peerpost.store import keyfile
from peerpost.store.db.engine import Store
from peerpost.store.tables import contacts, outbox
from peerpost.wire import inner as wire

TEXT = b"x" * 200
BATCH = 1000
NOW_MS = time.time_ns() // 1_000_000
WAITING_S = 20.0


def queue(db: apsw.Connection, ids: list[str]) -> None:
    """Queue a text for each of some contacts."""
    for id_ in ids:
        outbox.enqueue(
            db,
            contact_id=id_,
            lane=wire.Lane.URGENT,
            message_kind=wire.Kind.TEXT,
            body=TEXT,
            size=len(TEXT),
            now_ms=NOW_MS,
        )


def away(db: apsw.Connection, number: int, port: int) -> str:
    """Add a contact with an address at which it is not."""
    made = contacts.add(
        db,
        name=f"away{number}",
        id_public=Ed25519KeyPair.from_seed(number.to_bytes(32, "big")).public,
        state="active",
        transport_public=Ed25519KeyPair.from_seed(number.to_bytes(32, "little")).public,
        addresses=(f"/ip4/127.0.0.1/tcp/{port}",),
        now_ms=NOW_MS,
    )
    return made.id


async def fill(home: Path, options: argparse.Namespace, ports: tuple[int, int]) -> None:
    """Put contacts and messages into the store of a home whose node is down."""
    loop = asyncio.get_running_loop()
    store = await Store.open(home / "store.db", keyfile.unlock(home), loop=loop, ballast_bytes=0)
    try:
        there = [c.id for c in await store.read(contacts.list_all)]
        gone = [
            await store.write(away, number, ports[number % 2])
            for number in range(1, options.contacts - len(there) + 1)
        ]
        each = options.messages // options.contacts
        for ids, count in ((there, options.drained), (gone, each * len(gone))):
            wanted = [ids[at % len(ids)] for at in range(count)]
            for at in range(0, len(wanted), BATCH):
                await store.write(queue, wanted[at : at + BATCH])
    finally:
        await store.close()


def silent(stack: ExitStack) -> tuple[int, int]:
    """Return a port at which nothing listens, and one whose connections are never answered."""
    closed = stack.enter_context(socket.socket())
    closed.bind(("127.0.0.1", 0))
    mute = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
    return closed.getsockname()[1], mute.getsockname()[1]


async def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        ports = silent(stack)
        async with star(folder, options.reachable) as made:
            await run(folder / "hub", "node", "stop")
            await fill(folder / "hub", options, ports)
            return await drain(made, options)


async def drain(made: Star, options: argparse.Namespace) -> dict[str, Any]:
    """Start the node and watch it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "peerpost.node", "run", "--home", str(made.folder / "hub")),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        return await watch(psutil.Process(process.pid), made, options)
    finally:
        process.terminate()
        await process.wait()


async def watch(node: psutil.Process, made: Star, options: argparse.Namespace) -> dict[str, Any]:
    started_s = time.perf_counter()
    async with asyncio.timeout(600):
        arrived = [made.folder / name for name in made.names]
        begun_s = await until(arrived, 1)
        spent = cpu_s(node)
        took_s = await until(arrived, options.drained) - begun_s
    draining = cpu_s(node) - spent
    drained = {"first_s": begun_s - started_s, "took_s": took_s, "cpu_s": draining}
    spent, begun_s = cpu_s(node), time.perf_counter()
    await asyncio.sleep(options.waiting)
    waiting = (cpu_s(node) - spent) / (time.perf_counter() - begun_s)
    took_ms = []
    async with Client(made.folder / "hub") as client:
        for number in range(options.texts):
            from_s = time.perf_counter()
            name = made.names[number % len(made.names)]
            await client.call("send-net", contact=name, text="x" * 200, wait=True)
            took_ms.append(1e3 * (time.perf_counter() - from_s))
    rss_mb = node.memory_info().rss / 1e6
    return {**drained, "waiting": waiting, "text_ms": took_ms, "rss_mb": rss_mb}


def cpu_s(node: psutil.Process) -> float:
    times = node.cpu_times()
    return float(times.user + times.system)


async def count(homes: list[Path]) -> int:
    """Return how many texts have arrived."""
    unread = 0
    for home in homes:
        async with Client(home) as client:
            (row,) = await client.call("contacts.list")
            unread += row["unread"]
    return unread


async def until(homes: list[Path], wanted: int) -> float:
    """Wait until so many texts have arrived, and return when that was."""
    while await count(homes) < wanted:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return time.perf_counter()


def line(name: str, row: dict[str, Any], drained: int) -> str:
    return (
        f"| {name} | {drained / row['took_s']:.0f} | {row['cpu_s'] / row['took_s']:.0%} "
        f"| {row['cpu_s'] / drained * 1e6:.0f} "
        f"| {row['waiting']:.1%} | {spread(row['text_ms'])} | {row['rss_mb']:.0f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--contacts", type=int, default=1000)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--reachable", type=int, default=10)
    parser.add_argument("--drained", type=int, default=50_000, help="texts for those there")
    parser.add_argument("--waiting", type=float, default=WAITING_S)
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--once", action="store_true", help="only with the contacts that are away")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    options = parser.parse_args()
    rows = {}
    for name, contacts_ in (("alone", options.reachable), ("with all", options.contacts)):
        if options.once and contacts_ == options.reachable:
            continue
        one = argparse.Namespace(**{**vars(options), "contacts": contacts_})
        with tempfile.TemporaryDirectory(prefix="pp-bench-", dir=options.folder) as folder:
            rows[name] = asyncio.run(measure(Path(folder), one))
        print(line(name, rows[name], options.drained), file=sys.stderr, flush=True)
    away = options.contacts - options.reachable
    print(
        f"{options.messages // options.contacts * away} messages for {away} contacts who are away, "
        f"{options.drained} for {options.reachable} who are there; {machine.describe()}\n"
    )
    print(
        "| queued | drained, texts/s | of a core meanwhile | CPU, us a text "
        "| waiting, of a core | text p50, ms | p99, ms | MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, row in rows.items():
        print(line(name, row, options.drained))
    if len(rows) == 2:
        ratio = rows["alone"]["took_s"] / rows["with all"]["took_s"]
        print(
            f"\nWith all of it queued, those that are there get theirs at {ratio:.0%} of the rate."
        )
    if options.json is not None:
        result = {"machine": machine.describe(), "rows": rows, "cores": os.cpu_count()}
        with options.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

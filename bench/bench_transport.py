"""The transport between two processes over loopback: ours, compared with py-libp2p's own host.

    python3 dev.py bench transport [--rounds 3] [--bulk-mb 300] [--only-bulk] [--mixed] [--json FILE]

Each round runs every pairing once, in turn; the tables have the medians. Bulk is written in pieces of 256 KiB; CPU is
of the process, user and system. An echo has 256 bytes. With `--mixed`, ours and theirs are paired both ways too.
js-libp2p takes part in bulk, both ways, where Node.js and npm are there. Before each round a bare pipe (bare_pipe.py)
tells what cipher and TCP take alone.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bare_pipe
import machine
from transport_ends import ECHO, KINDS, READ_BYTES, SINK, TINY, Net

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.support import js_libp2p

WRITE_BYTES = 256 * 1024
ECHO_BYTES = 256
ECHOES = 2000
LOADED_ECHOES = 600
INTERVAL_S = 0.005
STREAMS = 300
DUPLEX_ROWS = (
    ("echo of 40 MB, both ways at once, MB/s", ECHO, 40_000_000),
    ("echo of 2 MB, taken 1 KiB at a time, MB/s", TINY, 2_000_000),
)

ROWS = {
    "bulk MB/s": "{:.0f}",
    "CPU ns/B, sender": "{:.2f}",
    "CPU ns/B, receiver": "{:.2f}",
    "echo p50 µs": "{:.0f}",
    "echo p99 µs": "{:.0f}",
    "echo p50 µs under bulk": "{:.0f}",
    "echo p99 µs under bulk": "{:.0f}",
    "bulk MB/s meanwhile": "{:.0f}",
    "stream for each message, p50 µs": "{:.0f}",
    "echo of 40 MB, both ways at once, MB/s": "{:.0f}",
    "echo of 2 MB, taken 1 KiB at a time, MB/s": "{:.1f}",
}

BULK_ROWS = ("bulk MB/s", "CPU ns/B, sender", "CPU ns/B, receiver")
PIPE = "cipher and TCP alone"
JS_ROWS = ("ours to js-libp2p", "js-libp2p to ours")

# --- one measurement, in the client's process --------------------------------------------------


async def bulk(net: Net, size: int) -> dict[str, float]:
    stream = await net.open(SINK)
    piece = bytes(WRITE_BYTES)
    count = size // WRITE_BYTES
    started_s, used_s = time.perf_counter(), time.process_time()
    for _ in range(count):
        await stream.write(piece)
    await stream.close_write()
    answer = b""
    while data := await stream.read(READ_BYTES):
        answer += data
    took_s, used_s = time.perf_counter() - started_s, time.process_time() - used_s
    received, there_s = json.loads(answer)
    assert received == count * WRITE_BYTES
    return {
        "bulk MB/s": received / took_s / 1e6,
        "CPU ns/B, sender": used_s / received * 1e9,
        "CPU ns/B, receiver": there_s / received * 1e9,
    }


async def echoes(net: Net, count: int, interval_s: float) -> tuple[float, float]:
    """Return p50 and p99, in microseconds."""
    stream = await net.open(ECHO)
    message = bytes(ECHO_BYTES)
    took = []
    for _ in range(count):
        if interval_s:
            await net.sleep(interval_s)
        started_s = time.perf_counter()
        await stream.write(message)
        left = ECHO_BYTES
        while left:
            left -= len(await stream.read(left))
        took.append((time.perf_counter() - started_s) * 1e6)
    await stream.close()
    took.sort()
    return statistics.median(took), took[int(count * 0.99) - 1]


async def loaded_echoes(net: Net) -> dict[str, float]:
    """Echo while another stream of the connection is full."""
    full = await net.open(SINK)
    sent, over = 0, False

    async def fill() -> None:
        nonlocal sent
        piece = bytes(WRITE_BYTES)
        while not over:
            await full.write(piece)
            sent += WRITE_BYTES
        await full.close_write()

    net.spawn(fill)
    await net.sleep(0.3)
    started_s, before = time.perf_counter(), sent
    p50, p99 = await echoes(net, LOADED_ECHOES, INTERVAL_S)
    rate = (sent - before) / (time.perf_counter() - started_s) / 1e6
    over = True
    while await full.read(READ_BYTES):
        pass
    return {
        "echo p50 µs under bulk": p50,
        "echo p99 µs under bulk": p99,
        "bulk MB/s meanwhile": rate,
    }


async def stream_for_each(net: Net) -> float:
    took = []
    for _ in range(STREAMS):
        started_s = time.perf_counter()
        stream = await net.open(ECHO)
        await stream.write(bytes(ECHO_BYTES))
        left = ECHO_BYTES
        while left:
            left -= len(await stream.read(left))
        took.append((time.perf_counter() - started_s) * 1e6)
        await stream.close()
    return statistics.median(took)


async def duplex(net: Net, protocol: str, count_bytes: int) -> float:
    stream = await net.open(protocol)

    async def fill() -> None:
        piece = bytes(65536)
        for _ in range(count_bytes // len(piece)):
            await stream.write(piece)
        await stream.close_write()

    started_s = time.perf_counter()
    net.spawn(fill)
    size = 0
    while data := await stream.read(65536):
        size += len(data)
    assert size == count_bytes // 65536 * 65536
    return size / (time.perf_counter() - started_s) / 1e6


async def measure(net: Net, *, bulk_bytes: int, all_rows: bool) -> dict[str, float]:
    await bulk(net, 30_000_000)  # Windows grow, caches warm up.
    if not all_rows:
        return await bulk(net, bulk_bytes)
    await echoes(net, 100, 0)
    result = await bulk(net, bulk_bytes)
    result["echo p50 µs"], result["echo p99 µs"] = await echoes(net, ECHOES, 0)
    result |= await loaded_echoes(net)
    result["stream for each message, p50 µs"] = await stream_for_each(net)
    for row, protocol, size in DUPLEX_ROWS:
        result[row] = await duplex(net, protocol, size)
    return result


# --- all of them, in turn ----------------------------------------------------------------------


@contextlib.contextmanager
def serving(*command: str | Path) -> Iterator[tuple[str, str]]:
    """Run a server, and yield its peer id and address."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            peer_id, address = json.loads(process.stdout.readline())
            yield peer_id, address
        finally:
            process.kill()


def answer(*command: str | Path) -> Any:
    """Run a client, and return what it has measured."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


def run_pair(client: str, server: str, bulk_mb: int, options: list[str]) -> dict[str, float]:
    """Run a server and a client of ours or of stock, each in a process of its own."""
    command = [sys.executable, __file__, f"--bulk-mb={bulk_mb}", *options]
    with serving(*command, f"--serve={server}") as peer:
        result: dict[str, float] = answer(*command, f"--use={client}", *peer)
    return result


def run_pipe(bulk_mb: int) -> dict[str, float]:
    """Move bulk through a bare pipe."""
    cost = bare_pipe.connection(bulk_mb * 10**6)
    return dict(zip(BULK_ROWS, dataclasses.astuple(cost), strict=True))


def run_js(script: Path, client: str, bulk_mb: int) -> dict[str, float]:
    """Move bulk between ours and js-libp2p; `client` says who sends."""
    command = [sys.executable, __file__, f"--bulk-mb={bulk_mb}"]
    if client == "ours":
        with serving("node", script, "serve") as peer:
            result: dict[str, float] = answer(*command, "--only-bulk", "--use=ours", *peer)
        return result
    with serving(*command, "--serve=ours") as (peer_id, address):
        to = f"{address}/p2p/{peer_id}"
        took_s, used_s, (size, there_s) = answer("node", script, "bulk", to, str(bulk_mb * 10**6))
    return {
        "bulk MB/s": size / took_s / 1e6,
        "CPU ns/B, sender": used_s / size * 1e9,
        "CPU ns/B, receiver": there_s / size * 1e9,
    }


def table(results: dict[str, list[dict[str, float]]]) -> str:
    """Return medians, and the ratio of ours to stock."""
    medians = {
        name: {row: statistics.median(r[row] for r in runs) for row in runs[0]}
        for name, runs in results.items()
    }
    others = {name: medians.pop(name) for name in (*JS_ROWS, PIPE) if name in medians}
    lines = [
        f"| | {' | '.join(medians)} | ours : stock |",
        "|---" * (len(medians) + 2) + "|",
    ]
    for row, form in ROWS.items():
        if row not in medians["ours"]:
            continue
        figures = " | ".join(form.format(m[row]) for m in medians.values())
        ratio = medians["ours"][row] / medians["stock"][row]
        lines.append(f"| {row} | {figures} | {ratio:.2f} |")
    lines += ["", f"| | {' | '.join(BULK_ROWS)} |", "|---" * (len(BULK_ROWS) + 1) + "|"]
    for name, row in {**others, "ours": medians["ours"], "stock": medians["stock"]}.items():
        lines.append(f"| {name} | {' | '.join(ROWS[r].format(row[r]) for r in BULK_ROWS)} |")
    return "\n".join(lines)


def rounds(arguments: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Run all pairings in turn, as often as is asked."""
    runs: dict[str, Callable[[], dict[str, float]]] = {PIPE: lambda: run_pipe(arguments.bulk_mb)}
    pairs = [("ours", "ours"), ("stock", "stock")]
    if arguments.mixed:
        pairs += [("ours", "stock"), ("stock", "ours")]
    for client, server in pairs:
        name = client if client == server else f"{client} to {server}"
        options = ["--only-bulk"] if arguments.only_bulk else []
        runs[name] = functools.partial(run_pair, client, server, arguments.bulk_mb, options)
    try:
        script = js_libp2p.install(folder)
    except js_libp2p.NotHereError as error:
        print(f"js-libp2p is left out: {error}", file=sys.stderr)
    else:
        for name in JS_ROWS:
            client = name.partition(" ")[0]
            runs[name] = functools.partial(run_js, script, client, arguments.bulk_mb)
    results: dict[str, list[dict[str, float]]] = {}
    for number in range(arguments.rounds):
        for name, run in runs.items():
            print(f"round {number + 1}: {name}", file=sys.stderr)
            results.setdefault(name, []).append(run())
    return results


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bulk-mb", type=int, default=300)
    parser.add_argument("--mixed", action="store_true", help="also ours with theirs")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--use", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--only-bulk", action="store_true", help="no echoes: a minute or so")
    parser.add_argument("peer", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        run, serve, _ = KINDS[arguments.serve]
        run(serve)
        return 0
    if arguments.use is not None:
        run, _, use = KINDS[arguments.use]
        size, everything = arguments.bulk_mb * 10**6, not arguments.only_bulk
        run(use, *arguments.peer, functools.partial(measure, bulk_bytes=size, all_rows=everything))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        results = rounds(arguments, Path(folder))
    print(f"Two processes over loopback, medians of {arguments.rounds} rounds; ", end="")
    print(machine.describe(), table(results), sep="\n\n")
    if arguments.json is not None:
        with arguments.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"machine": machine.describe(), "results": results}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

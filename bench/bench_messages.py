"""Texts from one node to another over loopback: how long one takes, how many a second, and beside saturating files.

    python3 dev.py bench messages [--texts 2000] [--pipelined 20000] [--json FILE]

Three times are taken of each text. Two begin when it is handed to the scheduler: until the peer has opened it, and
until the receipt says that it is on the receiver's disk. The third is from the request at the control socket to its
answer with that receipt, which adds two commits of the sender. Both sides fsync. Under load, files fill the link to the
same contact, once with the receiver's home on tmpfs, so that they do not fill the disk that the commits wait for, and
once on the same disk; each with the shipped scheduler, and with first come, first served instead. For comparison, a
bare commit is timed: one row into an SQLite file of its own on the disk of the homes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import machine
from pair import Client, Pair

from peerpost.client.connection import NodeConnection, dial

TEXT = "x" * 200
CONNECTIONS = 8
OUTSTANDING = 64
INTERVAL_S = 0.02
WARM = 50
"""Texts before the measured ones."""
FILE_BYTES = 512 << 20
FILES = 3
"""How many files are kept queued."""
COMMITS = 300
IDLE = "idle"
OTHER = "files on another device"
SAME = "files on the same disk"


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_ms": statistics.median(ordered) * 1e3,
        "p99_ms": ordered[max(0, int(len(ordered) * 0.99) - 1)] * 1e3,
        "max_ms": ordered[-1] * 1e3,
    }


def connected(home: Path) -> NodeConnection:
    """Return a connection to a node, of the kind that the commands use."""
    node = dial(home)
    if node is None:
        raise RuntimeError(f"the node of {home} is gone")
    return node


def one_by_one(home: Path, count: int, interval_s: float = 0.0) -> list[float]:
    """Send texts, one after another's receipt, and return what each took."""
    took: list[float] = []
    params = {"contact": "bob", "text": TEXT, "wait": True}
    with connected(home) as node:
        due = time.perf_counter()
        for _ in range(count):
            due = max(due + interval_s, time.perf_counter())
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            node.call("send-net", params)
            took.append(time.perf_counter() - started)
    return took


async def pipelined(home: Path, count: int) -> float:
    """Send texts over some connections, many outstanding; return how many a second had their receipt."""
    started = time.perf_counter()
    share = count // CONNECTIONS
    await asyncio.gather(*(pipeline(home, share) for _ in range(CONNECTIONS)))
    async with Client(home) as client:
        while await client.call("queue.list", limit=1):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return share * CONNECTIONS / (time.perf_counter() - started)


async def pipeline(home: Path, count: int) -> None:
    """Send texts over one connection, `OUTSTANDING` of them unanswered at a time."""
    params = {"contact": "bob", "text": TEXT}
    request = {"jsonrpc": "2.0", "id": 1, "method": "send-net", "params": params}
    line = json.dumps(request).encode() + b"\n"
    reader, writer = await asyncio.open_unix_connection(home / "control.sock")
    asked = answered = 0
    while answered < count:
        room = min(OUTSTANDING - (asked - answered), count - asked)
        writer.write(line * room)
        asked += room
        answers = await reader.read(1 << 16)
        if not answers or b'"error"' in answers:
            raise RuntimeError(answers.decode(errors="replace") or "the node hung up")
        answered += answers.count(b"\n")
    writer.close()


class Feeder(threading.Thread):
    """Keeps files queued for the contact, and the receiver's disk from filling up."""

    def __init__(self, pair: Pair, file: Path) -> None:
        super().__init__(name="feeder")
        self._pair = pair
        self._file = file
        self.ended = threading.Event()

    def run(self) -> None:
        with connected(self._pair.homes["alice"]) as node:
            while not self.ended.wait(0.25):
                for _ in range(FILES - len(self._queued(node))):
                    self._send(node)
                for received in self._pair.homes["bob"].rglob("*.sealed"):
                    received.unlink(missing_ok=True)
            for id_ in self._queued(node):
                with contextlib.suppress(Exception):
                    node.call("queue.cancel", {"id": id_})

    def _queued(self, node: NodeConnection) -> list[str]:
        return [row["id"] for row in node.call("queue.list") if row["kind"] == "file"]

    def _send(self, node: NodeConnection) -> None:
        with self._file.open("rb") as file:
            described = {"name": "file", "path_hint": str(self._file)}
            node.call("send-net", {"contact": "bob", "file": described}, fds=[file.fileno()])


@contextlib.contextmanager
def saturated(pair: Pair, folder: Path) -> Iterator[None]:
    """Keep the link full of files meanwhile."""
    file = folder / "file"
    if not file.exists():
        with file.open("wb") as out:
            for _ in range(FILE_BYTES >> 20):
                out.write(os.urandom(1 << 20))
    feeder = Feeder(pair, file)
    feeder.start()
    time.sleep(2.0)
    try:
        yield
    finally:
        feeder.ended.set()
        feeder.join()


def bare_commits(folder: Path) -> dict[str, float]:
    """Commit single rows to a database of their own on the disk of the homes, at the pace of the texts."""
    took: list[float] = []
    with tempfile.TemporaryDirectory(dir=folder) as name:
        db = apsw.Connection(f"{name}/bare.db")
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.execute("CREATE TABLE t (body BLOB)")
        for _ in range(COMMITS):
            time.sleep(INTERVAL_S)
            started = time.perf_counter()
            db.execute("INSERT INTO t VALUES (?)", (os.urandom(300),))
            took.append(time.perf_counter() - started)
        db.close()
    return spread(took)


class Traced:
    """A pair whose nodes note when texts pass; `scheduler` is `real` or `fifo`."""

    def __init__(self, alice: Path, bob: Path, scheduler: str) -> None:
        self._traces = {"alice": alice / "handed.json", "bob": bob / "opened.json"}
        script = str(Path(__file__).with_name("traced_node.py"))
        nodes = {
            name: [sys.executable, script, str(trace), scheduler]
            for name, trace in self._traces.items()
        }
        self.pair = Pair(alice, bob, nodes)
        self._sent = 0
        self._spans: dict[str, tuple[int, int, list[float]]] = {}

    def texts(self, name: str, count: int, interval_s: float = 0.0) -> None:
        """Send some, after a few that are not counted."""
        took = one_by_one(self.pair.homes["alice"], WARM + count, interval_s)
        first = self._sent + 1 + WARM
        self._sent += WARM + count
        self._spans[name] = (first, self._sent, took[WARM:])

    def result(self) -> dict[str, Any]:
        """Return the spans of what was sent, once the pair has ended."""
        alice = json.loads(self._traces["alice"].read_text())
        handed = dict(alice["handed"])
        opened = dict(reversed(json.loads(self._traces["bob"].read_text())["opened"]))
        received: dict[int, int] = {}
        for watermark, at_ns in alice["receipts"]:
            received |= dict.fromkeys(range(len(received) + 1, watermark + 1), at_ns)
        return {
            name: {
                "opened": spread(
                    [(opened[seq] - handed[seq]) / 1e9 for seq in range(first, last + 1)]
                ),
                "receipt": spread(
                    [(received[seq] - handed[seq]) / 1e9 for seq in range(first, last + 1)]
                ),
                "answer": spread(took),
            }
            for name, (first, last, took) in self._spans.items()
        }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine.describe(), "texts": arguments.texts}
    with contextlib.ExitStack() as stack:

        def folder(where: Path | None) -> Path:
            made = tempfile.TemporaryDirectory(prefix="peerpost-bench-", dir=where)
            return Path(stack.enter_context(made))

        disk = folder(arguments.folder)
        with Pair(disk, disk) as pair:
            one_by_one(pair.homes["alice"], WARM)
            result["per_s"] = asyncio.run(pipelined(pair.homes["alice"], arguments.pipelined))
        result["bare"] = {IDLE: bare_commits(disk)}
        for scheduler in ("real", "fifo"):
            rows = result[scheduler] = {}
            here = folder(arguments.folder)
            same = Traced(here, here, scheduler)
            with same.pair:
                same.texts(IDLE, arguments.texts)
                with saturated(same.pair, disk):
                    same.texts(SAME, arguments.texts, INTERVAL_S)
                    if scheduler == "real":
                        result["bare"][SAME] = bare_commits(disk)
            rows |= same.result()
            shm = Path("/dev/shm")
            if shm.is_dir():
                other = Traced(folder(arguments.folder), folder(shm), scheduler)
                with other.pair, saturated(other.pair, disk):
                    other.texts(OTHER, arguments.texts, INTERVAL_S)
                rows |= other.result()
    return result


def table(result: dict[str, Any]) -> str:
    lines = [
        f"{result['texts']} texts of 200 bytes; {result['machine']}",
        "",
        "| | opened, p50 ms | p99 | receipt, p50 | p99 | answer, p50 | p99 | max |",
        "|---|---|---|---|---|---|---|---|",
    ]
    names = {"real": "", "fifo": ", first come, first served"}
    for where in (IDLE, OTHER, SAME):
        for scheduler, label in names.items():
            if (row := result[scheduler].get(where)) is not None:
                figures = [row["opened"][key] for key in ("p50_ms", "p99_ms")]
                figures += [row["receipt"][key] for key in ("p50_ms", "p99_ms")]
                figures += [row["answer"][key] for key in ("p50_ms", "p99_ms", "max_ms")]
                cells = " | ".join(f"{figure:.1f}" for figure in figures)
                lines.append(f"| {where}{label} | {cells} |")
    for where, row in result["bare"].items():
        cells = " | ".join(f"{row[key]:.1f}" for key in ("p50_ms", "p99_ms", "max_ms"))
        lines.append(f"| a bare commit, {where} | | | | | {cells} |")
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

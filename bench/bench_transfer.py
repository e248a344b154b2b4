"""One large file from one process to another over loopback, verified and on disk: Peerpost, magic-wormhole, scp.

    python3 dev.py bench transfer [--size 1GB] [--rounds 3] [--folder DIR] [--json FILE]

Each round runs all of them once, in turn, on the same file. The table has the medians and, for comparison, the
ceilings: the disk, loopback, and two bare processes that do the same work on the bytes and nothing else (bare_pipe.py).
Peerpost is timed from the printed id to the durable receipt; the others from the start of the command to a synced file,
because nothing shows when they begin to send.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import bare_pipe
import ledger
import machine
import rivals
from pair import Pair
from rivals import NotHereError

TIMEOUT_S = 600


class Peerpost:
    """Two homes, two nodes, the command line."""

    name = "Peerpost"

    def __init__(self, folder: Path) -> None:
        self._pair = Pair(folder, folder)
        self.cpu_s: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._pair.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._pair.__exit__(*error)

    def send(self, file: Path, target: Path) -> float:
        """Return the seconds from the printed id to the receipt; check the bytes afterwards."""
        pids = self._pair.pids.values()
        before = [_cpu_s(pid) for pid in pids]
        command = self._pair.command("alice", "send-net", "--contact", "bob", "--file", str(file))
        process = subprocess.Popen(
            [*command, "--wait", "--timeout", str(TIMEOUT_S)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        process.stdout.readline()
        printed = time.perf_counter()
        last = json.loads(process.stdout.readline())
        took_s = time.perf_counter() - printed
        process.wait()
        after = [_cpu_s(pid) for pid in pids]
        self.cpu_s.append((after[0] - before[0], after[1] - before[1]))
        if last["state"] != "delivered":
            raise NotHereError(f"the file is {last['state']}")
        item = self._pair.run("bob", "inbox", "list", "--limit", "1")[0]
        self._pair.run("bob", "inbox", "save", item["id"], "--out", str(target))
        return took_s

    def peak_mb(self) -> dict[str, float]:
        """Return the peak memory of each node."""
        return {name: status_mb(pid, "VmHWM") for name, pid in self._pair.pids.items()}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_mb(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1e3
    return 0.0


def _same(left: Path, right: Path) -> bool:
    with left.open("rb") as a, right.open("rb") as b:
        while True:
            x, y = a.read(1 << 20), b.read(1 << 20)
            if x != y:
                return False
            if not x:
                return True


def _make_file(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        left = size_bytes
        while left:
            left -= file.write(os.urandom(min(left, 8 << 20)))
        os.fsync(file.fileno())


def size_of(text: str) -> int:
    units = {"MB": 10**6, "GB": 10**9}
    return int(float(text[:-2]) * units[text[-2:].upper()])


def measure(folder: Path, size_bytes: int, rounds: int) -> dict[str, Any]:
    file, target = folder / "file", folder / "saved"
    _make_file(file, size_bytes)
    times: dict[str, list[float]] = {}
    disk: list[float] = []
    bare: list[float] = []
    with contextlib.ExitStack() as stack:
        peerpost = stack.enter_context(Peerpost(folder))
        runners: list[Any] = [peerpost]
        for make in (
            lambda: rivals.Wormhole(folder),
            lambda: rivals.Scp(folder, "chacha20-poly1305@openssh.com"),
            lambda: rivals.Scp(folder, "aes128-gcm@openssh.com"),
        ):
            try:
                runners.append(stack.enter_context(make()))
            except (NotHereError, OSError, subprocess.SubprocessError) as error:
                print(f"left out: {error}", file=sys.stderr)
        for number in range(rounds):
            disk.append(machine.disk_mb_s(folder, size_bytes))
            bare.append(bare_pipe.file(file, folder).rate_mb_s)
            for runner in runners:
                took_s = runner.send(file, target)
                if not _same(file, target):
                    raise SystemExit(f"{runner.name} delivered other bytes")
                target.unlink()
                times.setdefault(runner.name, []).append(took_s)
                pace = size_bytes / took_s / 1e6
                print(f"round {number + 1}: {runner.name:22} {pace:6.0f} MB/s", file=sys.stderr)
        peak = peerpost.peak_mb()
        cpu = peerpost.cpu_s
        parts = ledger.measure(folder)
    return {
        "machine": machine.describe(),
        "size_bytes": size_bytes,
        "rounds": rounds,
        "seconds": times,
        "peak_mb": peak,
        "cpu_s": {
            "sender": statistics.median(c[0] for c in cpu),
            "receiver": statistics.median(c[1] for c in cpu),
        },
        "parts_ns": parts,
        "bare_mb_s": statistics.median(bare),
        "disk_mb_s": statistics.median(disk),
        "tcp_mb_s": machine.tcp_mb_s(size_bytes),
    }


def table(result: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    size = result["size_bytes"]
    paces = {name: size / statistics.median(t) / 1e6 for name, t in result["seconds"].items()}
    ours = paces["Peerpost"]
    lines = [
        f"{size / 1e9:g} GB, median of {result['rounds']}; {result['machine']}",
        "",
        "| | MB/s | Peerpost is |",
        "|---|---|---|",
    ]
    for name, pace in paces.items():
        ratio = "" if name == "Peerpost" else f"{ours / pace:.2f}x as fast"
        lines.append(f"| {name} | {pace:.0f} | {ratio} |")
    bare = result["bare_mb_s"]
    lines.append(f"| two bare processes, the same work on the bytes | {bare:.0f} | |")
    lines.append(f"| the disk: write and fsync | {result['disk_mb_s']:.0f} | |")
    lines.append(f"| loopback TCP, in clear | {result['tcp_mb_s']:.0f} | |")
    peak, cpu = result["peak_mb"], result["cpu_s"]
    lines += [
        "",
        f"Peak memory: sender {peak['alice']:.0f} MB, receiver {peak['bob']:.0f} MB.",
        "",
        ledger.table(
            result["parts_ns"], (cpu["sender"] / size * 1e9, cpu["receiver"] / size * 1e9)
        ),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=size_of, default=10**9, help="such as 100MB or 1GB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="peerpost-bench-", dir=arguments.folder) as folder:
        result = measure(Path(folder), arguments.size, arguments.rounds)
    print(table(result))
    if arguments.json is not None:
        with arguments.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

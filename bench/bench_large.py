"""A file of ten gigabytes or more over loopback: the memory of both nodes over time, and whether the bytes are right.

    python3 dev.py bench large [--size 10GB] [--folder DIR] [--json FILE]

The source is sparse, with random bytes here and there, so that the disk has room for the received file. To the nodes it
is a file like any other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
from bench_transfer import size_of, status_mb
from pair import Pair

EVERY_S = 0.5
SHOWN = 10
"""Samples in the table, evenly over the time."""
MARKS = 1000
TIMEOUT_S = 3600


def make_file(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for number in range(MARKS):
            file.seek(size_bytes // MARKS * number)
            file.write(os.urandom(4096))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest()


def measure(folder: Path, size_bytes: int) -> dict[str, Any]:
    file = folder / "file"
    make_file(file, size_bytes)
    samples: dict[str, list[float]] = {"alice": [], "bob": []}
    with Pair(folder, folder) as pair:
        command = pair.command("alice", "send-net", "--contact", "bob", "--file", str(file))
        begun_s = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--wait", "--timeout", str(TIMEOUT_S)], stdout=subprocess.DEVNULL
        )
        while process.poll() is None:
            for name, pid in pair.pids.items():
                samples[name].append(status_mb(pid, "VmRSS"))
            time.sleep(EVERY_S)
        took_s = time.perf_counter() - begun_s
        if process.returncode:
            raise SystemExit(f"send-net --wait left with {process.returncode}")
        peak = {name: status_mb(pid, "VmHWM") for name, pid in pair.pids.items()}
        item = pair.run("bob", "inbox", "list", "--limit", "1")[0]
        right = pair.run("bob", "inbox", "show", item["id"])[0]["blake2b"] == digest(file)
    return {
        "machine": machine.describe(),
        "size_bytes": size_bytes,
        "seconds": took_s,
        "right": right,
        "rss_mb": samples,
        "peak_mb": peak,
    }


def table(result: dict[str, Any]) -> str:
    size, series = result["size_bytes"], result["rss_mb"]
    count = len(series["alice"])
    places = [count * i // SHOWN for i in range(SHOWN)] + [count - 1]
    pace = size / result["seconds"] / 1e6
    bytes_are = "right" if result["right"] else "WRONG"
    lines = [
        f"{size / 1e9:g} GB at {pace:.0f} MB/s; the bytes are {bytes_are}; {result['machine']}",
        "",
        "| RSS in MB after | " + " | ".join(f"{at / count:.0%}" for at in places) + " | peak |",
        "|---" * (len(places) + 2) + "|",
    ]
    for name, who in (("alice", "sender"), ("bob", "receiver")):
        figures = [series[name][at] for at in places] + [result["peak_mb"][name]]
        lines.append(f"| {who} | " + " | ".join(f"{value:.0f}" for value in figures) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=size_of, default=10**10, help="such as 10GB")
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    parser.add_argument("--json", type=Path, help="append the raw figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pp-large-", dir=arguments.folder) as folder:
        result = measure(Path(folder), arguments.size)
    print(table(result))
    if arguments.json is not None:
        with arguments.json.open("a", encoding="utf-8") as out:
            out.write(json.dumps(result) + "\n")
    return 0 if result["right"] else 1


if __name__ == "__main__":
    sys.exit(main())

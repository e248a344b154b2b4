"""Export and import: how long a home of many messages takes, and how much memory on both sides of the control socket.

    python3 dev.py bench export [--messages 100000] [--file-mb 500]

A bundle is made of texts of a dozen words, half of them received and half sent, and one file. It is imported into an
empty home and exported from it again, by the command line; what comes out must be what went in. Beside the file stands
how long `cp` and a flush take for it.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import machine

from peerpost.bundle.reading import blake2b
from peerpost.bundle.record import Card, Owner, Record
from peerpost.bundle.writing import BundleWriter

WORDS = (  # noqa: SIM905 - a list of words is longer
    "the build is green disk full on host backup done failed alert invoice meeting at noon tomorrow"
).split()
CARD = Card(id="bobsid", name="bob", identity="bb" * 32)


def records(count: int, file: Path) -> Iterator[Record]:
    """Yield the messages of a bundle: the file first, then texts, the newest of each direction first."""
    draw = random.Random(1)
    hasher = blake2b()
    with file.open("rb") as data:
        while piece := data.read(1 << 20):
            hasher.update(piece)
    now_ms = 1_700_000_000_000
    said = {"contact": CARD.id, "lane": 0}
    yield Record(
        **said, id="77777777", direction="received", kind="file", outbox="11" * 16, seq=count + 1, sent_ms=now_ms,
        at_ms=now_ms, size=file.stat().st_size, name="file.bin", file=hasher.hexdigest(),
    )  # fmt: skip
    for direction, outbox, some in (
        ("received", "11" * 16, count // 2),
        ("sent", "22" * 16, count - count // 2),
    ):
        for number in range(some, 0, -1):
            text = " ".join(draw.choice(WORDS) for _ in range(12))
            yield Record(
                **said, id=base64.b32encode(number.to_bytes(5, "big")).decode().lower(), direction=direction,
                kind="text", outbox=outbox, seq=number, sent_ms=now_ms - 1000 * (some - number),
                at_ms=now_ms - 1000 * (some - number), size=len(text), text=text,
                state="delivered" if direction == "sent" else None,
            )  # fmt: skip


def write(path: Path, count: int, file: Path) -> None:
    """Write a bundle."""
    owner = Owner(name="bench", identity="aa" * 32)
    with path.open("wb") as out, BundleWriter(out, owner, 1_700_000_000_000) as writer:
        writer.messages(records(count, file))
        writer.contacts([CARD])
        for digest in writer.files:
            with writer.file(digest) as take, file.open("rb") as data:
                while piece := data.read(1 << 20):
                    take(piece)
        writer.end()


def run(home: Path, *words: str) -> tuple[float, str]:
    """Run a command; return how many seconds it took and what it printed."""
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(home), "--json", *words]
    begun_s = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took_s = time.perf_counter() - begun_s
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return took_s, done.stdout


def texts(path: Path) -> list[dict[str, object]]:
    """Return the messages of a bundle without the ids of contacts, which differ from home to home."""
    with zipfile.ZipFile(path) as archive:
        rows = [json.loads(line) for line in archive.read("messages.jsonl").splitlines()]
    for row in rows:
        del row["contact"]
    return rows


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--file-mb", type=int, default=500)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pp-bench-") as made:
        folder = Path(made)
        file = folder / "file.bin"
        with file.open("wb") as out:
            for _ in range(given.file_mb):
                out.write(os.urandom(1_000_000))
        print(f"{machine.describe()}\n")
        measure(folder, file, given.messages)


def measure(folder: Path, file: Path, count: int) -> None:
    """Import and export: the texts alone, then the file alone."""
    empty = folder / "empty"
    empty.touch()
    print(
        f"| {count} texts, or a file of {file.stat().st_size / 1e6:.0f} MB | seconds | the node's peak, MB |"
    )
    print("|---|---|---|")
    for what, some, data in (("texts", count, empty), ("file", 0, file)):
        home = folder / f"home-{what}"
        run(home, "identity", "new", "--name", "bench", "--no-passphrase")
        pid = int(json.loads(run(home, "node", "start")[1])["pid"])
        try:
            bundle, again = folder / f"{what}.zip", folder / f"{what}-again.zip"
            write(bundle, some, data)
            for words in (
                ("import", str(bundle)),
                ("import", str(bundle)),
                ("export", "--all", "--out", str(again)),
            ):
                took_s, _ = run(home, "inbox", *words)
                print(
                    f"| {what}: {words[0]} | {took_s:.1f} | {machine.peak_mb(pid):.0f} |",
                    flush=True,
                )
            if texts(bundle) != texts(again):
                raise SystemExit("what came out is not what went in")
            again.unlink()
        finally:
            run(home, "node", "stop")
    begun_s = time.perf_counter()
    subprocess.run(["cp", str(file), str(folder / "copy")], check=True)
    with (folder / "copy").open("rb") as copied:
        os.fsync(copied.fileno())
    print(f"| cp and a flush, of the file | {time.perf_counter() - begun_s:.1f} | |")


if __name__ == "__main__":
    main()

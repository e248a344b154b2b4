"""kill -9 of either node at random moments of one file: it completes, and little is sent again.

    python3 dev.py kill9 transfer [--kills 20] [--size 1000000000]

The long form of tests/e2e/test_transfer_kills.py. What was asked for and is not on the disk is sent again after a
kill, a window of the receiver's at most; what is on the disk is hashed again, not sent.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peerpost.errors import PeerpostError
from peerpost.protocol.chunk_window import MAX_WINDOW_BYTES
from tests.support.nodes import Friend, Traffic, leave_nothing, meet, until

__all__ = ["Figures", "kill_and_send"]

HEADERS = 1.005
"""Frames, records, leaves, and what else is said: bytes that cross a link for each of the file."""
WAIT_S = 300.0
PIECE_BYTES = 1 << 20


@dataclass(kw_only=True)
class Figures:
    """What came of it."""

    kills: int = 0
    crossed_bytes: int = 0
    """Towards the receiver, everything counted, also what a kill left in sockets."""
    again_bytes: int = 0
    """Of these, more than the file and its headers."""
    seconds: float = 0.0

    @property
    def again_per_kill(self) -> float:
        """Bytes sent again for a kill, on average."""
        return self.again_bytes / self.kills


def make_file(path: Path, size: int, seed: int) -> str:
    """Write a file that does not repeat; return its BLAKE2b-256."""
    draw, hashed, left = random.Random(seed), hashlib.blake2b(digest_size=32), size
    with path.open("wb") as file:
        while left:
            piece = draw.randbytes(min(left, PIECE_BYTES))
            hashed.update(piece)
            left -= file.write(piece)
    return hashed.hexdigest()


async def kill_and_send(
    alice: Friend, bob: Friend, file: Path, digest: str, *, kills: int, seed: int
) -> Figures:
    """Send a file from Alice to Bob, both running, while one of them is killed again and again."""
    draw = random.Random(seed)
    traffic, begun_s = Traffic(alice, bob), time.monotonic()
    with file.open("rb") as source:
        size = os.fstat(source.fileno()).st_size
        wanted = {"name": file.name, "fd_index": 0, "path_hint": str(file), "size": size}
        entry = await alice.ask(
            "send-net", {"contact": "bob", "file": wanted}, fds=(source.fileno(),)
        )
    for part in sorted(draw.uniform(0.02, 0.95) for _ in range(kills)):

        async def so_far(goal: float = part * size) -> bool:
            return traffic.towards_bytes >= goal

        await until(so_far, timeout_s=WAIT_S, step_s=0.005)
        victim = draw.choice((alice, bob))
        await victim.kill()
        await victim.start()

    async def delivered() -> bool:
        return bool((await alice.ask("sent.show", {"id": entry["id"]}))["state"] == "delivered")

    await until(delivered, timeout_s=WAIT_S)
    (item,) = await bob.ask("inbox.list", {})
    shown = await bob.ask("inbox.show", {"id": item["id"]})
    assert (shown["size"], shown["blake2b"]) == (size, digest), shown
    with tempfile.TemporaryFile(dir=file.parent) as saved:
        await bob.ask("inbox.save", {"id": item["id"]}, fds=(saved.fileno(),))
        saved.seek(0)
        found = hashlib.file_digest(saved, lambda: hashlib.blake2b(digest_size=32)).hexdigest()
    assert found == digest
    return Figures(
        kills=kills,
        crossed_bytes=traffic.towards_bytes,
        again_bytes=max(0, traffic.towards_bytes - int(HEADERS * size)),
        seconds=time.monotonic() - begun_s,
    )


async def _run(folder: Path, kills: int, size: int, seed: int) -> Figures:
    file = folder / "big.bin"
    digest = make_file(file, size, seed)
    alice, bob = Friend("alice", folder), Friend("bob", folder)
    for friend in (alice, bob):
        config = friend.home / "config.toml"
        config.write_text(config.read_text().replace("[storage]", '[storage]\naccept = "1TiB"'))
    try:
        await asyncio.gather(alice.start(), bob.start())
        await asyncio.gather(alice.create(), bob.create())
        await meet(bob, alice)
        return await kill_and_send(alice, bob, file, digest, kills=kills, seed=seed)
    finally:
        await asyncio.gather(alice.close(), bob.close())


def main(argv: Sequence[str]) -> int:
    """Run the long form. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 dev.py kill9 transfer", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--size", type=int, default=10**9, help="in bytes")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--folder", type=Path, help="on which disk to work")
    arguments = parser.parse_args(argv)
    _say(f"{arguments.kills} kills in {arguments.size} bytes, seed {arguments.seed}")
    with tempfile.TemporaryDirectory(prefix="pp-kills-", dir=arguments.folder) as name:
        try:
            figures = asyncio.run(_run(Path(name), arguments.kills, arguments.size, arguments.seed))
        except (AssertionError, PeerpostError) as error:
            _say(f"FAILED: {error}")
            return 1
        finally:
            leave_nothing(Path(name))
    _say(
        f"complete and right after {figures.seconds:.0f} s; {figures.crossed_bytes / 1e6:.1f} MB crossed the link, "
        f"{figures.again_per_kill / 1e6:.2f} MB sent again for a kill (a window is {MAX_WINDOW_BYTES / 1e6:.1f} MB)"
    )
    return 0 if figures.again_per_kill < MAX_WINDOW_BYTES else 1


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - figures for whoever runs it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

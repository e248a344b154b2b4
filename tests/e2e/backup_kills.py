"""kill -9 while a backup is made, and while a home is put back: each is there whole, or not at all.

    python3 dev.py kill9 backup [--kills N] [--seed S]

`create`: the node, or the command, is killed at a random moment. The home opens as before, with nothing left in it, and
the file is a whole backup or not there. `restore`: the same; the next start finds an empty home or all of it.
tests/e2e/test_backup_kills.py is the short form.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.nodes import Friend, content, digest, leave_nothing, meet, processes_in

__all__ = ["Figures", "kills"]

PASSPHRASE = "umber lattice quiver saddle topaz morning"
SWEPT_LOOKS = 200
LATEST = 1.1
"""A kill comes within as long as the command takes here when it is left alone, and a little after that."""
MESSAGES = 5
SIZE = 4_000_000


@dataclass(kw_only=True)
class Figures:
    """What came of the kills."""

    kills: int = 0
    done_before: int = 0
    """How often the command had ended before it was killed."""
    whole: int = 0
    nothing: int = 0
    wrong: list[str] = field(default_factory=list)


class _Campaign:
    def __init__(self, folder: Path, draw: random.Random) -> None:
        self._draw = draw
        self._folder = folder
        self._alice, self._bob = Friend("alice", folder), Friend("bob", folder)
        self._file = folder / "file"
        self._secret = folder / "passphrase"
        self._takes_s: dict[str, float] = {}
        self.figures = Figures()

    async def run(self, count: int) -> Figures:
        self._secret.write_text(PASSPHRASE + "\n")
        self._secret.chmod(0o600)
        try:
            await asyncio.gather(self._alice.start(), self._bob.start())
            await asyncio.gather(self._alice.create(), self._bob.create())
            await meet(self._bob, self._alice)
            for n in range(MESSAGES):
                sent = await self._bob.ask("send-net", {"contact": "alice", "text": f"text {n}"})
                await self._bob.delivered(sent["id"])
            await self._bob.delivered(await self._bob.queue_file("alice", "f", content(SIZE)))
            self._is = await self._seen(self._alice)
            await self._bob.stop()
            await self._alice.stop()
            await self._measure()
            for number in range(count):
                await (self._create() if number % 2 == 0 else self._restore())
                self.figures.kills += 1
        finally:
            await asyncio.gather(self._alice.close(), self._bob.close())
        return self.figures

    async def _measure(self) -> None:
        """Run both commands once, as they are later, to know how long each takes on this machine today."""
        for command, one in (("create", self._alice), ("restore", self._empty())):
            began_s = time.monotonic()
            secret = ("--passphrase-file", str(self._secret))
            await one.cli("backup", command, str(self._file), *secret)
            self._takes_s[command] = time.monotonic() - began_s
            await one.cli("node", "stop")

    async def _seen(self, one: Friend) -> dict[str, Any]:
        """Return what a home shows: its identity, its texts and the bytes of its files."""
        items = (await one.cli("inbox", "list", "--limit", "99")).rows
        files = [row["id"] for row in items if row["kind"] == "file"]
        saved = [await one.cli("inbox", "save", id_, "--out", "-") for id_ in files]
        return {
            "id": (await one.cli("identity", "show")).row["id"],
            "texts": sorted(row["preview"] for row in items if row["kind"] == "text"),
            "files": [digest(done.out) for done in saved],
        }

    async def _killed(self, one: Friend, *command: str) -> None:
        """Run a command, and kill it or its node at a random moment."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "peerpost.cli", "--home", str(one.home), "--json"),
            *(*command, "--passphrase-file", str(self._secret)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._draw.uniform(0.1, LATEST * self._takes_s[command[1]])):
                await process.wait()
                self.figures.done_before += 1
        both = self._draw.random() < 0.7
        for pid, line in processes_in(one.home):
            if both or "peerpost.cli" in line:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()

    async def _create(self) -> None:
        self._file.unlink(missing_ok=True)
        await self._killed(self._alice, "backup", "create", str(self._file))
        if self._file.exists():
            self.figures.whole += 1
            await self._compare_restored("after a kill of create", must=True)
        else:
            self.figures.nothing += 1
        self._expect("the home after create", await self._seen(self._alice))
        # The node goes on for a moment: it may be deriving the key, and looks up only then.
        for _ in range(SWEPT_LOOKS):
            if not (self._alice.home / "backup.new").exists():
                break
            await asyncio.sleep(0.1)
        else:
            self.figures.wrong.append("backup.new is left")
        await self._alice.cli("node", "stop")
        if not self._file.exists():
            secret = ("--passphrase-file", str(self._secret))
            await self._alice.cli("backup", "create", str(self._file), *secret)
            await self._alice.cli("node", "stop")

    async def _restore(self) -> None:
        home = self._empty()
        await self._killed(home, "backup", "restore", str(self._file))
        await self._compare_restored("after a kill of restore", must=False, home=home)

    def _empty(self) -> Friend:
        shutil.rmtree(self._folder / "back", ignore_errors=True)
        return Friend("back", self._folder)

    async def _compare_restored(self, what: str, *, must: bool, home: Friend | None = None) -> None:
        """Look at a home that was put back; of one that was killed, all or nothing must be there."""
        if home is None:
            home = self._empty()
            secret = ("--passphrase-file", str(self._secret))
            await home.cli("backup", "restore", str(self._file), *secret)
        # The first start finishes or undoes what was begun.
        doctor = await home.cli("doctor", code=None)
        shown = await home.cli("identity", "show", code=None)
        if shown.code == 0:
            self._expect(what, await self._seen(home))
            self.figures.whole += not must
        elif must or shown.error["code"] != "no_identity":
            self.figures.wrong.append(f"{what}: {shown} {doctor}")
        else:
            self.figures.nothing += 1
        names = {path.name for path in home.home.iterdir()}
        if names & {"restore.new", "restore.done", "backup.new"} or (
            shown.code and names & {"store.db", "blobs", "spool", "keyfile"}
        ):
            self.figures.wrong.append(f"{what}: {sorted(names)} are left")
        await home.cli("node", "stop")

    def _expect(self, what: str, seen: dict[str, Any]) -> None:
        if seen != self._is:
            self.figures.wrong.append(f"{what}: {seen}")


async def kills(folder: Path, *, seed: int, count: int) -> Figures:
    """Kill so many times, and return what came of it."""
    return await _Campaign(folder, random.Random(seed)).run(count)


def main(argv: Sequence[str]) -> int:
    """Run the long form. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 dev.py kill9 backup", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=100, help="half of them of each command")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="pp-bk-") as name:
        try:
            figures = asyncio.run(kills(Path(name), seed=arguments.seed, count=arguments.kills))
        finally:
            leave_nothing(Path(name))
    print(f"seed {arguments.seed}: {figures}")  # noqa: T201
    return 1 if figures.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

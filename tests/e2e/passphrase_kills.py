"""kill -9 of a node at random moments of `identity passphrase set`, `change` and `remove`: one way in, nothing lost.

    python3 dev.py kill9 passphrase [--kills 100] [--seed 1]

The long form of tests/e2e/test_passphrase_kills.py. tests/support/rekey_kills.py kills before each effect in turn; here
it is the whole node, asked by the command line, at any moment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peerpost.errors import PeerpostError
from peerpost.store import keyfile
from tests.support.nodes import Friend, leave_nothing, meet

__all__ = ["Figures", "kill_and_open"]

TEXTS = 150
TEXT_CHARS = 8000


@dataclass(kw_only=True)
class Figures:
    """What came of it."""

    kills: int = 0
    ended_before: int = 0
    """Commands that had ended when the kill came."""
    opened_by_old: int = 0
    opened_by_new: int = 0
    commands: dict[str, int] = field(default_factory=dict)


class Subject:
    """A home with a queue, its passphrase as far as it is known, and what must not be lost."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self.alice, self.bob = Friend("alice", folder), Friend("bob", folder)
        self._folder, self._draw = folder, draw
        self._written = 0
        self.word: Path | None = None
        """The file with the passphrase, None if there is none."""
        self.ids: list[str] = []

    async def fill(self) -> None:
        """Make the home, and queue what nobody takes."""
        alice, bob = self.alice, self.bob
        await asyncio.gather(alice.start(), bob.start())
        await asyncio.gather(alice.create(), bob.create())
        await meet(bob, alice)
        await bob.stop()
        for number in range(TEXTS):
            text = f"{number} " + self._draw.randbytes(TEXT_CHARS // 2).hex()
            entry = await alice.ask("send-net", {"contact": "bob", "text": text})
            self.ids.append(entry["id"])
        await alice.stop()

    def new_word(self) -> Path:
        """Write another passphrase into a file."""
        self._written += 1
        path = self._folder / f"word-{self._written}"
        path.write_text(f"correct horse battery staple {self._draw.getrandbits(64):x}\n")
        path.chmod(0o600)
        return path

    async def up(self) -> None:
        """Start the node and unlock the home."""
        given = () if self.word is None else ("--passphrase-file", str(self.word))
        await self.alice.cli("node", "start", *given)

    def draw_command(self) -> tuple[str, Path | None, list[str]]:
        """Return a command that fits, the passphrase that it leads to, and its arguments."""
        if self.word is None:
            new = self.new_word()
            return "set", new, ["--passphrase-file", str(new), "--no-recovery-code"]
        old = ["--passphrase-file", str(self.word)]
        if self._draw.random() < 0.4:
            return "remove", None, old
        new = self.new_word()
        return "change", new, [*old, "--new-passphrase-file", str(new)]

    async def check(self, new: Path | None) -> bool:
        """Find the one way in, and everything behind it; return whether that is the new one."""
        home = self.alice.home
        await self.alice.cli("node", "start")
        protected = keyfile.is_protected(home)
        found = set()
        for word in {self.word, new} - {None}:
            done = await self.alice.cli("identity", "lock", code=None)
            assert done.code == (0 if protected else 2), done
            given = ("--passphrase-file", str(word))
            done = await self.alice.cli("identity", "unlock", *given, code=None)
            assert done.code in ({0, 77} if protected else {0}), done
            if protected and done.code == 0:
                found.add(word)
        if not protected:
            assert None in {self.word, new}
            found.add(None)
        assert len(found) == 1, f"opened by {found}"
        (word,) = found
        is_new, self.word = word == new, word
        if protected:
            await self.alice.cli("identity", "unlock", "--passphrase-file", str(word))
        rows = (await self.alice.cli("queue", "list")).rows
        assert [row["id"] for row in rows] == self.ids, "lost"
        await self.alice.cli("node", "stop")
        left = {path.name for path in home.iterdir() if path.name.startswith(("store.db.", "."))}
        assert not left, left
        return is_new


async def kill_and_open(folder: Path, *, kills: int, seed: int) -> Figures:
    """Kill so often; return what came of it. Raises AssertionError."""
    draw, figures = random.Random(seed), Figures()
    subject = Subject(folder, draw)
    await subject.fill()
    took_s: dict[str, float] = {}
    while figures.kills < kills:
        await subject.up()
        pid = await subject.alice.node_pid()
        name, new, arguments = subject.draw_command()
        begun_s = time.monotonic()
        command = asyncio.create_task(
            subject.alice.cli("identity", "passphrase", name, *arguments, code=None)
        )
        if name not in took_s:
            done = await command
            assert done.code == 0, done
            took_s[name] = time.monotonic() - begun_s
        else:
            await asyncio.sleep(draw.uniform(0, 1.1 * took_s[name]))
            figures.kills += 1
            figures.ended_before += command.done()
            figures.commands[name] = figures.commands.get(name, 0) + 1
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await command
        if await subject.check(new):
            figures.opened_by_new += 1
        else:
            figures.opened_by_old += 1
    await asyncio.gather(subject.alice.close(), subject.bob.close())
    return figures


def main(argv: Sequence[str]) -> int:
    """Run the long form. Return the exit code."""
    parser = argparse.ArgumentParser(prog="dev.py kill9 passphrase", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="pp-words-") as name:
        try:
            figures: Any = asyncio.run(
                kill_and_open(Path(name), kills=arguments.kills, seed=arguments.seed)
            )
        except (AssertionError, PeerpostError) as error:
            sys.stdout.write(f"FAILED: {error}\n")
            return 1
        finally:
            leave_nothing(Path(name))
    sys.stdout.write(f"{figures}\n")
    return 0

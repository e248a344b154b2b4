"""A home that is put back from a copy while its contact has gone on: nothing lost, nothing twice, both told.

    python3 dev.py putback [--rounds N] [--seed S]

Each round draws who goes back (the sender or the receiver), how much was sent before the copy, after it and after it
was put back, whether the node was stopped or killed for the copy, whether the address changed in between, and whether
the texts after it are queued before or after the two meet again. tests/e2e/test_put_back.py is the short form.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.nodes import Friend, Link, leave_nothing, meet, until

__all__ = ["Outcome", "put_back"]

PATIENCE_S = 60.0
SIDES = ("sender", "receiver")


@dataclass(kw_only=True)
class Outcome:
    """What came of one round."""

    went_back: str
    course: str
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    """Who shows nothing of it."""
    stuck: str = ""
    """What never came."""

    @property
    def right(self) -> bool:
        """Whether all that was promised held."""
        return not (self.lost or self.twice or self.untold or self.stuck)


class _Round:
    """Alice sends to Bob; one of them is put back."""

    def __init__(self, folder: Path, draw: random.Random, went_back: str) -> None:
        self._draw = draw
        self._alice, self._bob = Friend("alice", folder), Friend("bob", folder)
        self._victim = self._alice if went_back == "sender" else self._bob
        self._copy = folder / "copy"
        self._number = 0
        self._moved = draw.random() < 0.5
        self._rough = draw.random() < 0.5
        self._apart = draw.random() < 0.5
        counts = [draw.randrange(0, 5), draw.randrange(1, 6), draw.randrange(1, 9)]
        self._before, self._between, self._after = counts
        self.outcome = Outcome(
            went_back=went_back,
            course=f"{counts}{' moved' * self._moved}{' rough' * self._rough}{' apart' * self._apart}",
        )

    async def run(self) -> Outcome:
        try:
            await asyncio.gather(self._alice.start(), self._bob.start())
            await asyncio.gather(self._alice.create(), self._bob.create())
            await meet(self._bob, self._alice)
            await self._course()
        except AssertionError as error:
            self.outcome.stuck = str(error)
        finally:
            await asyncio.gather(self._alice.close(), self._bob.close())
        return self.outcome

    async def _course(self) -> None:
        before = await self._send(self._before)
        await self._empty()
        await self._leave()
        shutil.copytree(self._victim.home, self._copy, ignore=shutil.ignore_patterns("*.sock"))
        if self._moved:
            await self._move()
        await self._victim.start()
        before += await self._send(self._between)
        await self._empty()
        await self._leave()
        shutil.rmtree(self._victim.home)
        shutil.copytree(self._copy, self._victim.home)
        if self._moved and self._draw.random() < 0.5:
            await self._move()
        if self._apart:
            await self._bob.stop()
        elif self._victim is self._bob:
            await self._bob.start()
        if self._victim is self._alice:
            await self._alice.start()
        after = await self._send(self._after)
        if self._apart:
            await self._bob.start()
        await self._compare(before, after)

    async def _move(self) -> None:
        """Give the victim another address, which only its next statement tells."""
        await self._victim.link.stop()
        self._victim.link = Link(0)

    async def _leave(self) -> None:
        await (self._victim.kill() if self._rough else self._victim.stop())

    async def _send(self, count: int) -> list[str]:
        sent = []
        for _ in range(count):
            self._number += 1
            text = f"text {self._number}"
            lane = self._draw.choice(("urgent", "bulk"))
            await self._alice.ask("send-net", {"contact": "bob", "text": text, "lane": lane})
            sent.append(text)
        return sent

    async def _empty(self) -> None:
        async def empty() -> bool:
            return not await self._alice.ask("queue.list", {})

        await until(empty, timeout_s=PATIENCE_S)

    async def _compare(self, before: list[str], after: list[str]) -> None:
        """All that Alice's home still knows to be sent has to be with Bob, once."""
        owed = set(before[: self._before] if self._victim is self._alice else before) | set(after)
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            got = Counter(await self._bob.texts())
            if owed <= set(got) or time.monotonic() > deadline_s:
                break
            await asyncio.sleep(0.1)
        await self._empty()
        await asyncio.sleep(0.3)  # Whatever would come twice has come by then.
        got = Counter(await self._bob.texts())
        self.outcome.lost = sorted(owed - set(got))
        self.outcome.twice = sorted(text for text, times in got.items() if times > 1)
        for one, contact in ((self._alice, "bob"), (self._bob, "alice")):
            if not await self._shows(one, contact):
                self.outcome.untold.append(one.name)

    async def _shows(self, one: Friend, contact: str) -> bool:
        shown = await one.ask("contacts.show", {"name": contact})
        if shown.get("restored"):
            return any("put back" in row["found"] for row in await one.ask("doctor"))
        return "older" in one.log_text()


async def put_back(folder: Path, *, seed: int, went_back: str) -> Outcome:
    """Run one round in a folder of its own and return what came of it."""
    return await _Round(folder, random.Random(seed), went_back).run()


def main(argv: Sequence[str]) -> int:
    """Run the long form. Return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 dev.py putback", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=20, help="half of them each side")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args(argv)
    wrong = 0
    for number in range(arguments.rounds):
        seed = arguments.seed + number
        with tempfile.TemporaryDirectory(prefix="pp-back-") as name:
            try:
                side = SIDES[number % 2]
                outcome = asyncio.run(put_back(Path(name), seed=seed, went_back=side))
            finally:
                leave_nothing(Path(name))
        wrong += not outcome.right
        print(f"seed {seed}: {'right' if outcome.right else 'WRONG'} {outcome}", flush=True)  # noqa: T201
    print(f"{arguments.rounds} rounds, {wrong} wrong")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

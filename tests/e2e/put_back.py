"""A home that is put back from a copy while its contact has gone on: nothing lost, nothing twice, both told.

    python3 dev.py putback [--rounds N] [--seed S]

Each round puts back the sender, the receiver, or the sender and then the receiver to an older copy. It draws how much
was sent before the copy, after it and after it was put back, whether the node was stopped or killed for the copy, whose
address changed in between, and whether the texts after it are queued before or after the two meet again.
tests/e2e/test_put_back.py is the short form.
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

__all__ = ["SIDES", "Outcome", "put_back"]

PATIENCE_S = 60.0
_SOCKETS = shutil.ignore_patterns("*.sock")
SIDES = ("sender", "receiver", "both")


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
    """Alice sends to Bob; one of them is put back, or she first and then he."""

    def __init__(self, folder: Path, draw: random.Random, went_back: str) -> None:
        self._draw = draw
        self._alice, self._bob = Friend("alice", folder), Friend("bob", folder)
        # In the order in which their copies are made: who is put back last goes back furthest.
        self._victims = {"sender": [self._alice], "receiver": [self._bob]}.get(
            went_back, [self._bob, self._alice]
        )
        self._folder = folder
        self._number = 0
        self._sent_last: list[str] = []
        # Of two who both move while each has an old copy, neither could find the other.
        self._mover = draw.choice(self._victims) if draw.random() < 0.5 else None
        self._rough = draw.random() < 0.5
        self._apart = draw.random() < 0.5
        counts = [draw.randrange(0, 5), draw.randrange(1, 6), draw.randrange(1, 9)]
        self._before, self._between, self._after = counts
        moved = "" if self._mover is None else f" {self._mover.name} moved"
        course = f"{counts}{moved}{' rough' * self._rough}{' apart' * self._apart}"
        self.outcome = Outcome(went_back=went_back, course=course)

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
        batches = [await self._send(self._before)]
        for victim in self._victims:
            await self._empty()
            await self._leave(victim)
            shutil.copytree(victim.home, self._copy(victim), ignore=_SOCKETS)
            if victim is self._mover:
                await self._move(victim)
            await victim.start()
            batches.append(await self._send(self._between))
        # The last batch is what Alice's copy does not know.
        owed = batches[: len(self._victims)] if self._alice in self._victims else batches
        for victim in reversed(self._victims):
            await self._empty()
            await self._leave(victim)
            shutil.rmtree(victim.home)
            shutil.copytree(self._copy(victim), victim.home)
            if victim is self._mover and self._draw.random() < 0.5:
                await self._move(victim)
            if victim is not self._victims[0]:
                await victim.start()
        await self._meet_again()
        await self._compare([text for batch in owed for text in batch])

    async def _meet_again(self) -> None:
        """Start who was put back last, and send more before the two meet, or after."""
        last = self._victims[0]
        if self._apart and last is self._alice:
            await self._bob.stop()
        if not (self._apart and last is self._bob):
            await last.start()
        self._sent_last = await self._send(self._after)
        if self._apart:
            await self._bob.start()

    def _copy(self, victim: Friend) -> Path:
        return self._folder / f"copy-{victim.name}"

    async def _move(self, victim: Friend) -> None:
        """Give somebody another address, which only the next statement tells."""
        await victim.link.stop()
        victim.link = Link(0)

    async def _leave(self, victim: Friend) -> None:
        await (victim.kill() if self._rough else victim.stop())

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

    async def _compare(self, before: list[str]) -> None:
        """All that Alice's home still knows to be sent has to be with Bob, once."""
        owed = {*before, *self._sent_last}
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
    parser.add_argument("--rounds", type=int, default=20, help="a third of them each way")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args(argv)
    wrong = 0
    for number in range(arguments.rounds):
        seed = arguments.seed + number
        with tempfile.TemporaryDirectory(prefix="pp-back-") as name:
            try:
                side = SIDES[number % 3]
                outcome = asyncio.run(put_back(Path(name), seed=seed, went_back=side))
            finally:
                leave_nothing(Path(name))
        wrong += not outcome.right
        print(f"seed {seed}: {'right' if outcome.right else 'WRONG'} {outcome}", flush=True)  # noqa: T201
    print(f"{arguments.rounds} rounds, {wrong} wrong")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

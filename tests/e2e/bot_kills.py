"""kill -9 of a bot, of its node and of the node of who asks: each text is answered, and none twice.

    python3 dev.py kill9 bot [--kills N] [--seed S]

The bot is that of docs/jobs/bot.md, word for word. Whoever asks has a key for each text too, and asks again whenever it
does not know whether it was sent. tests/e2e/test_bot_kills.py is the short form.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from peerpost.client import Client
from peerpost.errors import PeerpostError, StorageError, UnavailableError
from tests.support.nodes import Friend, leave_nothing, meet, until

__all__ = ["Figures", "kill_and_count"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "jobs" / "bot.md"
DRAIN_S = 120.0
LONGEST_PAUSE_S = 0.4


@dataclass(kw_only=True)
class Figures:
    """What came of it."""

    kills: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    answered: int = 0
    seconds: float = 0.0


def bot_of_the_page() -> str:
    """Return the program that the page shows."""
    found = re.search(r"answer\.py <<'EOF'\n(.*?)^EOF$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


class Campaign:
    """Alice asks, the bot answers, and somebody kills them."""

    def __init__(self, folder: Path, draw: random.Random) -> None:
        self._draw = draw
        self.alice, self.bot = Friend("alice", folder), Friend("bot", folder)
        self._program = folder / "answer.py"
        self._program.write_text(bot_of_the_page(), encoding="utf-8")
        self._process: asyncio.subprocess.Process | None = None
        self.figures = Figures()
        self.asks = True

    async def begin(self) -> None:
        """Make them contacts of each other, and start the bot."""
        await asyncio.gather(self.alice.start(), self.bot.start())
        await asyncio.gather(self.alice.create(), self.bot.create())
        await meet(self.alice, self.bot)
        # From now on, the bot's node is started by the bot.
        await self.bot.stop()
        await self._start_bot()

    async def _start_bot(self) -> None:
        with self._program.with_suffix(".log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, str(self._program),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | {"PEERPOST_HOME": str(self.bot.home)},
            )  # fmt: skip

    async def ask(self) -> None:
        """Ask one thing after the other, for as long as there are kills."""
        client = Client(self.alice.home, spawn=False)
        while self.asks:
            number = self.figures.asked
            try:
                text = f"text {number}"
                await asyncio.to_thread(client.send, "bot", text, once=f"question {number}")
                self.figures.asked += 1
            except (UnavailableError, StorageError):
                pass
            await asyncio.sleep(self._draw.uniform(0, 0.1))

    async def kill(self, count: int) -> None:
        """Kill so often, one or two at a time."""
        for _ in range(count):
            await asyncio.sleep(self._draw.uniform(0, LONGEST_PAUSE_S))
            for victim in self._draw.sample(
                ("bot", "its node", "alice"), self._draw.choice((1, 2))
            ):
                self.figures.kills[victim] += 1
                await self._kill(victim)
        self.asks = False

    async def _kill(self, victim: str) -> None:
        if victim == "alice":
            await self.alice.kill()
            await self.alice.start()
        elif victim == "bot" and self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            assert await self._process.wait() == -signal.SIGKILL, "the bot has ended by itself"
            await self._start_bot()
        elif (pid := await self.bot.node_pid()) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def answers(self) -> list[str]:
        """Return the answers that have arrived, in their order."""
        return await self.alice.texts()

    async def all_answered(self) -> None:
        """Wait until as many answers are there as questions were asked."""

        async def all_here() -> bool:
            return len(await self.answers()) >= self.figures.asked

        await until(all_here, timeout_s=DRAIN_S, step_s=0.2)
        # One too many would come now.
        await asyncio.sleep(1)

    async def end(self) -> None:
        """End them all."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        await asyncio.gather(self.alice.close(), self.bot.close())

    @property
    def log_text(self) -> str:
        """What they have logged."""
        bot = self._program.with_suffix(".log").read_text(errors="replace")
        return f"{bot}\n{self.alice.log_text()}\n{self.bot.log_text()}"


async def kill_and_count(folder: Path, *, kills: int, seed: int) -> Figures:
    """Kill so often; return what came of it. Raises AssertionError."""
    campaign = Campaign(folder, random.Random(seed))
    figures, begun_s = campaign.figures, time.monotonic()
    try:
        await campaign.begin()
        asking = asyncio.ensure_future(campaign.ask())
        try:
            await campaign.kill(kills)
        finally:
            campaign.asks = False
            await asking
        await campaign.all_answered()
        answers = await campaign.answers()
        figures.answered, figures.seconds = len(answers), round(time.monotonic() - begun_s, 1)
        assert answers == [f"TEXT {number}" for number in range(figures.asked)], answers
    except BaseException:
        sys.stderr.write(campaign.log_text[-20_000:])
        raise
    finally:
        await campaign.end()
    return figures


def main(argv: Sequence[str]) -> int:
    """Run the long form. Return the exit code."""
    parser = argparse.ArgumentParser(prog="dev.py kill9 bot", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="pp-bot-") as name:
        try:
            figures = asyncio.run(
                kill_and_count(Path(name), kills=arguments.kills, seed=arguments.seed)
            )
        except (AssertionError, PeerpostError) as error:
            sys.stdout.write(f"FAILED: {error}\n")
            return 1
        finally:
            leave_nothing(Path(name))
    sys.stdout.write(f"{figures}\n")
    return 0

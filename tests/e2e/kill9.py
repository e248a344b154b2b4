"""kill -9 of both nodes, again and again, while messages go both ways: nothing lost, doubled or reordered.

    python3 dev.py kill9 [--kills N] [--messages M]
    python3 dev.py kill9 transfer [--kills N] [--size BYTES]     (tests/e2e/transfer_kills.py)
    python3 dev.py kill9 backup [--kills N] [--seed S]           (tests/e2e/backup_kills.py)
    python3 dev.py kill9 passphrase [--kills N]                  (tests/e2e/passphrase_kills.py)
    python3 dev.py kill9 bot [--kills N] [--seed S]              (tests/e2e/bot_kills.py)

The long form. Progress lies in build/kill9, so an interrupted run goes on where it was; what each
whole run found is added to build/kill9-results.jsonl. tests/e2e/test_kills.py is the short form.

What counts as sent is what the node said is queued. A request that a kill left unanswered may have
been done or not: its message may arrive once or never, and the next one has another number.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from peerpost.client.connection import UnansweredError
from peerpost.errors import PeerpostError, UnavailableError
from tests.e2e import backup_kills, bot_kills, passphrase_kills, transfer_kills
from tests.support.nodes import Friend, leave_nothing, meet, until

__all__ = ["Campaign", "Figures"]

ROOT = Path(__file__).resolve().parents[2]
LANES = (("alice", "bob", "urgent"), ("alice", "bob", "bulk"), ("bob", "alice", "urgent"))
"""What goes where: two lanes one way, one the other."""
DRAIN_S = 180.0
"""Longest that the rest may take once nobody is killed any more."""


@dataclass(kw_only=True)
class Figures:
    """What came of a campaign."""

    kills: int = 0
    kills_starting: int = 0
    """Of these, before the node was ready."""
    queued: int = 0
    """Messages that a node said it has."""
    unanswered: int = 0
    """Requests that a kill cut off."""
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    unknown: int = 0
    """Received, and never sent."""
    uneven: int = 0
    """Entries of an outbox more or fewer than what arrived of it."""
    seconds: float = 0.0
    examples: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        """How much went wrong."""
        return self.lost + self.duplicated + self.reordered + self.unknown + self.uneven


class Journal:
    """What was tried, queued and killed, in a file that a broken run is read back from."""

    def __init__(self, path: Path) -> None:
        self.tried: Counter[int] = Counter()
        """Highest number tried, by flow."""
        self.queued: dict[int, list[int]] = {flow: [] for flow in range(len(LANES))}
        self.figures = Figures()
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                self._apply(*json.loads(line))
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def note(self, what: str, value: float, flow: int = 0) -> None:
        """Add something that happened."""
        self._file.write(json.dumps([what, value, flow]) + "\n")
        self._apply(what, value, flow)

    def _apply(self, what: str, value: Any, flow: int) -> None:
        figures = self.figures
        match what:
            case "try":
                self.tried[flow] = value
            case "queued":
                self.queued[flow].append(value)
                figures.queued += 1
            case "unanswered":
                figures.unanswered += 1
            case "kill" | "kill starting":
                figures.kills += 1
                figures.kills_starting += what == "kill starting"
            case "seconds":
                figures.seconds += value

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Campaign:
    """Two people, their nodes, and somebody who keeps killing them."""

    def __init__(self, folder: Path, *, kills: int, messages: int, seed: int) -> None:
        self._folder = folder
        self._kills, self._messages = kills, messages
        self._draw = random.Random(seed)
        self._people = {name: Friend(name, folder) for name in ("alice", "bob")}
        self._journal = Journal(folder / "journal.jsonl")
        self._allowed = 0
        self._done = False
        self._started_s = time.monotonic()

    @property
    def log_text(self) -> str:
        """What both nodes have logged."""
        return "\n".join(friend.log_text() for friend in self._people.values())

    async def run(self) -> Figures:
        """Kill and send to the end, let everything arrive, and count."""
        try:
            await self._begin()
            senders = [asyncio.ensure_future(self._send(flow)) for flow in range(len(LANES))]
            try:
                await self._kill_all()
                self._allowed = self._messages
                await asyncio.gather(*senders)
            finally:
                for sender in senders:
                    sender.cancel()
                await asyncio.gather(*senders, return_exceptions=True)
            await self._drain()
            await self._count()
        finally:
            self._journal.note("seconds", round(time.monotonic() - self._started_s, 1))
            self._journal.close()
            for friend in self._people.values():
                await friend.close()
        return self._journal.figures

    # -- the course

    async def _begin(self) -> None:
        alice, bob = self._people.values()
        known = (self._folder / "met").exists()
        for friend in (alice, bob):
            await friend.start()
        if not known:
            for friend in (alice, bob):
                await friend.create()
            await meet(bob, alice)
            (self._folder / "met").touch()
        for friend, other in ((alice, bob), (bob, alice)):
            # The links of an earlier run had other ports.
            address = f"/ip4/127.0.0.1/tcp/{other.link.port}"
            await friend.ask("contacts.edit", {"name": other.name, "addresses": [address]})

    async def _kill_all(self) -> None:
        names = list(self._people)
        figures = self._journal.figures
        while figures.kills < self._kills:
            victim = self._people[names[figures.kills % 2]]
            # The messages are spread over the kills: each falls into some traffic.
            self._allowed = self._messages * (figures.kills + 1) // self._kills
            if self._draw.random() < 0.5:
                await self._online(victim)
            await asyncio.sleep(self._draw.uniform(0, 0.25))
            await victim.kill()
            self._journal.note("kill", figures.kills)
            if self._draw.random() < 0.125 and figures.kills < self._kills:
                await self._kill_starting(victim)
            await victim.start()

    async def _kill_starting(self, victim: Friend) -> None:
        starting = asyncio.ensure_future(victim.start())
        await asyncio.sleep(self._draw.uniform(0.05, 0.8))
        await victim.kill()
        with contextlib.suppress(UnavailableError):
            await starting
        await victim.kill()
        self._journal.note("kill starting", self._journal.figures.kills)

    async def _online(self, friend: Friend) -> None:
        async def online() -> bool:
            return any(row["online"] for row in await friend.ask("contacts.list"))

        await until(online, step_s=0.02)

    # -- sending

    async def _send(self, flow: int) -> None:
        sender, receiver, lane = LANES[flow]
        journal = self._journal
        while (number := journal.tried[flow] + 1) and self._left():
            if sum(journal.tried.values()) >= self._allowed:
                await asyncio.sleep(0.005)
                continue
            journal.note("try", number, flow)
            wanted = {"contact": receiver, "text": f"{flow} {number}", "lane": lane}
            if await self._queue(self._people[sender], wanted):
                journal.note("queued", number, flow)
            else:
                journal.note("unanswered", number, flow)

    def _left(self) -> bool:
        return sum(self._journal.tried.values()) < self._messages

    async def _queue(self, sender: Friend, wanted: dict[str, Any]) -> bool:
        """Queue a text, however often the node is away; False where a kill left it open."""
        while True:
            try:
                entry = await sender.ask("send-net", wanted)
            except UnansweredError:
                return False
            except UnavailableError:
                # Nobody has read it.
                await asyncio.sleep(0.02)
            else:
                assert entry["state"] in {"queued", "sent", "delivered"}, entry
                return True

    async def _drain(self) -> None:
        async def empty() -> bool:
            return not any([await one.ask("queue.list", {}) for one in self._people.values()])

        await until(empty, timeout_s=DRAIN_S)

    # -- counting

    async def _count(self) -> None:
        figures = self._journal.figures
        figures.received = figures.lost = figures.duplicated = 0
        for flow, (sender, receiver, lane) in enumerate(LANES):
            texts = [text.split() for text in await self._people[receiver].texts()]
            got = [int(number) for of, number in texts if int(of) == flow]
            entries = await self._people[sender].ask("sent.list", {"limit": 1_000_000})
            self._compare(flow, got, [row for row in entries if row["lane"] == lane])

    def _compare(self, flow: int, got: list[int], entries: list[dict[str, Any]]) -> None:
        figures = self._journal.figures
        queued = self._journal.queued[flow]
        lost = sorted(set(queued) - set(got))
        twice = [number for number, times in Counter(got).items() if times > 1]
        early = [after for before, after in pairwise(got) if after < before]
        unknown = [number for number in got if not 0 < number <= self._journal.tried[flow]]
        figures.received += len(got)
        figures.lost += len(lost)
        figures.duplicated += len(twice)
        figures.reordered += len(early)
        figures.unknown += len(unknown)
        figures.uneven += abs(len(entries) - len(got))
        for what, numbers in (("lost", lost), ("twice", twice), ("early", early)):
            figures.examples += [f"flow {flow}: {number} {what}" for number in numbers[:3]]


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 dev.py kill9", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=int(os.environ.get("KILL9_KILLS", "200")))
    parser.add_argument(
        "--messages", type=int, default=int(os.environ.get("KILL9_MESSAGES", "5000"))
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--new", action="store_true", help="forget an interrupted run")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - figures for whoever runs it


def main(argv: Sequence[str]) -> int:
    """Run the long form. Return the exit code."""
    if argv[:1] == ["backup"]:
        return backup_kills.main(argv[1:])
    if argv[:1] == ["transfer"]:
        return transfer_kills.main(argv[1:])
    if argv[:1] == ["passphrase"]:
        return passphrase_kills.main(argv[1:])
    if argv[:1] == ["bot"]:
        return bot_kills.main(argv[1:])
    arguments = _arguments(argv)
    folder, results = ROOT / "build" / "kill9", ROOT / "build" / "kill9-results.jsonl"
    if arguments.new:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    leave_nothing(folder)
    _say(f"{arguments.kills} kills, {arguments.messages} messages, seed {arguments.seed}")
    campaign = Campaign(
        folder, kills=arguments.kills, messages=arguments.messages, seed=arguments.seed
    )
    try:
        figures = asyncio.run(campaign.run())
    except (AssertionError, PeerpostError) as error:
        _say(f"stopped: {error}\nsee {folder}; the same command goes on, --new begins anew")
        return 1
    finally:
        leave_nothing(folder)
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(figures) | {"seed": arguments.seed}) + "\n")
    runs = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    for name, value in asdict(figures).items():
        _say(f"  {name:<15} {value!s:<10} all {len(runs)} runs: {_total(runs, name)}")
    if figures.faults:
        _say(f"FAILED; everything is kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _total(runs: list[dict[str, Any]], name: str) -> Any:
    values = [run[name] for run in runs]
    return round(sum(values), 1) if not isinstance(values[0], list) else sum(map(len, values))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Files over links that lose, double, reorder and damage, with either side killed: many seeds.

Each run must end with the very bytes that were sent, or with a cause; set PEERPOST_SEEDS for more.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from peerpost.protocol import transfer as commands
from peerpost.protocol.receiving import ReceivePolicy, State
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.reference import ReferenceSource, describe
from peerpost.store.files.sealed import End, SealedFile
from peerpost.store.files.spool import SpoolSource, spool
from tests.support.file_rig import Chaos, FileRig, ReceiverSide, SenderSide

SEEDS = int(os.environ.get("PEERPOST_SEEDS", "25"))
LOG2 = 14
CHUNK = 1 << LOG2
WINDOW = 8
POLICY = ReceivePolicy(max_window_bytes=WINDOW * CHUNK)


class Pair:
    """A file, its sender and its receiver."""

    def __init__(self, folder: Path, seed: int, chaos: Chaos, *, kind: str = "any") -> None:
        self.draw = random.Random(seed)
        kind = self.draw.choice(["spool", "reference"]) if kind == "any" else kind
        self.data = self.draw.randbytes(
            self.draw.choice([0, 1, CHUNK, 2 * CHUNK, 5 * CHUNK + 1, 40 * CHUNK, 40 * CHUNK + 99])
        )
        keys = Sealer(file_id=self.draw.randbytes(16), key=self.draw.randbytes(32), chunk_log2=LOG2)
        self.rig = FileRig(seed, chaos)
        source = folder / "source"
        source.write_bytes(self.data)
        end: End | None = None
        with source.open("rb") as file:
            reference = describe(file.fileno(), str(source))
            if kind != "reference":
                with SealedFile.create(folder / "out", keys) as sealed:
                    end = spool(file.fileno(), sealed)
        self.size = None if kind == "stream" else len(self.data)

        def open_source() -> SpoolSource | ReferenceSource:
            if kind == "reference":
                return ReferenceSource(reference, keys, folder / "out.leaves")
            return SpoolSource(SealedFile.open(folder / "out", keys), size=len(self.data))

        stream = kind == "stream"
        self.sender = SenderSide(
            self.rig,
            keys,
            open_source,
            size=self.size,
            end=None if stream else end,
            available=0 if stream else None,
        )
        self.receiver = ReceiverSide(self.rig, keys, folder, size=self.size, policy=POLICY)
        if stream and end is not None:
            self._grow(end)
        self.folder, self.keys, self.end = folder, keys, end

    def _grow(self, end: End) -> None:
        """Let the chunks of a stream come to be, one after another, and then its end."""
        at_s = 0.0
        for available in range(1, end.count):
            at_s += self.draw.choice([0.0, 0.01, 1.0, 30.0])
            self.rig.clock.later(at_s, lambda n=available: self.sender.grow(n))
        self.rig.clock.later(at_s + 0.1, lambda: self.sender.end(end))

    def run(self, *, kills: int = 0) -> None:
        self.rig.connect()
        for _ in range(kills):
            side = self.draw.choice([self.sender, self.receiver])
            self.rig.clock.later(self.draw.uniform(0, 2), side.kill)
        self.rig.run(lambda: self.receiver.outcome is not None)

    def saved(self) -> bytes:
        finish = self.receiver.machine.finish
        assert finish is not None
        end = End(size=finish.size, count=finish.count, root=finish.root)
        target = self.folder / "saved"
        sealed = SealedFile.open(self.receiver.final, self.keys)
        with sealed, target.open("wb") as file:
            sealed.read_out(end, file.write)
        return target.read_bytes()

    def close(self) -> None:
        self.rig.close()

    def check(self) -> None:
        """Hold that what came is what was sent, or that the end has a cause and left no file."""
        outcome = self.receiver.outcome
        if isinstance(outcome, commands.Completed):
            assert self.saved() == self.data
        else:
            assert isinstance(outcome, commands.Failed | commands.Cancelled)
            assert outcome.cause
            assert not self.receiver.final.exists()


class MakePair(Protocol):
    def __call__(
        self, seed: int, chaos: Chaos, *, kind: str = "any", folder: Path | None = None
    ) -> Pair: ...


@pytest.fixture
def make(tmp_path: Path) -> Iterator[MakePair]:
    with contextlib.ExitStack() as stack:

        def make(seed: int, chaos: Chaos, *, kind: str = "any", folder: Path | None = None) -> Pair:
            pair = Pair(folder or tmp_path, seed, chaos, kind=kind)
            return stack.enter_context(contextlib.closing(pair))

        yield make


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", ["spool", "reference", "stream"])
def test_a_quiet_link_sends_each_chunk_once(make: MakePair, kind: str, seed: int) -> None:
    pair = make(seed, Chaos(delay_s=0.001 * (seed % 5)), kind=kind)
    pair.run()
    assert isinstance(pair.receiver.outcome, commands.Completed)
    assert pair.saved() == pair.data
    assert sorted(pair.sender.sent) == list(range(max(1, -(-len(pair.data) // CHUNK))))
    pair.rig.run(lambda: pair.sender.outcome is not None)
    assert isinstance(pair.sender.outcome, commands.Delivered)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("kind", ["spool", "reference", "stream"])
def test_kills_send_less_than_a_window_again(make: MakePair, kind: str, seed: int) -> None:
    pair = make(1000 + seed, Chaos(delay_s=0.02), kind=kind)
    kills = 6
    pair.run(kills=kills)
    assert isinstance(pair.receiver.outcome, commands.Completed)
    assert pair.saved() == pair.data
    count = max(1, -(-len(pair.data) // CHUNK))
    assert len(pair.sender.sent) <= count + kills * WINDOW
    pair.rig.run(lambda: pair.sender.outcome is not None)
    assert isinstance(pair.sender.outcome, commands.Delivered)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize(
    "chaos",
    [
        Chaos(drop=0.02),
        Chaos(duplicate=0.3),
        Chaos(reorder=0.1),
        Chaos(flip=0.01),
        Chaos(cut=0.01),
        Chaos(drop=0.03, duplicate=0.1, reorder=0.05, flip=0.005, cut=0.005),
    ],
    ids=["drop", "duplicate", "reorder", "flip", "cut", "all"],
)
def test_chaos_never_gives_a_wrong_byte(make: MakePair, chaos: Chaos, seed: int) -> None:
    pair = make(2000 + seed, chaos)
    pair.run(kills=seed % 4)
    pair.check()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_stream_through_chaos(make: MakePair, seed: int) -> None:
    chaos = Chaos(drop=0.01, duplicate=0.1, reorder=0.02, cut=0.002)
    pair = make(3000 + seed, chaos, kind="stream")
    pair.run(kills=seed % 3)
    pair.check()


def test_most_runs_through_chaos_complete(tmp_path: Path, make: MakePair) -> None:
    chaos = Chaos(drop=0.01, duplicate=0.1, reorder=0.02, flip=0.002, cut=0.003)
    done = 0
    for seed in range(12):
        folder = tmp_path / str(seed)
        folder.mkdir()
        pair = make(4000 + seed, chaos, folder=folder)
        pair.run(kills=2)
        pair.check()
        done += isinstance(pair.receiver.outcome, commands.Completed)
    assert done >= 10


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_full_disk_pauses_and_loses_nothing(make: MakePair, seed: int) -> None:
    pair = make(5000 + seed, Chaos(), kind="spool")
    pair.receiver.fail_writes = 1 + seed % 3
    pair.rig.connect()
    machine = pair.receiver.machine
    while pair.receiver.fail_writes:
        pair.rig.run(lambda: machine.state is State.PAUSED and not machine.checking)
        assert pair.receiver.machine.cause == "the disk is full"
        assert pair.receiver.in_memory == 0
        pair.receiver.machine.resume(pair.rig.clock.now_s)
        pair.receiver.obey()
    pair.rig.run(lambda: pair.receiver.outcome is not None)
    assert pair.saved() == pair.data

"""A power cut at any moment: what the store said is safe is on the disk.

The disk is a model (tests/support/powercut.py). That the test can fail is shown by the second one:
with `synchronous=NORMAL`, which most programs use, the same cuts lose what was answered.
`PEERPOST_CUTS=20000` sets how many cuts; without it the test takes some seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from peerpost.errors import PeerpostError
from peerpost.store.db import engine
from peerpost.store.db.engine import Store
from peerpost.store.tables import entries as store_entries
from peerpost.store.tables import outbox
from peerpost.wire import inner as wire
from tests.support.powercut import VFS_NAME, Disk
from tests.support.store_rig import Rig, queue_next

CUTS = int(os.environ.get("PEERPOST_CUTS", "120"))
SEED = os.environ.get("PEERPOST_SEED", "5")
ROUNDS = 120


class FullStore(Store):
    vfs = VFS_NAME


class NormalStore(FullStore):
    synchronous = "normal"


@dataclass(frozen=True)
class Answered:
    """What the callers knew at a moment."""

    moment: int
    queued: int
    delivered: int


def body(seq: int) -> str:
    return f"{seq} " + "y" * (seq * 7919 % 6000)


async def queue_some(store: Store, contact_id: str, count: int) -> list[outbox.Entry]:
    return await asyncio.gather(*(store.write(queue_next, contact_id, body) for _ in range(count)))


def work(
    folder: Path, store_class: type[Store], draw: random.Random
) -> tuple[Disk, list[Answered]]:
    """Fill a store, with one restart on the way; return its disk and what was answered when."""
    disk = Disk(folder)
    rig = Rig(folder, store_class=store_class)
    rig.make_identity()
    contact_id = rig.make_contact("bob").id
    queued = delivered = 0
    answered = [Answered(disk.now, 0, 0)]
    for number in range(ROUNDS):
        entries = rig.run(queue_some(rig.store, contact_id, draw.randint(1, 4)))
        queued = max(entry.seq for entry in entries)
        answered.append(Answered(disk.now, queued, delivered))
        if number % 5 == 4:
            delivered = draw.randint(delivered, queued)
            rig.acknowledge(entries[0], delivered)
            answered.append(Answered(disk.now, queued, delivered))
        if number == ROUNDS // 2:
            rig.close()
            rig = Rig(folder, store_class=store_class)
    rig.close()
    return disk, answered


def verdict(image: dict[str, bytes], folder: Path, known: Answered) -> str:
    """Open what a cut left and say how it stands beside what was answered."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in image.items():
        (folder / name).write_bytes(data)
    try:
        with Rig(folder) as rig:
            if not rig.rows("SELECT 1 FROM identity"):
                return "lost"
            return compare(rig, known)
    except PeerpostError as error:
        return f"damaged: {error.message}"


def compare(rig: Rig, known: Answered) -> str:
    entries = rig.read(store_entries.list_entries, contact_id=None, pending=False, limit=10**6)[
        ::-1
    ]
    if [entry.seq for entry in entries] != list(range(1, len(entries) + 1)):
        return "holes"
    for entry in entries:
        made = wire.decode(entry.inner)
        if not isinstance(made, wire.Message) or made.body.decode() != body(entry.seq):
            return "wrong"
    delivered = sum(entry.state == "delivered" for entry in entries)
    return "lost" if len(entries) < known.queued or delivered < known.delivered else "whole"


def cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store_class: type[Store], cuts: int
) -> Counter[str]:
    """Cut the power many times; count the verdicts."""
    # Often enough that cuts fall into checkpoints too.
    monkeypatch.setattr(engine, "WAL_CHECKPOINT_PAGES", 40)
    monkeypatch.setattr(engine, "WAL_BUSY_PAGES", 40)
    draw = random.Random(f"{SEED} {store_class.synchronous}")
    live = tmp_path / "live"
    live.mkdir()
    disk, answered = work(live, store_class, draw)
    found: Counter[str] = Counter()
    for _ in range(cuts):
        moment = draw.randint(answered[0].moment, answered[-1].moment)
        known = max((a for a in answered if a.moment <= moment), key=lambda a: a.moment)
        found[verdict(disk.after_cut(moment, draw), tmp_path / "image", known)] += 1
    return found


@pytest.mark.slow
@pytest.mark.timeout(60 + CUTS)
def test_nothing_that_was_answered_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cut(tmp_path, monkeypatch, FullStore, CUTS) == {"whole": CUTS}


@pytest.mark.slow
@pytest.mark.timeout(60 + CUTS)
def test_the_same_cuts_lose_something_with_less_syncing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cut(tmp_path, monkeypatch, NormalStore, 25)
    assert found["lost"] > 0
    # It loses the newest, and the model leaves the rest readable: it is not that all breaks.
    assert set(found) <= {"lost", "whole"}

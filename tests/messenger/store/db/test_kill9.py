"""kill -9 at any moment: what the store said is safe is there, once, and in order.

`PEERPOST_KILLS=1000` sets how often; without it the test takes some seconds.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from peerpost.store.tables import contacts, inbox
from peerpost.wire import inner as wire
from tests.support.store_rig import Rig
from tests.support.store_writer import body

KILLS = int(os.environ.get("PEERPOST_KILLS", "15"))
ROOT = Path(__file__).parents[4]


def write_until_killed(home: Path, writers: int, lines: int, life_s: float) -> list[str]:
    """Have a process write and kill it; return what it said, whole lines only.

    It lives until it has said so many lines, and for life_s more.
    """
    command = [sys.executable, "-m", "tests.support.store_writer", str(home), str(writers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            said = b"".join(process.stdout.readline() for _ in range(lines))
            time.sleep(life_s)
        finally:
            process.kill()
        said += process.stdout.read()
    assert process.returncode == (1 if sys.platform == "win32" else -9), (
        "the writer ended by itself"
    )
    return said.decode().split("\n")[:-1]


def check(home: Path, said: Counter[str]) -> None:
    """Hold what is in the store against the highest numbers that were told."""
    with Rig(home) as rig:
        assert rig.read(lambda db: db.pragma("integrity_check")) == "ok"
        found = rig.read(contacts.list_all)
        if not found:
            assert not said
            return
        (bob,) = found
        entries = rig.unsettled(bob.id)
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert len(entries) >= said["q"]
        prev = wire.FIRST_LINK
        for entry in entries:
            made = wire.decode(entry.inner)
            assert isinstance(made, wire.Message)
            assert (made.prev, made.body.decode()) == (prev, body(entry.seq))
            prev = wire.link(entry.inner, made)
        items = rig.read(
            inbox.list_items, contact_id=bob.id, unread=True, limit=10**6, since_ms=None
        )
        assert [item.body for item in reversed(items)] == [
            body(number + 1).encode() for number in range(len(items))
        ]
        assert not any(item.gap for item in items)
        assert len(items) >= said["r"]
        assert sum(mark.watermark for mark in rig.read(inbox.watermarks, bob.id)) == len(items)


@pytest.mark.slow
@pytest.mark.timeout(60 + 10 * KILLS)
def test_nothing_that_was_answered_is_lost(tmp_path: Path) -> None:
    draw = random.Random(os.environ.get("PEERPOST_SEED", "9"))
    said: Counter[str] = Counter()
    for _ in range(KILLS):
        if draw.random() < 0.2:
            lines, life_s = 0, draw.uniform(0.0, 0.4)  # while it starts, mostly
        else:
            lines, life_s = draw.randint(1, 40), draw.uniform(0.0, draw.choice([0.002, 0.05]))
        for line in write_until_killed(tmp_path, draw.choice([1, 3, 20]), lines, life_s):
            kind, _, number = line.partition(" ")
            if number:
                said[kind] = max(said[kind], int(number))
        check(tmp_path, said)
    assert said["q"] > 0
    assert said["r"] > 0

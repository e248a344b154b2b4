"""The spool of a home: kill -9 at any step loses no content, and leaves nothing that a start does not sweep away.

`PEERPOST_KILLS=1000` tries every step; without it some of them.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from peerpost.node.files.spool import Spool
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import _Stored
from peerpost.store.files.spool import SharedSource, SpoolSource
from peerpost.store.tables import transfers
from peerpost.store.tables.transfers import Transfer
from tests.support.spool_writer import DATA, services_of
from tests.support.store_rig import Rig

ROOT = Path(__file__).parents[4]
KILLS = int(os.environ.get("PEERPOST_KILLS", "4"))
STEPS = 30
"""More than the process makes."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "source").write_bytes(DATA)
    home = tmp_path / "home"
    (home / "spool").mkdir(parents=True)
    with Rig(home) as rig:
        rig.make_identity()
        for name in ("bob", "carol", "dave"):
            rig.make_contact(name)
    return home


def run(home: Path, fatal: int) -> int:
    command = [sys.executable, "-m", "tests.support.spool_writer", str(home), str(fatal)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def check(home: Path) -> int:
    """Sweep as a start does; hold each open transfer to the bytes; return how many there are."""
    with Rig(home) as rig:
        spool = Spool(services_of(home, rig.store), home / "spool")
        rig.run(spool.sweep())
        ids = rig.read(lambda db: [row[0] for row in db.execute("SELECT id FROM contacts")])
        rows = [row for id_ in ids for row in rig.read(transfers.of_contact, id_)]
        for row in rows:
            check_bytes(row, rig.run(spool.open(row)))
        contents = [path for path in (home / "spool").iterdir() if path.suffix == ".sealed"]
        assert len(contents) == (1 if rows else 0)
        assert {path.stem for path in (home / "spool").iterdir()} <= {
            id_.hex() for row in rows for id_ in (row.file_id, row.content_id) if id_
        }
        return len(rows)


def check_bytes(row: Transfer, source: SpoolSource | SharedSource) -> None:
    """Open what a transfer would send with the keys that its receiver has."""
    piece = source.read(0, 2)
    assert row.size == len(DATA)
    keys = Sealer(file_id=row.file_id, key=row.key, chunk_log2=row.chunk_log2)
    plain = memoryview(bytearray(len(DATA)))
    chunks = [
        _Stored(at, at == 1, piece.leaves[32 * at : 32 * at + 32], piece.sealed[at])
        for at in range(2)
    ]
    assert keys.open(chunks, plain) == [True, True]
    assert plain == DATA
    if row.finish is not None and isinstance(source, SharedSource):
        assert source.find_end().root == row.finish.root
    source.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
@pytest.mark.timeout(60 + 10 * KILLS)
def test_kill_9_between_any_two_steps(home: Path) -> None:
    draw = random.Random(os.environ.get("PEERPOST_SEED", "4"))
    steps = range(1, STEPS) if KILLS >= STEPS else draw.sample(range(1, 24), KILLS)
    found = set()
    for fatal in steps:
        code = run(home, fatal)
        assert code in {0, -9}, code
        found.add(check(home))
    assert run(home, 10_000) == 0
    assert check(home) == 0
    assert list((home / "spool").iterdir()) == []
    assert len(found) > 1, "no kill came in the middle"

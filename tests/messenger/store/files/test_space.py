from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import StoreFullError
from peerpost.store.db import ballast
from peerpost.store.db.engine import Store
from peerpost.store.files.space import check_space
from peerpost.store.tables import inbox
from tests.support.store_rig import NOW_MS, Rig, chain

GB = 1 << 30


@pytest.mark.parametrize(
    ("total", "free", "size", "fits"),
    [
        (10 * GB, 3 * GB, 2 * GB, True),
        (10 * GB, 3 * GB, 2 * GB + 1, False),
        (100 * GB, 6 * GB, 5 * GB, True),
        (100 * GB, 6 * GB, 5 * GB + 1, False),
        (10 * GB, 0, 0, False),
        (10 * GB, GB, 0, True),
    ],
)
def test_a_gigabyte_stays_free_however_large_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, size: int, fits: bool
) -> None:
    usage = shutil._ntuple_diskusage(total, total - free, free)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    if fits:
        check_space(tmp_path, size)
        return
    with pytest.raises(StoreFullError) as raised:
        check_space(tmp_path, size)
    assert "free some space" in str(raised.value.hint)


def test_of_a_real_disk(tmp_path: Path) -> None:
    check_space(tmp_path, 1, reserve_bytes=0)
    with pytest.raises(StoreFullError):
        check_space(tmp_path, 1 << 60)


def test_texts_leave_it_free_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really, short = Store.open, True

    async def open_(*arguments: Any, **named: Any) -> Store:
        return await really(*arguments, **named, min_free_bytes=GB)

    monkeypatch.setattr(Store, "open", open_)
    monkeypatch.setattr(ballast, "LOOK_S", 0)
    usage = shutil._ntuple_diskusage  # type: ignore[attr-defined]
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: usage(9 * GB, 8 * GB, GB - 1 if short else GB)
    )
    with Rig(tmp_path) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        with pytest.raises(StoreFullError, match="min_free"):
            rig.write(inbox.receive_many, bob, chain(1), NOW_MS)
        assert rig.queue(bob).seq == 1  # What is our own is taken until the disk is full.
        short = False
        assert len(rig.write(inbox.receive_many, bob, chain(1), NOW_MS).items) == 1

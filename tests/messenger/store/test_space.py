from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from peerpost.errors import StoreFullError
from peerpost.store.space import check_space

GB = 1 << 30


@pytest.mark.parametrize(
    ("total", "free", "size", "fits"),
    [
        (10 * GB, 3 * GB, 2 * GB, True),
        (10 * GB, 3 * GB, 2 * GB + 1, False),
        (100 * GB, 6 * GB, GB, True),
        (100 * GB, 6 * GB, GB + 1, False),
        (10 * GB, 0, 0, False),
        (10 * GB, GB, 0, True),
    ],
)
def test_a_gigabyte_or_a_twentieth_stays_free(
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
    check_space(tmp_path, 1, reserve_bytes=0, reserve_fraction=0)
    with pytest.raises(StoreFullError):
        check_space(tmp_path, 1 << 60)

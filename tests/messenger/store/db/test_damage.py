"""Pages that the disk changes under an open store: nothing is answered as kept from the first that is noticed on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.errors import DamagedError, StorageError
from peerpost.store.db.ballast import Ballast
from tests.support.store_rig import Rig

ROWS = 4000
PAGE = 4096


def fill(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, data BLOB)")
    for number in range(ROWS):
        db.execute("INSERT INTO t VALUES (?, ?)", (number, os.urandom(3000)))


def spoil(path: Path) -> None:
    """Change a byte of each page behind the first hundred, in place."""
    with path.open("r+b") as file:
        for at in range(100 * PAGE, path.stat().st_size, PAGE):
            file.seek(at + 100)
            byte = file.read(1)
            file.seek(at + 100)
            file.write(bytes([byte[0] ^ 1]))


def every(db: apsw.Connection) -> Any:
    return db.execute("SELECT sum(length(data)) FROM t").fetchone()


def change(db: apsw.Connection, number: int) -> None:
    db.execute("UPDATE t SET data = ? WHERE id = ?", (b"new", number))


def meet_damage(rig: Rig, how: str) -> None:
    if how == "read":
        rig.read(every)
        return
    for number in range(ROWS):
        rig.write(change, number)


@pytest.mark.parametrize("noticed", ["read", "write"])
def test_after_a_damaged_page_nothing_is_answered_as_kept(tmp_path: Path, noticed: str) -> None:
    with Rig(tmp_path) as rig:
        rig.write(fill)
    with Rig(tmp_path) as rig:
        spoil(rig.path)
        with pytest.raises(DamagedError) as caught:
            meet_damage(rig, noticed)
        assert caught.value.exit_code == 74
        assert "backup" in str(caught.value.hint)
        assert rig.store.damaged
        with pytest.raises(DamagedError):
            rig.write(change, 0)
        with pytest.raises(DamagedError):
            rig.run(rig.store.write_lazily(change, 0))


def test_one_damaged_page_takes_back_the_batch_that_met_it(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.write(fill)
    with Rig(tmp_path) as rig:
        spoil(rig.path)

        async def together() -> list[Any]:
            writes = [rig.store.write(change, number) for number in (0, ROWS - 1, 1)]
            return await asyncio.gather(*writes, return_exceptions=True)

        results = rig.run(together())
        assert any(isinstance(result, DamagedError) for result in results)
        # The first may have been committed before; what was together with the damaged page was not.
        assert isinstance(results[2], StorageError)


def test_a_store_whose_log_goes_is_not_answered_for(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.write(fill)
        rig.store.look = lambda: "store.db-wal was deleted"
        with pytest.raises(StorageError, match="wal was deleted"):
            rig.write(change, 0)


def test_an_error_before_a_commit_is_told_and_the_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Ballast) -> bool:
        raise ZeroDivisionError

    with Rig(tmp_path) as rig:
        rig.write(fill)
        with monkeypatch.context() as patch:
            patch.setattr(Ballast, "low", fails)
            with pytest.raises(ZeroDivisionError):
                rig.run(asyncio.wait_for(rig.store.write(change, 0), 10))
        rig.run(asyncio.wait_for(rig.store.write(change, 0), 10))

"""A backup that is given up, or fails, before its thread has begun: nothing of it stays in the home."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.errors import StoreFullError
from peerpost.node.files import backing_up
from peerpost.store.db import engine
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio

SECRET = b"umber lattice quiver saddle topaz morning"


def home_of(one: Somebody) -> Path:
    return one.home.services.home


async def create(one: Somebody, out: Path) -> None:
    fd = os.open(out, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        made = one.home.transfers.backing_up.create(fd, SECRET, files=True)
        async with aclosing(made) as reports:
            async for _ in reports:
                pass
    finally:
        os.close(fd)


def is_there(one: Somebody) -> bool:
    return (home_of(one) / "backup.new").exists()


@pytest.mark.slow
async def test_one_that_is_cancelled_while_the_store_is_busy_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[engine.Snapshot] = []

    class Kept(engine.Snapshot):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            taken.append(self)

    monkeypatch.setattr(engine, "Snapshot", Kept)
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        goes_on = threading.Event()
        busy = asyncio.ensure_future(alice.store.write(lambda _db: goes_on.wait(30)))
        making = asyncio.ensure_future(create(alice, tmp_path / "out"))
        await until(lambda: is_there(alice))
        await asyncio.sleep(
            0.3
        )  # So that the moment to be copied is asked for, and waits for the store.
        making.cancel()
        await asyncio.sleep(0.2)
        goes_on.set()
        with pytest.raises(asyncio.CancelledError):
            await making
        assert await busy
        assert not is_there(alice)
        # Nor is that moment read any more: the log of the store could not be begun anew.
        for moment in taken:  # None on a machine so busy that it was not asked for in time.
            with pytest.raises(apsw.ConnectionClosedError):
                moment._db.pragma("page_count")
        with pytest.raises(Exception, match="keyfile"):
            await create(alice, tmp_path / "out")


@pytest.mark.slow
async def test_one_that_cannot_keep_the_files_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        blobs = home_of(alice) / "blobs"
        blobs.mkdir(exist_ok=True)
        (blobs / "x.sealed").write_bytes(b"x")
        monkeypatch.setattr(backing_up.os, "link", full)
        with pytest.raises(StoreFullError):
            await create(alice, tmp_path / "out")
        assert not is_there(alice)

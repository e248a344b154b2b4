"""Writes that nobody waits for: they go with the next commit, or alone after a moment, and are never lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw
import pytest

from peerpost.store import engine
from peerpost.store.engine import Store

KEY = bytes(range(32))


async def opened(folder: Path) -> Store:
    return await Store.open(
        folder / "store.db", KEY, loop=asyncio.get_running_loop(), ballast_bytes=0
    )


def put(db: apsw.Connection, key: str) -> str:
    db.execute("CREATE TABLE IF NOT EXISTS t (k TEXT)")
    db.execute("INSERT INTO t VALUES (?)", (key,))
    return key


def keys(db: apsw.Connection) -> list[str]:
    return [str(row[0]) for row in db.execute("SELECT k FROM t ORDER BY rowid")]


def test_it_goes_with_the_next_commit_in_the_order_of_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LAZY_S", 30.0)

    async def main() -> None:
        store = await opened(tmp_path)
        lazy = asyncio.create_task(store.write_lazily(put, "first"))
        await asyncio.sleep(0.1)
        assert not lazy.done()
        async with asyncio.timeout(10):
            assert await store.write(put, "second") == "second"
            assert await lazy == "first"
        assert await store.read(keys) == ["first", "second"]
        await store.close()

    asyncio.run(main())


def test_alone_it_waits_a_moment_only(tmp_path: Path) -> None:
    async def main() -> float:
        store = await opened(tmp_path)
        started = time.monotonic()
        async with asyncio.timeout(10):
            await store.write_lazily(put, "alone")
        took_s = time.monotonic() - started
        await store.close()
        return took_s

    assert asyncio.run(main()) >= engine.LAZY_S / 2


def test_closing_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LAZY_S", 30.0)

    async def main() -> None:
        store = await opened(tmp_path)
        lazy = asyncio.create_task(store.write_lazily(put, "late"))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(10):
            await store.close()
            assert await lazy == "late"
        again = await opened(tmp_path)
        assert await again.read(keys) == ["late"]
        await again.close()

    asyncio.run(main())

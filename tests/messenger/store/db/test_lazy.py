"""Writes that a power cut may take back: seen at once, without an fsync of their own, which the next one brings."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw
import pytest

from peerpost.errors import UsageError
from peerpost.store.db import engine
from tests.support.powercut import Disk
from tests.support.store_rig import Rig

WAL = "store.db-wal"


@pytest.fixture
def recorded(recording: Rig) -> Rig:
    recording.write(lambda db: db.execute("CREATE TABLE t (k TEXT)"))
    return recording


def put(db: apsw.Connection, key: str) -> str:
    db.execute("INSERT INTO t VALUES (?)", (key,))
    return key


def keys(rig: Rig) -> list[str]:
    return [str(row[0]) for row in rig.rows("SELECT k FROM t ORDER BY rowid")]


def lazily(rig: Rig, key: str) -> str:
    return rig.run(rig.store.write_lazily(put, key))


def test_others_read_it_at_once_and_the_next_write_brings_it_to_the_disk(
    recorded: Rig, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LAZY_S", 60.0)
    before = disk.syncs(WAL)
    assert lazily(recorded, "first") == "first"
    assert keys(recorded) == ["first"]
    assert disk.syncs(WAL) == before
    recorded.write(put, "second")
    assert disk.syncs(WAL) == before + 1
    assert [change.what for change in disk.log if change.name == WAL][-1] == "sync"
    assert keys(recorded) == ["first", "second"]


def test_alone_it_is_on_the_disk_after_a_moment(
    recorded: Rig, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LAZY_S", 0.05)
    before = disk.syncs(WAL)
    lazily(recorded, "alone")
    due_s = time.monotonic() + 10
    while disk.syncs(WAL) == before:
        assert time.monotonic() < due_s
        time.sleep(0.01)
    time.sleep(0.3)
    assert disk.syncs(WAL) == before + 1  # And once only: nothing is left to bring there.


def test_in_company_it_waits_for_the_disk(recorded: Rig, disk: Disk) -> None:
    async def both() -> None:
        await asyncio.gather(
            recorded.store.write_lazily(put, "lazy"), recorded.store.write(put, "not")
        )

    for _ in range(20):
        recorded.run(both())
        recorded.write(put, "end")
        assert [change.what for change in disk.log if change.name == WAL][-1] == "sync"


def test_closing_brings_it_to_the_disk(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.write(lambda db: db.execute("CREATE TABLE t (k TEXT)"))
        lazily(rig, "late")
    with Rig(tmp_path) as again:
        assert keys(again) == ["late"]


# -- together


def put_all(db: apsw.Connection, items: list[str]) -> list[str]:
    """Add items in one call; the word `bad` is refused."""
    for item in items:
        put(db, item)
    if "bad" in items:
        raise UsageError("bad")
    return [f"{len(items)} {item}" for item in items]


def made_of(result: str) -> str:
    """Make of a result what its caller gets; the word `fail` cannot be."""
    if result.endswith("fail"):
        raise UsageError("fail")
    return f"{result}!"


def asked_together(rig: Rig, *items: str) -> list[object]:
    """Have the writer find all of them at once."""

    async def run() -> list[object]:
        first = rig.loop.create_task(rig.store.write(lambda _db: time.sleep(0.2)))
        await asyncio.sleep(0.05)
        futures = [rig.store.write_together(put_all, item, made_of) for item in items]
        await first
        return await asyncio.gather(*futures, return_exceptions=True)

    return rig.run(run())


def test_what_is_asked_together_is_done_in_one_call(recorded: Rig) -> None:
    assert asked_together(recorded, "a", "b", "c") == ["3 a!", "3 b!", "3 c!"]
    assert keys(recorded) == ["a", "b", "c"]


def test_an_error_among_them_is_that_of_one(recorded: Rig) -> None:
    results = asked_together(recorded, "a", "bad", "c")
    assert (results[0], results[2]) == ("1 a!", "1 c!")
    assert isinstance(results[1], UsageError)
    assert keys(recorded) == ["a", "c"]


def test_what_follows_may_fail_for_one_and_the_caller_hears_of_it(recorded: Rig) -> None:
    results = asked_together(recorded, "a", "fail", "c")
    assert (results[0], results[2]) == ("3 a!", "3 c!")
    assert isinstance(results[1], UsageError)
    assert keys(recorded) == ["a", "fail", "c"]


def test_what_follows_is_done_where_nobody_waits_any_more(recorded: Rig) -> None:
    made: list[str] = []

    async def run() -> None:
        recorded.store.write_together(put_all, "a", made.append).cancel()
        await recorded.store.write(lambda _db: None)

    recorded.run(run())
    assert made == ["1 a"]

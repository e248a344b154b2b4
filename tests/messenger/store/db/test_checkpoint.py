"""The log of the store stays short, one write after another and where there is always another to do."""

from __future__ import annotations

import asyncio
import logging

import apsw
import pytest

from peerpost.store.db import engine
from peerpost.store.db.ballast import WriteConnection
from tests.support.store_rig import Rig

IDLE_PAGES, BUSY_PAGES = 20, 100
PAGE_BYTES = 4096 + 24  # with its header in the log
COMMIT_PAGES = 32
"""What one commit of these tests may add to a log that is all but long enough, and room for what made the store."""


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "WAL_CHECKPOINT_PAGES", IDLE_PAGES)
    monkeypatch.setattr(engine, "WAL_BUSY_PAGES", BUSY_PAGES)


def add(db: apsw.Connection) -> None:
    db.execute("INSERT INTO t VALUES (randomblob(3000))")


def log_pages(rig: Rig) -> float:
    return rig.path.with_name("store.db-wal").stat().st_size / PAGE_BYTES


def test_one_after_another(rig: Rig) -> None:
    rig.write(lambda db: db.execute("CREATE TABLE t (body BLOB)"))
    for _ in range(200):
        rig.write(add)
    assert log_pages(rig) <= BUSY_PAGES + COMMIT_PAGES


def test_where_there_is_always_another(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "GROUP_OPERATIONS", 4)
    rig.write(lambda db: db.execute("CREATE TABLE t (body BLOB)"))

    async def flood() -> None:
        await asyncio.gather(*(rig.store.write(add) for _ in range(600)))

    rig.run(flood())
    assert log_pages(rig) <= BUSY_PAGES + COMMIT_PAGES
    assert rig.rows("SELECT count(*) FROM t") == [(600,)]


def test_a_log_that_stays_long_is_told_of_once_until_it_was_short_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, engine.__name__)
    rig.write(lambda db: db.execute("CREATE TABLE t (body BLOB)"))
    failing = True

    def checkpoint(connection: WriteConnection) -> object:
        if failing:
            raise apsw.FullError("the disk is full")
        return apsw.Connection.wal_checkpoint(connection)

    monkeypatch.setattr(WriteConnection, "wal_checkpoint", checkpoint)
    for fails in (True, False, True):
        failing = fails
        for _ in range(60):
            rig.write(add)
    assert [text.partition(":")[0] for text in caplog.messages] == [
        "the log of the store stays long"
    ] * 2

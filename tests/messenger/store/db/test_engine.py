"""The engine: commits together, answers after the disk, and a failure that is nobody else's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.errors import PeerpostError, StorageError, StoreFullError, UsageError
from peerpost.store.db import engine
from peerpost.store.db.engine import Store
from tests.support.powercut import Disk
from tests.support.store_rig import KEY, Rig

WAL = "store.db-wal"


@pytest.fixture
def recorded(recording: Rig) -> Rig:
    recording.write(make_table)
    return recording


@pytest.fixture
def table(rig: Rig) -> Rig:
    rig.write(make_table)
    return rig


def make_table(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE rows (n INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")


def add(db: apsw.Connection, number: int, size: int = 10) -> int:
    db.execute("INSERT INTO rows VALUES (?, ?)", (number, bytes(size)))
    return number


def add_and_raise(db: apsw.Connection, number: int, error: BaseException) -> int:
    add(db, number)
    raise error


def numbers(rig: Rig) -> list[int]:
    return [n for (n,) in rig.rows("SELECT n FROM rows ORDER BY n")]


async def until(event: threading.Event) -> None:
    """Wait for what another thread does."""
    while not event.is_set():  # noqa: ASYNC110 - an event of a thread cannot be awaited
        await asyncio.sleep(0.001)


class Held:
    """The writer, kept busy until it is let go: what is asked meanwhile is one batch."""

    def __init__(self, store: Store) -> None:
        self._busy, self._go = threading.Event(), threading.Event()
        self._task = asyncio.get_running_loop().create_task(store.write(self._wait))

    def _wait(self, _db: apsw.Connection) -> None:
        self._busy.set()
        assert self._go.wait(60)

    async def __aenter__(self) -> Held:  # noqa: PYI034
        await until(self._busy)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._go.set()
        await self._task


async def together(store: Store, *works: tuple[Callable[..., Any], *tuple[Any, ...]]) -> list[Any]:
    """Have works done in one batch; return each result or error."""
    loop = asyncio.get_running_loop()
    async with Held(store):
        tasks = [loop.create_task(store.write(work, *args)) for work, *args in works]
        await asyncio.sleep(0)
    return await asyncio.gather(*tasks, return_exceptions=True)


# -- group commit


def test_many_writers_share_few_syncs(recorded: Rig, disk: Disk) -> None:
    count = 2 * engine.GROUP_OPERATIONS + 100
    before = disk.syncs(WAL)
    results = recorded.run(together(recorded.store, *((add, number) for number in range(count))))
    assert results == list(range(count))
    # One for the operation that held the writer, three for the rest, and room for a checkpoint.
    assert 3 <= disk.syncs(WAL) - before <= 6
    assert numbers(recorded) == list(range(count))


def test_one_writer_alone_has_a_sync_each(recorded: Rig, disk: Disk) -> None:
    before = disk.syncs(WAL)
    for number in range(10):
        recorded.write(add, number)
    assert disk.syncs(WAL) - before >= 10


def test_the_answer_comes_after_the_sync(recorded: Rig, disk: Disk) -> None:
    syncing, go = threading.Event(), threading.Event()

    def on_sync(_name: str) -> None:
        syncing.set()
        assert go.wait(60)

    async def run() -> None:
        writing = recorded.loop.create_task(recorded.store.write(add, 1))
        await until(syncing)
        for _ in range(20):
            await asyncio.sleep(0.001)
            assert not writing.done()
        go.set()
        assert await writing == 1

    disk.on_sync = on_sync
    recorded.run(run())


def test_nothing_is_unsynced_when_an_answer_comes(recorded: Rig, disk: Disk) -> None:
    for number in range(20):
        recorded.write(add, number, 5000)
        of_wal = [change.what for change in disk.log if change.name == WAL]
        assert of_wal[-1] == "sync"


def test_works_are_done_in_the_order_they_were_asked(table: Rig) -> None:
    order: list[int] = []

    def work(_db: apsw.Connection, number: int) -> None:
        order.append(number)

    table.run(together(table.store, *((work, number) for number in range(1000))))
    assert order == list(range(1000))


# -- failures


def test_an_error_takes_back_its_own_unit_only(table: Rig) -> None:
    error = UsageError("no")
    results = table.run(
        together(table.store, (add, 1), (add_and_raise, 2, error), (add, 3), (add, 3), (add, 4))
    )
    assert results[0] == 1
    assert results[1] is error
    assert results[2] == 3
    assert isinstance(results[3], StorageError)
    assert "UNIQUE" in results[3].message
    assert results[4] == 4
    assert numbers(table) == [1, 3, 4]


@pytest.mark.parametrize("error", [StopIteration("end"), MemoryError(), asyncio.CancelledError()])
def test_odd_errors_leave_nobody_waiting(table: Rig, error: BaseException) -> None:
    async def run() -> list[Any]:
        async with asyncio.timeout(30):
            return await together(table.store, (add, 1), (add_and_raise, 2, error), (add, 3))

    results = table.run(run())
    assert (results[0], results[2]) == (1, 3)
    assert isinstance(results[1], BaseException)
    assert numbers(table) == [1, 3]
    assert table.write(add, 4) == 4


@pytest.mark.parametrize("and_raise", [True, False])
def test_where_the_transaction_ends_early_nothing_is_called_done(
    table: Rig, and_raise: bool
) -> None:
    def end(db: apsw.Connection) -> None:
        db.execute("ROLLBACK")
        if and_raise:
            raise UsageError("ended")

    results = table.run(together(table.store, (add, 1), (end,), (add, 3)))
    assert all(isinstance(result, PeerpostError) for result in results)
    assert numbers(table) == []
    assert table.write(add, 4) == 4


def test_each_caller_has_an_error_of_its_own(table: Rig) -> None:
    def full(_db: apsw.Connection) -> None:
        raise apsw.FullError("planted")

    results = table.run(together(table.store, (add, 1), (full,), (add, 3)))
    assert [type(result) for result in results] == [StoreFullError] * 3
    assert len({id(result) for result in results}) == 3
    assert numbers(table) == []


def test_a_caller_that_is_cancelled_gives_up_the_answer_only(table: Rig) -> None:
    async def run() -> None:
        async with Held(table.store):
            task = table.loop.create_task(table.store.write(add, 1))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()

    table.run(run())
    assert table.write(add, 2) == 2
    assert numbers(table) == [1, 2]


# -- reading


def test_a_read_sees_all_that_was_answered(table: Rig) -> None:
    async def run() -> None:
        for number in range(200):
            await table.store.write(add, number)
            found = await table.store.read(lambda db: db.execute("SELECT max(n) FROM rows").get)
            assert found == number

    table.run(run())


def test_a_read_is_on_one_snapshot(table: Rig) -> None:
    counted, go = threading.Event(), threading.Event()

    def count_twice(db: apsw.Connection) -> list[Any]:
        first = db.execute("SELECT count(*) FROM rows").get
        counted.set()
        assert go.wait(60)
        return [first, db.execute("SELECT count(*) FROM rows").get]

    async def run() -> list[Any]:
        reading = table.loop.create_task(table.store.read(count_twice))
        await until(counted)
        await table.store.write(add, 1)
        go.set()
        return await reading

    assert table.run(run()) == [0, 0]
    assert numbers(table) == [1]


def test_a_statement_that_was_left_open_keeps_nobody_at_what_it_saw(table: Rig) -> None:
    left: list[object] = []

    def leave(db: apsw.Connection) -> int:
        cursor = db.execute("SELECT n FROM rows UNION ALL SELECT n + 1 FROM rows")
        left.append(cursor)
        return int(next(cursor)[0])

    table.write(add, 1)
    # As many as there are threads that read, so that each of them has left one.
    for number in range(2, 20):
        assert table.read(leave) == 1
        table.write(add, number)
        assert table.rows("SELECT max(n) FROM rows") == [(number,)]


def test_a_reader_cannot_write_and_its_errors_are_ours(table: Rig) -> None:
    with pytest.raises(StorageError):
        table.read(add, 1)
    with pytest.raises(StorageError):
        table.read(lambda db: db.execute("SELECT * FROM nothing").fetchall())
    with pytest.raises(UsageError):
        table.read(add_and_raise_reading, UsageError("no"))
    assert numbers(table) == []


def add_and_raise_reading(_db: apsw.Connection, error: BaseException) -> None:
    raise error


# -- closing


def test_closing_commits_what_is_queued(table: Rig, tmp_path: Path) -> None:
    async def run() -> list[int]:
        async with Held(table.store):
            tasks = [table.loop.create_task(table.store.write(add, n)) for n in range(50)]
            await asyncio.sleep(0)
            closing = table.loop.create_task(table.store.close())
            await asyncio.sleep(0)
        await closing
        return await asyncio.gather(*tasks)

    assert numbers(table) == []
    assert table.run(run()) == list(range(50))
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]
    with Rig(tmp_path) as again:
        assert numbers(again) == list(range(50))
        assert again.read(lambda db: db.pragma("integrity_check")) == "ok"


def test_a_closed_store_says_so(table: Rig) -> None:
    table.run(table.store.close())
    table.run(table.store.close())
    for ask in (table.store.read, table.store.write):
        with pytest.raises(StorageError, match="closed"):
            table.run(ask(add, 1))


def test_a_loop_that_ends_first_takes_nothing_with_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.write(make_table)
    busy, go = threading.Event(), threading.Event()

    def slow(db: apsw.Connection) -> None:
        busy.set()
        assert go.wait(60)
        add(db, 1)

    async def ask() -> None:
        asking = asyncio.get_running_loop().create_task(rig.store.write(slow))
        await until(busy)
        asking.cancel()

    rig.run(ask())
    rig.loop.close()
    go.set()
    rig.store._queue.put(None)
    assert rig.store._writer is not None
    rig.store._writer.join(60)
    with Rig(tmp_path) as again:
        assert numbers(again) == [1]


# -- opening


def test_the_settings_that_the_promise_rests_on(table: Rig) -> None:
    def settings(db: apsw.Connection) -> dict[str, Any]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "trusted_schema")
        return {name: db.pragma(name) for name in names}

    assert table.write(settings) == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
    }
    assert engine.sqlite_version() >= (3, 51, 3)


def test_another_key_opens_nothing_and_changes_nothing(table: Rig) -> None:
    table.write(add, 1)
    table.close()
    before = table.path.read_bytes()

    async def open_with(key: bytes) -> Store:
        loop = asyncio.get_running_loop()
        return await Store.open(table.path, key, loop=loop, ballast_bytes=0)

    for key in (bytes(32), bytes([KEY[0] ^ 1]) + KEY[1:], KEY[:31] + b"\xff"):
        with pytest.raises(StorageError, match="another key") as caught:
            asyncio.run(open_with(key))
        assert "keyfile" in str(caught.value.hint)
        assert key.hex() not in str(caught.value)
    assert table.path.read_bytes() == before
    with Rig(table.path.parent) as again:
        assert numbers(again) == [1]


def plain_database(path: Path) -> None:
    plain = apsw.Connection(str(path))
    plain.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    plain.close()


@pytest.mark.parametrize(
    "make",
    [
        plain_database,
        lambda path: path.write_bytes(b"not a database, but long enough" * 1000),
        lambda path: path.write_bytes(b"short"),
    ],
    ids=["another database", "a text", "a short text"],
)
def test_what_is_no_store_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "store.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StorageError):
        Rig(tmp_path)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Rig(tmp_path / "nowhere")


def test_nothing_that_was_stored_can_be_read_in_the_files(rig: Rig) -> None:
    rig.queue(rig.make_contact("Roberta Marker").id, "the secret text")
    names = ("store.db", "store.db-wal")
    files = {name: (rig.path.parent / name).read_bytes() for name in names}
    rig.close()
    files["closed"] = rig.path.read_bytes()
    for data in files.values():
        assert len(data) >= 4096
        for word in (b"SQLite format 3", b"Marker", b"secret text", b"CREATE TABLE", b"queued"):
            assert word not in data


def test_a_flipped_bit_is_found(table: Rig) -> None:
    for number in range(60):
        table.write(add, number, 3000)
    table.close()
    whole = table.path.read_bytes()
    for part in range(24):
        damaged = bytearray(whole)
        damaged[len(whole) * part // 24 + 100] ^= 1 << part % 8
        table.path.write_bytes(damaged)
        for name in ("store.db-wal", "store.db-shm"):
            table.path.with_name(name).unlink(missing_ok=True)
        with pytest.raises(StorageError):
            read_all(table.path.parent)


def read_all(folder: Path) -> None:
    with Rig(folder) as rig:
        rig.rows("SELECT n, body FROM rows")

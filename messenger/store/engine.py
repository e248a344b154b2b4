"""The database: one encrypted SQLite file, one writer thread with group commit, readers beside it.

What several callers ask to write while a commit waits for the disk is committed together by the
next: a batch is what queued during the last fsync, so there is no timer, but for what is in no
hurry (`write_lazily`): that goes with the next commit, or alone after a moment. Each operation has
a savepoint of its own; one that fails hurts no other. A result is handed out after its commit,
never before.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from peerpost.errors import StorageError, StoreFullError

from . import migrations
from .ballast import FULL, Ballast, WriteConnection

__all__ = ["Store", "sqlite_version"]

P = ParamSpec("P")
T = TypeVar("T")

GROUP_OPERATIONS = 512
"""Most operations of one commit: bounds how long the first of them waits."""
LAZY_S = 0.05
"""How long at most what is in no hurry waits for a commit that is needed anyway."""
READERS = 2
"""Read connections, each with a thread: the reference machine has two cores."""
WAL_AUTOCHECKPOINT_PAGES = 1000
BUSY_TIMEOUT_MS = 5000
_FULL_HINT = "free some space on the disk of the home folder; nothing that was accepted is lost"


def sqlite_version() -> tuple[int, ...]:
    """Return the version of the SQLite in use. 3.51.3 is the first without the WAL-reset bug."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


@dataclass(slots=True)
class _Operation:
    work: Callable[[apsw.Connection], Any]
    future: asyncio.Future[Any]
    lazy: bool = False
    result: Any = None
    error: BaseException | None = None


class Store:
    """The open database of one home."""

    vfs: str | None = None
    """What SQLite reaches the disk through, if not the system's; tests cut the power there."""
    synchronous = "full"
    """With less, a power cut takes commits back that were answered; a test shows that it does."""

    def __init__(self, path: Path, key: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._key = key
        self._loop = loop
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._local = threading.local()
        self._read_connections: list[apsw.Connection] = []
        self._writer: threading.Thread | None = None
        self._ballast: Ballast
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path,
        key: bytes,
        *,
        loop: asyncio.AbstractEventLoop,
        ballast_bytes: int = 64 << 20,
    ) -> Store:
        """Open or create the database with a raw 32-byte key and bring its schema up to date.

        Raises StorageError on a wrong key, damage or a newer schema; StoreFullError on a full disk.
        """
        store = cls(path, key, loop)
        ballast = store._ballast = Ballast(path.with_name("ballast"), ballast_bytes)
        try:
            connection = await loop.run_in_executor(store._readers, store._prepare_with_reserve)
            await loop.run_in_executor(store._readers, ballast.restore)
        except BaseException:
            store._readers.shutdown(wait=False)
            raise
        store._writer = threading.Thread(
            target=store._write_loop, args=(connection,), name="store-write", daemon=True
        )
        store._writer.start()
        return store

    async def write(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run work(db, ...) on the writer thread; return its result once it is on the disk.

        Raises what work raises, with nothing of it done; StoreFullError; StorageError.
        """
        return await self._put(lambda db: work(db, *args, **kwargs), lazy=False)

    async def write_lazily(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `write` does, but cause no commit of its own while others are about to.

        For what nobody waits for, and what a crash may forget.
        """
        return await self._put(lambda db: work(db, *args, **kwargs), lazy=True)

    async def _put(self, work: Callable[[apsw.Connection], T], *, lazy: bool) -> T:
        if self._closed:
            raise StorageError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Operation(work, future, lazy))
        # A cancelled caller gives up the answer, not the write: shield keeps the future.
        return await asyncio.shield(future)

    async def read(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run work(db, ...) on a read-only connection, on one snapshot of all committed before.

        Raises what work raises; StorageError.
        """
        if self._closed:
            raise StorageError("the store is closed")

        def run() -> T:
            db = self._read_connection()
            db.execute("BEGIN")
            try:
                return work(db, *args, **kwargs)
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

        try:
            return await self._loop.run_in_executor(self._readers, run)
        except apsw.Error as error:
            raise _explain(error) from error

    async def close(self) -> None:
        """Commit what is queued and close."""
        if self._closed:
            return
        self._closed = True
        # The writer goes last: only then does it bring the log back into the database.
        await self._loop.run_in_executor(None, self._readers.shutdown)
        for connection in self._read_connections:
            connection.close()
        self._queue.put(None)
        if self._writer is not None:
            await self._loop.run_in_executor(None, self._writer.join)

    # -- connections

    def _unlock(self, connection: apsw.Connection) -> None:
        connection.pragma("cipher", "chacha20")
        connection.pragma("key", f"raw:{self._key.hex()}")
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.pragma("foreign_keys", "on")
        connection.pragma("trusted_schema", "off")
        connection.pragma("cell_size_check", "on")

    def _prepare_with_reserve(self) -> WriteConnection:
        try:
            return self._prepare()
        except StoreFullError:
            # To open takes some space too; without it what is queued could not drain.
            self._ballast.release()
            return self._prepare()

    def _prepare(self) -> WriteConnection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection: WriteConnection | None = None
        try:
            connection = WriteConnection(str(self._path), flags=flags, vfs=self.vfs)
            self._unlock(connection)
            # A store of a later version is left as it is, to the byte.
            migrations.check_version(connection)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", self.synchronous)
            connection.pragma("fullfsync", "on")
            connection.pragma("checkpoint_fullfsync", "on")
            connection.pragma("secure_delete", "on")
            connection.pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES)
            connection.pragma("journal_size_limit", 16 << 20)
            self._check(connection)
            migrations.migrate(connection)
        except BaseException as error:
            explained = _explain(error, connection) if isinstance(error, apsw.Error) else error
            if connection is not None:
                connection.close(force=True)
            raise explained from error
        return connection

    def _check(self, connection: apsw.Connection) -> None:
        verdict = connection.pragma("quick_check", 1)
        if verdict != "ok":
            raise StorageError(
                f"the store is damaged: {verdict}",
                hint="stop, copy the home folder aside, and restore a backup",
            )

    def _read_connection(self) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            flags = apsw.SQLITE_OPEN_READONLY
            connection = apsw.Connection(str(self._path), flags=flags, vfs=self.vfs)
            self._unlock(connection)
            self._local.connection = connection
            self._read_connections.append(connection)
        return connection

    # -- the writer

    def _write_loop(self, connection: WriteConnection) -> None:
        last = False
        while not last:
            batch, last = self._gather()
            if batch:
                self._commit(connection, batch)
        connection.close()

    def _gather(self) -> tuple[list[_Operation], bool]:
        """Wait for work and return all that is queued by then, and whether it is the last.

        What is in no hurry alone waits for company, for `LAZY_S` at most.
        """
        batch: list[_Operation] = []
        due_s: float | None = None
        hurry = False
        while len(batch) < GROUP_OPERATIONS:
            try:
                if not batch:
                    operation = self._queue.get()
                elif hurry or due_s is None:
                    operation = self._queue.get_nowait()
                else:
                    operation = self._queue.get(timeout=max(0.0, due_s - time.monotonic()))
            except queue.Empty:
                return batch, False
            if operation is None:
                return batch, True
            batch.append(operation)
            if operation.lazy:
                due_s = due_s or time.monotonic() + LAZY_S
            else:
                hurry = True
        return batch, False

    def _commit(self, connection: WriteConnection, batch: list[_Operation]) -> None:
        connection.reserve_in_use = self._ballast.released and not self._ballast.regain()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for operation in batch:
                self._run(connection, operation)
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whatever it is, each caller hears of it
            self._roll_back(connection, batch, error)
        # Nobody waits any more where the loop has ended; what was committed stays so.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(_deliver, batch)

    def _run(self, connection: apsw.Connection, operation: _Operation) -> None:
        connection.execute("SAVEPOINT op")
        try:
            operation.result = operation.work(connection)
        except BaseException as error:
            # SQLite may have ended the whole transaction: then nothing of the batch is done.
            if not connection.in_transaction or _is_full(error, connection):
                raise
            connection.execute("ROLLBACK TO op")
            operation.error = _explain(error) if isinstance(error, apsw.Error) else error
        connection.execute("RELEASE op")

    def _roll_back(
        self, connection: apsw.Connection, batch: list[_Operation], error: BaseException
    ) -> None:
        if _is_full(error, connection):
            self._ballast.release()
        for operation in batch:
            # Each gets an error of its own: one that is raised in many tasks grows with each.
            explained = _explain(error, connection) if isinstance(error, apsw.Error) else error
            operation.error = operation.error or explained
        if connection.in_transaction:
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")


def _deliver(batch: list[_Operation]) -> None:
    for operation in batch:
        future = operation.future
        if future.done():
            continue
        if isinstance(operation.error, StopIteration):
            # A future does not take one, and the rest of the batch must have their answers.
            operation.error = StorageError("the operation ran out of values")
        if operation.error is not None:
            future.set_exception(operation.error)
        else:
            future.set_result(operation.result)


def _is_full(error: BaseException, connection: apsw.Connection | None) -> bool:
    """Tell whether the disk was full: a quota or a limit comes as an I/O error with a number."""
    if isinstance(error, apsw.FullError):
        return True
    return (
        isinstance(error, apsw.IOError)
        and connection is not None
        and connection.system_errno in FULL
    )


def _explain(error: BaseException, connection: apsw.Connection | None = None) -> StorageError:
    if _is_full(error, connection):
        return StoreFullError("the disk is full", hint=_FULL_HINT)
    if isinstance(error, apsw.NotADBError):
        return StorageError(
            "the store cannot be opened: another key, or not a Peerpost database",
            hint="was the keyfile replaced? restore both from one backup",
        )
    return StorageError(f"the store failed: {error}", hint="see: peerpost doctor")

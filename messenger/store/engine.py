"""The database: one encrypted SQLite file, one writer thread with group commit, readers beside it.

What several callers ask to write while a commit waits for the disk is committed together by the
next: a batch is what queued during the last fsync, so there is no timer. Each operation has a
savepoint of its own; one that fails hurts no other. A result is handed out after its commit, never
before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import apsw

from peerpost.errors import StorageError, StoreFullError

from . import migrations
from .ballast import Ballast

__all__ = ["Store", "sqlite_version"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

GROUP_OPERATIONS = 512
"""Most operations of one commit: bounds how long the first of them waits."""
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
    result: Any = None
    error: BaseException | None = None


class Store:
    """The open database of one home."""

    def __init__(self, path: Path, key: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._key = key
        self._loop = loop
        self._queue: queue.SimpleQueue[_Operation | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._local = threading.local()
        self._read_connections: list[apsw.Connection] = []
        self._writer: threading.Thread | None = None
        self._ballast: Ballast | None = None
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
        connection = await loop.run_in_executor(store._readers, store._prepare)
        store._ballast = Ballast(path.with_name("ballast"), ballast_bytes)
        await loop.run_in_executor(store._readers, store._ballast.restore)
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
        if self._closed:
            raise StorageError("the store is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Operation(lambda db: work(db, *args, **kwargs), future))
        # A cancelled caller gives up the answer, not the write: shield keeps the future.
        return await asyncio.shield(future)

    async def read(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run work(db, ...) on a read-only connection; it sees everything committed before."""
        if self._closed:
            raise StorageError("the store is closed")

        def run() -> T:
            return work(self._read_connection(), *args, **kwargs)

        try:
            return await self._loop.run_in_executor(self._readers, run)
        except apsw.Error as error:
            raise _explain(error) from error

    async def close(self) -> None:
        """Commit what is queued and close."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        if self._writer is not None:
            await self._loop.run_in_executor(None, self._writer.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        for connection in self._read_connections:
            connection.close()

    # -- connections

    def _connect(self, *, readonly: bool) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        if readonly:
            flags = apsw.SQLITE_OPEN_READONLY
        connection = apsw.Connection(str(self._path), flags=flags)
        connection.pragma("cipher", "chacha20")
        connection.pragma("key", f"raw:{self._key.hex()}")
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        for name, value in (
            ("foreign_keys", "on"),
            ("trusted_schema", "off"),
            ("cell_size_check", "on"),
        ):
            connection.pragma(name, value)
        return connection

    def _prepare(self) -> apsw.Connection:
        try:
            connection = self._connect(readonly=False)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full")
            connection.pragma("fullfsync", "on")
            connection.pragma("checkpoint_fullfsync", "on")
            connection.pragma("secure_delete", "on")
            connection.pragma("wal_autocheckpoint", WAL_AUTOCHECKPOINT_PAGES)
            connection.pragma("journal_size_limit", 16 << 20)
            self._check(connection)
            migrations.migrate(connection)
        except apsw.Error as error:
            raise _explain(error) from error
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
            connection = self._connect(readonly=True)
            self._local.connection = connection
            self._read_connections.append(connection)
        return connection

    # -- the writer

    def _write_loop(self, connection: apsw.Connection) -> None:
        last = False
        while not last:
            operation = self._queue.get()
            batch: list[_Operation] = []
            while operation is not None:
                batch.append(operation)
                if len(batch) >= GROUP_OPERATIONS:
                    break
                try:
                    operation = self._queue.get_nowait()
                except queue.Empty:
                    break
            last = operation is None
            if batch:
                self._commit(connection, batch)
        connection.close()

    def _commit(self, connection: apsw.Connection, batch: list[_Operation]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for operation in batch:
                self._run(connection, operation)
            connection.execute("COMMIT")
        except BaseException as error:
            if connection.in_transaction:
                with contextlib.suppress(apsw.Error):
                    connection.execute("ROLLBACK")
            explained = _explain(error) if isinstance(error, apsw.Error) else error
            if isinstance(error, apsw.FullError) and self._ballast is not None:
                self._ballast.release()
            for operation in batch:
                operation.error = operation.error or explained
        self._loop.call_soon_threadsafe(_deliver, batch)

    def _run(self, connection: apsw.Connection, operation: _Operation) -> None:
        connection.execute("SAVEPOINT op")
        try:
            operation.result = operation.work(connection)
        except apsw.FullError:
            raise
        except BaseException as error:
            connection.execute("ROLLBACK TO op")
            operation.error = _explain(error) if isinstance(error, apsw.Error) else error
        connection.execute("RELEASE op")


def _deliver(batch: list[_Operation]) -> None:
    for operation in batch:
        future = operation.future
        if future.done():
            continue
        if operation.error is not None:
            future.set_exception(operation.error)
        else:
            future.set_result(operation.result)


def _explain(error: BaseException) -> StorageError:
    if isinstance(error, apsw.FullError):
        return StoreFullError("the disk is full", hint=_FULL_HINT)
    if isinstance(error, apsw.NotADBError):
        return StorageError(
            "the store cannot be opened: another key, or not a Peerpost database",
            hint="was the keyfile replaced? restore both from one backup",
        )
    return StorageError(f"the store failed: {error}", hint="see: peerpost doctor")

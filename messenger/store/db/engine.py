"""The database: one encrypted SQLite file, one writer thread with group commit, readers beside it.

While one commit waits for the disk, further writes queue, and the next commit takes them all: a batch
is what queued during the last fsync, so there is no timer. Each operation has a savepoint of its own;
one that fails hurts no other. A result is handed out after its commit and its fsync, never before.
Only a write that a power cut may undo (`write_lazily`) has no fsync of its own and uses the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import apsw

from peerpost.crypto.locked_bytes import LockedBytes
from peerpost.errors import DamagedError, StorageError, StoreFullError, TransientError

from .ballast import Ballast, WriteConnection
from .database import located
from .failure import explain, is_damage, is_full
from .follower import Follower
from .journal import Transition
from .opening import keep_log, prepare, unlock
from .operations import Done, Operation, deliver, settle, units
from .snapshot import Snapshot

__all__ = ["Store", "sqlite_version"]

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
Each = TypeVar("Each")
Answer = TypeVar("Answer")

GROUP_OPERATIONS = 512
"""The most operations of one commit. It bounds how long the first of them waits."""
LAZY_S = 1.0
"""The longest time that a lazy write waits for another write's fsync, before it gets its own."""
READERS = 2
"""Read connections, each with a thread: the reference machine has two cores."""
WAL_CHECKPOINT_PAGES = 1000
"""The length of the log at which it is checkpointed, when there is nothing else to do."""
WAL_BUSY_PAGES = 4000
"""The same when there is always something else to do: the size to which `journal_size_limit` trims the log."""
WAL_FULL_PAGES = 64
"""The same while the disk is full: then the log is reused from its start, and takes no more of the reserve."""


def sqlite_version() -> tuple[int, ...]:
    """Return the version of the SQLite in use. 3.51.3 is the first without the WAL-reset bug."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def _ignore(*_: object) -> None:
    """Ignore a result."""


class Store:
    """The open database of one home."""

    vfs: str | None = None
    """The VFS of SQLite, if not the system's; tests simulate power cuts with one."""
    synchronous = "full"
    """With less, a power cut would undo commits that were answered; a test shows that it does."""

    def __init__(self, path: Path, key: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._path = path
        self._key = LockedBytes(key)
        self._loop = loop
        self._queue: queue.SimpleQueue[Operation | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="store-read")
        self._local = threading.local()
        self._read_connections: list[apsw.Connection] = []
        self._writer: threading.Thread | None = None
        self._ballast: Ballast
        self._closed = False
        self.lost: str | None = None
        """Why what is written now would be lost, if the file is no longer in its place."""
        self.look: Callable[[], str | None] = lambda: None
        """Returns the current `lost`, from any thread; called before a commit is answered."""
        self.follower = Follower()
        """Tells what each commit has changed."""
        self.damaged: str | None = None
        """What SQLite said when it first found a damaged page."""
        self._lazy = False
        """Whether a commit returns before the disk has it."""
        self._unsynced = False
        """Whether the last commit did."""
        self._log_pages = 0
        """How many pages the log had after the last commit."""
        self._log_stays_long = False

    @classmethod
    async def open(
        cls,
        path: Path,
        key: bytes,
        *,
        loop: asyncio.AbstractEventLoop,
        ballast_bytes: int = 64 << 20,
        min_free_bytes: int = 0,
    ) -> Store:
        """Open or create the database with a raw 32-byte key and bring its schema up to date.

        Raises StorageError on a wrong key, damage or a newer schema; StoreFullError on a full disk.
        """
        store = cls(path, key, loop)
        reserve = path.with_name("ballast")
        ballast = store._ballast = Ballast(reserve, ballast_bytes, min_free_bytes)
        try:
            connection = await loop.run_in_executor(store._readers, store._prepare_with_reserve)
            await loop.run_in_executor(store._readers, ballast.restore)
        except BaseException:
            store._readers.shutdown(wait=False)
            store._key.wipe()
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
        future = self._loop.create_future()
        self._put(Operation(lambda db: work(db, *args, **kwargs), settle(future)))
        result: T = await future
        return result

    def write_together(
        self,
        work: Callable[[apsw.Connection, list[Each]], list[T]],
        item: Each,
        then: Callable[[T], Answer],
    ) -> asyncio.Future[Answer]:
        """Do as `write` does, in one call of work with the items that others ask for meanwhile.

        `work` returns a result for each item. If it raises, it is called again for each item alone.
        `then` turns the result into that of the future; it is called at once, even if nobody waits
        for the future any more.
        """
        future: asyncio.Future[Answer] = self._loop.create_future()
        answer = settle(future)

        def done(result: T, error: BaseException | None) -> None:
            if error is not None:
                answer(None, error)
                return
            try:
                answer(then(result), None)
            except Exception as failure:  # noqa: BLE001 - it is the caller's
                answer(None, failure)

        self._put(Operation(work, done, item=item, together=True))
        return future

    async def write_lazily(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as `write` does, but return once readers see it, before the disk has it.

        For what a power cut may undo: it reaches the disk with the next `write`, or after `LAZY_S`.
        If only the process ends, nothing is undone.
        """
        future = self._loop.create_future()
        self._put(Operation(lambda db: work(db, *args, **kwargs), settle(future), lazy=True))
        result: T = await future
        return result

    def submit(
        self,
        done: Done,
        work: Callable[[apsw.Connection], object],
        *,
        on_failure: Callable[[BaseException], object],
        lazy: bool = False,
    ) -> None:
        """Do as `write` or `write_lazily` does, and call `done` with the outcome.

        This saves a turn of the loop, which matters when it is busy. If `done` itself fails, `on_failure` is called,
        because nobody else would learn of it; it ends whatever waits for `done`.
        """
        self._put(Operation(work, done, lazy, on_failure))

    def _put(self, operation: Operation) -> None:
        if self._closed:
            raise TransientError("the store is closed")
        if self.damaged is not None:
            raise DamagedError(f"nothing can be kept: {self.damaged}")
        if self.lost is not None:
            raise TransientError(f"nothing can be kept: {self.lost}", hint="see: peerpost doctor")
        self._queue.put(operation)

    async def read(
        self, work: Callable[Concatenate[apsw.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run work(db, ...) on a read-only connection, on one snapshot of all committed before.

        Raises what work raises; StorageError.
        """
        if self._closed:
            raise TransientError("the store is closed")

        def run() -> T:
            db = self._read_connection()
            db.execute("BEGIN")
            try:
                return work(db, *args, **kwargs)
            finally:
                self._let_go(db)

        try:
            return await self._loop.run_in_executor(self._readers, run)
        except apsw.Error as error:
            raise self._explain(error) from error

    def _explain(
        self, error: apsw.Error, connection: apsw.Connection | None = None
    ) -> StorageError:
        """Return our error for one of SQLite's, and note that the store is damaged if it says so."""
        if not is_damage(error):
            return explain(error, connection)
        damaged = DamagedError(f"the store is damaged: {error}")
        if self.damaged is None:
            self.damaged = damaged.message
            log.critical("%s", damaged.message)
        return damaged

    async def snapshot(self, meanwhile: Callable[[], object]) -> Snapshot:
        """Return the store as it is now. Nothing is committed while `meanwhile` runs, on the writer thread.

        So what it does with files that rows name is of the same moment. If the caller is cancelled, `meanwhile` has
        ended, or never begins, when this returns. Raises StorageError, and what it raises.
        """

        def take(_db: apsw.Connection) -> Snapshot:
            taken = Snapshot(self._path, self._key.reveal(), self.vfs)
            try:
                meanwhile()
            except BaseException:
                taken.close()
                raise
            return taken

        future: asyncio.Future[Snapshot] = self._loop.create_future()
        self._put(Operation(take, settle(future)))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # The writer takes it all the same, and the log could not be reused for as long as it is open.
            while not future.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait((future,))
            if future.exception() is None:
                future.result().close()
            raise

    async def behind_what_is_queued(self) -> None:
        """Return once all writes that are queued now are committed, or have failed."""
        # A store that accepts nothing has nothing queued.
        with contextlib.suppress(StorageError):
            await self.write_lazily(lambda _db: None)

    def keep_free(self, min_free_bytes: int) -> None:
        """Let receiving leave another number of bytes free from now on."""
        self._ballast.keep_free(min_free_bytes)

    def keep_reserve(self) -> bool:
        """Make the reserve again if it was used or deleted; return whether it was deleted."""
        missing = self._ballast.missing
        if not self._closed and (missing or self._ballast.released):
            # Every commit makes a used reserve again first, so this empty write is enough.
            again = self._ballast.restore if missing else lambda: None
            self.submit(_ignore, lambda _db: again(), on_failure=_ignore, lazy=True)
        return missing

    def shortage(self) -> str | None:
        """Return what is refused because disk space is short, and until when; None if nothing is."""
        return self._ballast.shortage()

    async def close(self) -> None:
        """Commit what is queued and close."""
        if self._closed:
            return
        self._closed = True
        # The writer's connection is closed last: only the last one checkpoints the log.
        await self._loop.run_in_executor(None, self._readers.shutdown)
        for connection in self._read_connections:
            connection.close()
        self._key.wipe()
        self._queue.put(None)
        if self._writer is not None:
            await self._loop.run_in_executor(None, self._writer.join)

    # -- connections

    def _prepare_with_reserve(self) -> WriteConnection:
        while True:
            try:
                return prepare(
                    self._path,
                    self._key.reveal(),
                    vfs=self.vfs,
                    synchronous=self.synchronous,
                    wal_hook=self._note_log,
                )
            except StoreFullError:
                # Opening needs some space too; without it, what is queued could not drain.
                if not self._ballast.give():
                    raise

    def _let_go(self, db: apsw.Connection) -> None:
        """End what was read. The next who reads must see what was committed meanwhile."""
        if db.in_transaction:
            db.execute("ROLLBACK")
        if db.txn_state("main") != apsw.SQLITE_TXN_NONE:
            # A statement that has not come to its end keeps the connection at what it sees, also after that.
            self._read_connections.remove(db)
            self._local.connection = None
            db.close(True)

    def _read_connection(self) -> apsw.Connection:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            flags = apsw.SQLITE_OPEN_READONLY
            connection = apsw.Connection(*located(self._path, flags), vfs=self.vfs)
            unlock(connection, self._key.reveal())
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
            elif self._unsynced:
                self._sync(connection)
            self._checkpoint(connection)
        if self._ballast.released:
            keep_log(connection)
        connection.close(force=self.damaged is not None)

    def _note_log(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, connection: WriteConnection) -> None:
        """Checkpoint a long log, after the callers of the last commit got their results."""
        limit = WAL_CHECKPOINT_PAGES if self._queue.empty() else WAL_BUSY_PAGES
        if self._ballast.released and self._ballast.left_bytes:
            limit = min(limit, WAL_FULL_PAGES)
        if self._log_pages >= limit:
            self._log_pages = 0
            try:
                connection.wal_checkpoint()
                self._log_stays_long = False
            except apsw.Error as error:  # Tried again after the next commit; logged once.
                if is_full(error, connection) and self._ballast.give():
                    self._log_pages = limit
                    self._checkpoint(connection)
                elif not self._log_stays_long:
                    log.warning("the log of the store stays long: %s", self._explain(error).message)
                    self._log_stays_long = True

    def _gather(self) -> tuple[list[Operation], bool]:
        """Wait for work; return everything that is queued by then, and whether it is the last.

        Returns no work when lazy writes have waited `LAZY_S` for an fsync.
        """
        batch: list[Operation] = []
        while len(batch) < GROUP_OPERATIONS:
            try:
                if batch:
                    operation = self._queue.get_nowait()
                else:
                    operation = self._queue.get(timeout=LAZY_S if self._unsynced else None)
            except queue.Empty:
                return batch, False
            if operation is None:
                return batch, True
            batch.append(operation)
        return batch, False

    def _commit(self, connection: WriteConnection, batch: list[Operation]) -> None:
        while (error := self._try(connection, batch)) is not None:
            again = is_full(error, connection) and self._ballast.give()
            self._roll_back(connection, batch, error, again=again)
            if not again:
                break
        changes = self.follower.changes if error is None else ()
        # If the loop has ended, nobody waits any more; what was committed stays committed.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._deliver, batch, changes)

    def _deliver(self, batch: list[Operation], changes: Sequence[Transition] | None) -> None:
        deliver(batch)
        self.follower.tell(changes)

    def _try(self, connection: WriteConnection, batch: list[Operation]) -> BaseException | None:
        """Commit a batch; return the error that prevented it, if any."""
        try:
            if self.damaged is not None:
                raise DamagedError(f"nothing can be kept: {self.damaged}")
            connection.reserve_in_use = self._ballast.released and not self._ballast.regain()
            connection.wanted_bytes = self._ballast.wanted_bytes
            connection.low = self._ballast.low()
            self._set_synchronous(connection, lazy=all(operation.lazy for operation in batch))
            connection.execute("BEGIN IMMEDIATE")
            self.follower.begin(connection)
            for unit in units(batch):
                self._run(connection, unit)
            self.follower.read(connection)
            connection.execute("COMMIT")
            self.follower.committed()
            if (lost := self.look()) is not None:
                raise TransientError(f"nothing can be kept: {lost}", hint="see: peerpost doctor")
            self._unsynced = self._lazy
        except BaseException as error:  # noqa: BLE001 - whatever it is, each caller gets it
            return error
        return None

    def _set_synchronous(self, connection: apsw.Connection, *, lazy: bool) -> None:
        """Set whether the next commit waits for the disk. Its fsync then covers all commits before it."""
        if lazy != self._lazy and self.synchronous == "full":
            connection.pragma("synchronous", "normal" if lazy else "full")
            self._lazy = lazy

    def _sync(self, connection: apsw.Connection) -> None:
        """Bring lazy writes to the disk. A commit that changes nothing would do no fsync, so this changes something."""
        with contextlib.suppress(apsw.Error):
            self._set_synchronous(connection, lazy=False)
            connection.pragma("user_version", connection.pragma("user_version"))
            self._unsynced = False

    def _run(self, connection: apsw.Connection, unit: list[Operation]) -> None:
        """Run operations that belong together; if that fails, run each alone."""
        first = unit[0]
        connection.execute("SAVEPOINT op")
        try:
            if first.together:
                results = first.work(connection, [operation.item for operation in unit])
                for operation, result in zip(unit, results, strict=True):
                    operation.result = result
            else:
                first.result = first.work(connection)
        except BaseException as error:
            # SQLite may have rolled back the whole transaction: then nothing of the batch is done.
            # And once a page is damaged, nothing may be answered as stored.
            if not connection.in_transaction or is_full(error, connection) or is_damage(error):
                raise
            connection.execute("ROLLBACK TO op")
            if len(unit) == 1:
                first.error = explain(error) if isinstance(error, apsw.Error) else error
            else:
                for operation in unit:
                    self._run(connection, [operation])
        connection.execute("RELEASE op")

    def _roll_back(
        self,
        connection: apsw.Connection,
        batch: list[Operation],
        error: BaseException,
        *,
        again: bool,
    ) -> None:
        """Make each operation fail with the error, or run it `again` as if it had not been tried."""
        for operation in batch:
            if again:
                operation.result = operation.error = None
                continue
            # Each operation gets an error object of its own: the traceback of a shared one would grow with each raise.
            explained = self._explain(error, connection) if isinstance(error, apsw.Error) else error
            operation.error = operation.error or explained
        if connection.in_transaction:
            with contextlib.suppress(apsw.Error):
                connection.execute("ROLLBACK")

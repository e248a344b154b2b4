"""Received files that are whole: their bytes, where they lie, what they hash to; and what goes from the inbox."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from peerpost.errors import NotFoundError, StorageError
from peerpost.store import blobs, deletion, disk, inbox
from peerpost.store import transfers as rows
from peerpost.store.chunks import Sealer
from peerpost.store.sealed import End, SealedFile
from peerpost.wire import limits

from .clock import now_ms
from .long_text import LongText
from .services import with_copy
from .sink import Sink, may_wait
from .tasks import Tasks

if TYPE_CHECKING:
    from .services import Services

__all__ = ["Arrived"]

T = TypeVar("T")

log = logging.getLogger(__name__)

WAITING_THREADS = 128
"""Commands that may have something written to a pipe at once: as many as the control socket takes."""
DELETED_ROWS = 1000
"""Deleted in one transaction where age says which: others write in between."""


class Arrived:
    """The files of one home that have come in."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self._tasks = Tasks()
        self._waiting = ThreadPoolExecutor(WAITING_THREADS, thread_name_prefix="save")
        self._sinks: set[Sink] = set()
        self._stopping = False
        self.on_room: Callable[[], object] = lambda: None
        """Told when something was deleted: what waits for room may have it now."""

    async def stop(self) -> None:
        """Write to nobody who keeps us waiting, and delete no more: what is left of blobs goes at the next start."""
        await self._tasks.stop()
        self._stopping = True
        for sink in list(self._sinks):
            sink.stop()
        self._waiting.shutdown(wait=False, cancel_futures=True)

    async def save(self, item: inbox.Item, out_fd: int) -> str | None:
        """Write a message's bytes to an open file; return the BLAKE2b-256 of a file in hex.

        Raises StorageError naming a chunk that is damaged.
        """
        if item.file_id is None:
            return await self._to(out_fd, lambda write: write(memoryview(item.body or b"")))
        row = await self._row(item)

        def run(write: Callable[[memoryview], None]) -> str:
            # Once it is open it is read to its end, whoever deletes it meanwhile: its bytes go when it is closed.
            digest = hashlib.blake2b(digest_size=32)
            with self._blob(row) as sealed:
                for piece in sealed.plain(_end(row)):
                    digest.update(piece)
                    write(piece)
            return digest.hexdigest()

        return await self._unless_deleted(item, self._to(out_fd, run))

    async def _to(self, out_fd: int, work: Callable[[Callable[[memoryview], None]], T]) -> T:
        """Have a thread write. One whose reader may keep it waiting is not of those that all files share."""
        if not may_wait(out_fd):
            return await self._services.with_file(
                out_fd,
                lambda fd: work(functools.partial(_write, functools.partial(disk.write_all, fd))),
            )

        def run(fd: int) -> T:
            sink = Sink(fd)
            self._sinks.add(sink)
            try:
                if self._stopping:
                    sink.stop()
                return work(functools.partial(_write, sink.write))
            finally:
                self._sinks.discard(sink)
                sink.close()

        return await with_copy(self._waiting, out_fd, run)

    async def describe(self, item: inbox.Item) -> dict[str, Any]:
        """Return where a received file lies and its digest; the body too, for a long text."""
        row = await self._row(item)

        def run() -> dict[str, Any]:
            with self._blob(row) as sealed:
                if _is_text(row):
                    body = bytearray()
                    for piece in sealed.plain(_end(row)):
                        body += piece
                    return {"body": body.decode(errors="replace")}
                digest = sealed.digest(_end(row)).hex()
                return {"path": str(sealed.path), "sealed": True, "blake2b": digest}

        return await self._unless_deleted(item, self._services.in_thread(run))

    async def text(self, item: inbox.Item) -> AsyncGenerator[str, None] | None:
        """Return the pieces of a long text, all of it checked by the first; None where it is no text.

        Raises StorageError naming a chunk that is damaged.
        """
        row = await self._row(item)
        return self._pieces(item, row) if _is_text(row) else None

    async def _pieces(self, item: inbox.Item, row: rows.Transfer) -> AsyncGenerator[str, None]:
        text, in_thread = LongText(lambda: self._blob(row), _end(row)), self._services.in_thread
        try:
            await self._unless_deleted(item, in_thread(text.check))
            while (piece := await in_thread(text.next)) is not None:
                if piece:
                    yield piece
        finally:
            await in_thread(text.close)

    async def delete(self, prefixes: list[str], contact_id: str | None) -> list[deletion.Deleted]:
        """Delete messages, all or none, and what they take up on the disk. Raises NotFoundError, AmbiguousError."""
        return await self._delete(lambda db: deletion.delete(db, prefixes, contact_id, now_ms()))

    async def delete_older(
        self, before_ms: int, contact_id: str | None, limit: int | None
    ) -> list[deletion.Deleted]:
        """Delete messages that came before a moment, the oldest first; at most `limit` where that is given."""
        gone: list[deletion.Deleted] = []
        while limit is None or len(gone) < limit:
            count = DELETED_ROWS if limit is None else min(DELETED_ROWS, limit - len(gone))

            def some(db: apsw.Connection, count: int = count) -> list[deletion.Deleted]:
                return deletion.delete_older(db, before_ms, contact_id, count, now_ms())

            page = await self._delete(some)
            gone += page
            if not page:
                break
        return gone

    async def _delete(
        self, work: Callable[[apsw.Connection], list[deletion.Deleted]]
    ) -> list[deletion.Deleted]:
        # Who asked may leave after the commit, and the blobs are to go all the same.
        commit = self._commit_and_discard(work)
        return await self._tasks.to_its_end(commit, name="delete-messages")

    async def _commit_and_discard(
        self, work: Callable[[apsw.Connection], list[deletion.Deleted]]
    ) -> list[deletion.Deleted]:
        gone = await self._services.store.write(work)
        await self._services.in_thread(self._discard, gone)
        if gone:
            self.on_room()
        return gone

    def _discard(self, gone: list[deletion.Deleted]) -> None:
        for one in gone:
            if one.file is None:
                continue
            try:
                blobs.discard(self._folder, one.file)
            except OSError as error:
                log.warning("%s is left until the next start: %s", one.file.id, error)

    async def _unless_deleted(self, item: inbox.Item, reading: Awaitable[T]) -> T:
        """Wait for the reading of a file. Raises NotFoundError where it was deleted before it was open."""
        try:
            return await reading
        except StorageError:
            await self._services.store.read(inbox.find, item.id)
            raise

    async def _row(self, item: inbox.Item) -> rows.Transfer:
        if item.file_id is None:
            raise NotFoundError(f"{item.id} is not a file")
        row = await self._services.store.read(
            rows.get, item.contact_id, item.file_id, incoming=True
        )
        if row is None or row.finish is None or not row.key:  # The key goes with the message.
            raise NotFoundError(f"the file of {item.id} is not here any more")
        return row

    def _blob(self, row: rows.Transfer) -> SealedFile:
        sealer = Sealer(file_id=row.file_id, key=row.key, chunk_log2=row.chunk_log2)
        return SealedFile.open(blobs.path(self._folder, row, ".sealed"), sealer)


def _write(write: Callable[[memoryview], None], data: memoryview) -> None:
    with disk.errors("cannot write the file"):
        write(data)


def _is_text(row: rows.Transfer) -> bool:
    # One that an earlier version took for a text may have any length.
    return row.as_text and _end(row).size <= limits.MAX_TEXT_BYTES


def _end(row: rows.Transfer) -> End:
    finish = row.finish
    if finish is None:
        raise NotFoundError("the file is not whole")
    return End(size=finish.size, count=finish.count, root=finish.root)

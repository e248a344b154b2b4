"""Received files that are complete: their bytes, place and digest; and how messages are deleted from the inbox."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import apsw

from peerpost.errors import NotFoundError, PeerpostError, StorageError, UnavailableError
from peerpost.node.clock import rfc3339
from peerpost.node.tasks import Tasks
from peerpost.store import disk
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import End, SealedFile
from peerpost.store.tables import backups, blobs, deletion, inbox, plain
from peerpost.store.tables import transfers as rows
from peerpost.wire import limits

from .given_up import GivenUp, until_left
from .long_text import LongText
from .plain_file import read_plain
from .sink import Sink

if TYPE_CHECKING:
    from peerpost.node.services import Services

__all__ = ["Arrived"]

T = TypeVar("T")

log = logging.getLogger(__name__)

WAITING_THREADS = 128
"""How many commands may have data written to a pipe at once: as many as the control socket serves."""
DELETED_ROWS = 1000
"""How many messages are deleted by age in one transaction: between two of these, others can write."""


class Arrived:
    """The files of one home that have come in."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self.folder = folder
        self._tasks = Tasks()
        self._waiting = ThreadPoolExecutor(WAITING_THREADS, thread_name_prefix="save")
        self._sinks: set[Sink] = set()
        self._stopping = False
        self.on_room: Callable[[], object] = lambda: None
        """Called when something was deleted, because transfers that wait for room may go on now."""

    async def stop(self) -> None:
        """Stop writing to readers that keep us waiting, and stop deleting; remaining blobs go at the next start."""
        await self._tasks.stop()
        self._stopping = True
        for sink in self._sinks:
            sink.stop()
        self._waiting.shutdown(wait=False, cancel_futures=True)

    async def save(self, item: inbox.Item, out_fd: int) -> str | None:
        """Write a message's bytes to an open file; return the BLAKE2b-256 of a file in hex.

        Raises StorageError naming a chunk that is damaged, UnavailableError for a kind that is not known here.
        """
        if item.kind == inbox.UNKNOWN:
            raise UnavailableError(
                f"{item.id} is of a kind that a later version of Peerpost knows", hint="update it"
            )
        if item.file_id is None:
            return await self._to(out_fd, lambda sink: sink.write(memoryview(item.body or b"")))
        row = await self._row(item)
        began = False

        def sealed(sink: Sink) -> str:
            def take(piece: memoryview) -> None:
                nonlocal began
                began = True
                sink.write(piece)

            return self.read_out(row, take)

        lies = await self._services.store.read(plain.get, item.id)
        if lies is None:
            # Once it is open it is read to its end, even if it is deleted meanwhile: the bytes go when it is closed.
            try:
                return await self._unless_deleted(item, self._to(out_fd, sealed))
            except StorageError as error:
                # The sealed copy is removed once there is a plain one; that may have happened before we opened it.
                lies = await self._services.store.read(plain.get, item.id)
                if began or lies is None:
                    raise await self._explained(item, row, error) from None
        path, digest = lies
        return await self._to(out_fd, lambda sink: read_plain(path, digest, sink.write))

    async def _to(self, out_fd: int, work: Callable[[Sink], T]) -> T:
        """Write in a thread. If the reader may keep it waiting, it is not one of the threads that all files share."""
        if self._stopping:
            raise UnavailableError("the node is stopping", hint="try again")
        with disk.errors("cannot write the file"):
            sink = Sink(out_fd)
        self._sinks.add(sink)

        def run() -> T:
            result = work(sink)
            sink.end()
            return result

        try:
            threads = self._waiting if sink.may_wait else self._services.threads
            return await until_left(threads, sink.stop, run)
        finally:
            self._sinks.discard(sink)
            sink.close()

    def read_out(self, row: rows.Transfer, take: Callable[[memoryview], object]) -> str:
        """Hand over the bytes of a sealed file, each checked before; return their BLAKE2b-256 in hex.

        Raises StorageError naming a chunk that is damaged.
        """
        with self._blob(row) as sealed:
            return sealed.read_out(_end(row), take).hex()

    async def describe(self, item: inbox.Item) -> dict[str, Any]:
        """Return where a received file lies and its digest; the body too, for a long text."""
        row, nobody = await self._row(item), GivenUp()
        if (lies := await self._lies(item)) is not None:
            return lies

        def run() -> dict[str, Any]:
            body = bytearray()

            def take(piece: memoryview) -> None:
                nobody.require_wanted()
                if _is_text(row):
                    body.extend(piece)

            digest = self.read_out(row, take)
            if _is_text(row):
                return {"body": body.decode(errors="replace")}
            path = blobs.path(self.folder, row, ".sealed")
            return {"path": str(path), "sealed": True, "blake2b": digest}

        reading = until_left(self._services.threads, nobody.stop, run)
        try:
            return await self._unless_deleted(item, reading)
        except StorageError as error:
            if (lies := await self._lies(item)) is not None:
                return lies
            raise await self._explained(item, row, error) from None

    async def _lies(self, item: inbox.Item) -> dict[str, Any] | None:
        """Return where a file lies plain, and its digest when it was written; None if it is sealed."""
        found = await self._services.store.read(plain.get, item.id)
        if found is None:
            return None
        return {"path": found[0], "sealed": False, "blake2b": found[1].hex()}

    async def text(self, item: inbox.Item) -> AsyncGenerator[str, None] | None:
        """Return the pieces of a long text, or None if it is no text. The whole text is checked before the first piece.

        Raises StorageError naming a chunk that is damaged.
        """
        row = await self._row(item)
        return self._pieces(item, row) if _is_text(row) else None

    async def _pieces(self, item: inbox.Item, row: rows.Transfer) -> AsyncGenerator[str, None]:
        text, in_thread = LongText(lambda: self._blob(row), _end(row)), self._services.in_thread
        try:
            try:
                await self._unless_deleted(item, in_thread(text.check))
            except StorageError as error:
                raise await self._explained(item, row, error) from None
            while (piece := await in_thread(text.next)) is not None:
                if piece:
                    yield piece
        finally:
            await in_thread(text.close)

    async def delete(self, prefixes: list[str], contact_id: str | None) -> list[deletion.Deleted]:
        """Delete messages, all or none, and what they take up on the disk. Raises NotFoundError, AmbiguousError."""
        return await self.delete_by(
            lambda db: deletion.delete(db, prefixes, contact_id, self._services.clock.now_ms())
        )

    async def delete_older(
        self, before_ms: int, contact_id: str | None, limit: int | None
    ) -> list[deletion.Deleted]:
        """Delete messages that came before a moment, the oldest first; at most `limit`, if that is given."""
        gone: list[deletion.Deleted] = []
        while limit is None or len(gone) < limit:
            count = DELETED_ROWS if limit is None else min(DELETED_ROWS, limit - len(gone))

            def some(db: apsw.Connection, count: int = count) -> list[deletion.Deleted]:
                return deletion.delete_older(
                    db, before_ms, contact_id, count, self._services.clock.now_ms()
                )

            page = await self.delete_by(some)
            gone += page
            if not page:
                break
        return gone

    async def delete_by(
        self, work: Callable[[apsw.Connection], list[deletion.Deleted]]
    ) -> list[deletion.Deleted]:
        """Delete what `work` deletes in one transaction, then the files of it on the disk."""
        # The caller may be cancelled after the commit; the blobs must go all the same.
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
                blobs.discard(self.folder, one.file)
            except OSError as error:
                log.warning("%s is left until the next start: %s", one.file.id, error)

    async def _unless_deleted(self, item: inbox.Item, reading: Awaitable[T]) -> T:
        """Wait until a file was read. Raises NotFoundError if it was deleted before it was opened."""
        try:
            return await reading
        except StorageError:
            await self._services.store.read(inbox.find, item.id)
            raise

    async def _explained(
        self, item: inbox.Item, row: rows.Transfer, error: StorageError
    ) -> PeerpostError:
        """Return the error for a file that could not be read, which says so if it is not there at all."""
        if await self._services.in_thread(blobs.path(self.folder, row, ".sealed").exists):
            return error
        made_ms = (await self._services.store.read(backups.load)).restored_from_ms
        why = "its file is gone from the home folder"
        if made_ms is not None and item.received_ms <= made_ms:
            why = f"this home was put back from the backup of {rfc3339(made_ms)}, which was made without files"
        return NotFoundError(
            f"{item.id} cannot be read: {why}",
            hint="ask for it to be sent again, or put the home back from a backup that has it;"
            f" to take it off the list: peerpost inbox delete {item.id}",
        )

    async def transfer(self, item: inbox.Item) -> rows.Transfer:
        """Return the transfer that brought a file. Raises NotFoundError if it is no file, or was deleted."""
        return await self._row(item)

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
        return SealedFile.open(blobs.path(self.folder, row, ".sealed"), sealer)


def _is_text(row: rows.Transfer) -> bool:
    # A file that an earlier version took for a text may have any length.
    return row.as_text and _end(row).size <= limits.MAX_TEXT_BYTES


def _end(row: rows.Transfer) -> End:
    finish = row.finish
    if finish is None:
        raise NotFoundError("the file is not whole")
    return End(size=finish.size, count=finish.count, root=finish.root)

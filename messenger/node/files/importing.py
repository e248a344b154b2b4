"""Messages that are imported, and their files: sealed into the home like those that have come, under their own keys."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from peerpost.bundle.record import DIGEST_BYTES, Card, Record, bad
from peerpost.errors import UnavailableError
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import End, SealedFile
from peerpost.store.files.source import Source
from peerpost.store.files.space import check_space
from peerpost.store.files.spool import spool
from peerpost.store.tables import blobs, ids, imported
from peerpost.store.tables.imported import Arrival, Taken
from peerpost.store.tables.transfers import Transfer
from peerpost.wire.limits import CHUNK_LOG2

from .given_up import until_left

if TYPE_CHECKING:
    from peerpost.node.services import Services

__all__ = ["Importing"]


class Importing:
    """The imports of one home."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self._sources: set[Source] = set()
        self._stopping = False

    def stop(self) -> None:
        """Give up what is being read."""
        self._stopping = True
        for source in self._sources:
            source.stop()

    async def without_files(self, cards: Sequence[Card], records: Sequence[Record]) -> Taken:
        """Import messages whose bytes are in the records, or are not there. Raises as `imported.take`."""
        arrivals = [Arrival(record=record) for record in records]
        return await self._services.store.write(imported.take, cards, arrivals)

    async def with_file(self, cards: Sequence[Card], record: Record, fd: int) -> Taken:
        """Import a message and its file, which is read from `fd`.

        Raises BadInputError if the bytes are not those that the record names, StoreFullError, StorageError.
        """
        if self._stopping:
            raise UnavailableError("the node is stopping", hint="try again")
        store = self._services.store
        if await store.read(imported.known, cards, record):
            return await self.without_files(cards, [record])
        row = imported.file_of(
            record,
            transfer_id=await store.read(ids.new_id, "transfers"),
            file_id=secrets.token_bytes(16),
            key=secrets.token_bytes(32),
            now_ms=self._services.clock.now_ms(),
        )
        # A thread of its own: whoever writes to a pipe may take as long as it likes.
        threads = ThreadPoolExecutor(1, thread_name_prefix="import")
        source = Source(os.dup(fd))
        self._sources.add(source)
        kept = False
        try:
            end = await until_left(threads, source.stop, self._seal, row, record, source)
            whole = imported.ended(row, end)

            def work(db: apsw.Connection) -> Taken:
                return imported.take(db, cards, [Arrival(record=record, file=whole)])

            taken = await store.write(work)
            kept = taken.imported > 0
        finally:
            self._sources.discard(source)
            source.close()
            if not kept:
                await until_left(threads, source.stop, blobs.discard, self._folder, row)
            threads.shutdown(wait=False)
        return taken

    def _seal(self, row: Transfer, record: Record, source: Source) -> End:
        size_bytes = record.size or 0
        reserve_bytes = self._services.config.storage.min_free
        check_space(self._folder, size_bytes, reserve_bytes=reserve_bytes)
        sealer = Sealer(file_id=row.file_id, key=row.key, chunk_log2=CHUNK_LOG2)
        hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
        with SealedFile.create(blobs.path(self._folder, row, ".sealed"), sealer) as sealed:
            end = spool(source, sealed, limit_bytes=size_bytes, hasher=hasher)
        if end.size != size_bytes or hasher.hexdigest() != record.file:
            raise bad(f"the file of {record.id} is not the one that it names")
        return end

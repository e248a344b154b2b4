"""The spool of one home: contents are put in once, opened for the transfers that need them, and removed at the end.

    spool/<content id>.sealed, .leaves      what was spooled, sealed under the keys of the first transfer
    spool/<file id>.leaves                  leaves of a transfer whose content lies elsewhere and is sealed anew

The order makes a crash harmless at any point: the files are on the disk before a row names them, and are removed after
the last row that does. A crash in between leaves files that no row names, and `sweep` removes these at the next start.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from peerpost.errors import PeerpostError, StorageError
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import LEAVES_SUFFIX, End, SealedFile
from peerpost.store.files.source import Source
from peerpost.store.files.spool import Hasher, Readable, SharedSource, SpoolSource, digest_of, spool
from peerpost.store.tables import contents
from peerpost.store.tables.contents import Content
from peerpost.store.tables.transfers import Transfer
from peerpost.wire import limits

from .given_up import GivenUp, until_left

if TYPE_CHECKING:
    from peerpost.node.services import Services

__all__ = ["Spool"]

_GONE = "our copy of it is gone, as it is where a home was put back without files; send it again"


class Spool:
    """Contents on disk."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder
        self._digest_key: bytes | None = None

    async def hasher(self) -> Hasher:
        """Return the hash by which the same bytes are known again."""
        if self._digest_key is None:
            self._digest_key = await self._services.store.write(contents.digest_key)
        return contents.hasher(self._digest_key)

    async def recognise(self, fd: int) -> Content | None:
        """Return the content that already has a file's bytes; None if they must be spooled.

        Only a regular file is read for this, and only if something spooled has its size.
        """
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        size = status.st_size - os.lseek(fd, 0, os.SEEK_CUR)
        if not await self._services.store.read(contents.has_size, size):
            return None
        hasher, nobody = await self.hasher(), GivenUp()
        digest = await until_left(
            self._services.threads, nobody.stop, digest_of, fd, size, hasher, nobody.require_wanted
        )
        if digest is None:
            return None
        return await self._services.store.read(contents.by_digest, digest, limits.CHUNK_LOG2)

    async def put(
        self,
        source: int | Readable,
        *,
        file_id: bytes,
        key: bytes,
        on_chunks: Callable[[int, int], None] | None = None,
        thread: Executor | None = None,
        tidy: bool = True,
    ) -> tuple[Content, End]:
        """Seal everything from a source. Afterwards the files are on the disk, and no row names them yet.

        `on_chunks` is as in `store.files.spool.spool`. A source that may keep its reader waiting gets a `thread` of its
        own, so that it does not block the node's threads.

        Raises NoInputError, StoreFullError or StorageError, with nothing left behind unless `tidy` is false.
        """
        hasher = await self.hasher()

        def run(source: Readable) -> tuple[Content, End]:
            sealer = Sealer(file_id=file_id, key=key, chunk_log2=limits.CHUNK_LOG2)
            with SealedFile.create(self.path(file_id), sealer) as sealed:
                end = spool(source, sealed, hasher=hasher, on_chunks=on_chunks)
            digest = hasher.digest()
            content = Content(
                id=file_id, key=key, chunk_log2=limits.CHUNK_LOG2, size=end.size, digest=digest
            )
            return content, end

        # Use a copy of the descriptor: the one of a request is closed when its client leaves.
        own = Source(os.dup(source)) if isinstance(source, int) else None
        given = own or _Interruptible(cast("Readable", source))
        try:
            return await until_left(thread or self._services.threads, given.stop, run, given)
        except BaseException as error:
            if tidy and isinstance(error, (PeerpostError, asyncio.CancelledError)):
                self.remove(file_id)
            raise
        finally:
            if own is not None:
                own.close()

    async def read(self, content_id: bytes) -> bytes:
        """Return a whole content that is small. Raises StorageError."""
        content = await self._services.store.read(contents.get, content_id)
        if content is None:
            raise StorageError(_GONE)

        def run() -> bytes:
            sealer = Sealer(file_id=content.id, key=content.key, chunk_log2=content.chunk_log2)
            with self._opened(content.id, sealer) as sealed:
                count = sealed.geometry(content.size).count or 1
                return b"".join(sealed.read_plain(at, 1, content.size) for at in range(count))

        return await self._services.in_thread(run)

    async def open(self, row: Transfer) -> SpoolSource | SharedSource:
        """Open what a transfer sends. Raises StorageError."""
        sealer = Sealer(file_id=row.file_id, key=row.key, chunk_log2=row.chunk_log2)
        if row.content_id in (row.file_id, None):
            sealed = await self._services.in_thread(self._opened, row.file_id, sealer)
            return SpoolSource(sealed, size=row.finish_size if row.size is None else row.size)
        return await self._open_shared(row, sealer)

    async def _open_shared(self, row: Transfer, sealer: Sealer) -> SharedSource:
        content_id = row.content_id or b""
        content = await self._services.store.read(contents.get, content_id)
        if content is None:
            raise StorageError(_GONE)
        theirs = Sealer(file_id=content.id, key=content.key, chunk_log2=content.chunk_log2)

        def run() -> SharedSource:
            sealed = self._opened(content.id, theirs)
            return SharedSource(sealed, content.size, sealer, self.leaves_path(row.file_id))

        return await self._services.in_thread(run)

    def _opened(self, content_id: bytes, sealer: Sealer) -> SealedFile:
        """Open the files of a content. Raises StorageError."""
        if not self.path(content_id).exists():
            raise StorageError(_GONE)
        return SealedFile.open(self.path(content_id), sealer)

    async def tidy(self, ids: set[bytes]) -> None:
        """Remove the files of these contents and transfers that no row names any more."""
        store = self._services.store
        missing = await store.read(contents.missing, ids)
        unneeded = await store.read(contents.unneeded, missing)

        def run() -> None:
            for id_ in missing:
                self.path(id_).unlink(missing_ok=True)
            for id_ in unneeded:
                self.leaves_path(id_).unlink(missing_ok=True)

        await self._services.in_thread(run)

    async def tidy_after(self, ended: Iterable[Transfer]) -> None:
        """Remove what outgoing transfers left that have ended or are gone."""
        await self.tidy({id_ for row in ended for id_ in (row.file_id, row.content_id) if id_})

    async def sweep(self) -> None:
        """Remove what was being spooled or removed when the node was killed; call it at the start."""
        await self.tidy(await self._services.in_thread(self._ids))

    def _ids(self) -> set[bytes]:
        return {
            bytes.fromhex(path.stem)
            for path in self._folder.iterdir()
            if len(path.stem) == 32 and not set(path.stem) - set("0123456789abcdef")
        }

    def path(self, content_id: bytes) -> Path:
        """Return where a content lies."""
        return self._folder / f"{content_id.hex()}.sealed"

    def leaves_path(self, file_id: bytes) -> Path:
        """Return where the leaves of a content, or of a transfer, lie."""
        return self.path(file_id).with_suffix(LEAVES_SUFFIX)

    def empty(self, id_: bytes) -> None:
        """Free the disk space of a content that will get no row, even if it is still open."""
        for path in (self.path(id_), self.leaves_path(id_)):
            with suppress(FileNotFoundError):
                os.truncate(path, 0)

    def remove(self, id_: bytes) -> None:
        """Remove the files of a content that never had a row."""
        self.path(id_).unlink(missing_ok=True)
        self.leaves_path(id_).unlink(missing_ok=True)


class _Interruptible(GivenUp):
    """A source that can be given up between two reads."""

    def __init__(self, source: Readable) -> None:
        super().__init__()
        self._source = source

    def readinto(self, room: memoryview, /) -> int:
        """Read on. Raises UnavailableError once it is stopped."""
        self.require_wanted()
        return self._source.readinto(room)

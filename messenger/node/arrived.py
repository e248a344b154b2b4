"""Received files that are whole: their bytes, where they lie, what they hash to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peerpost.errors import NotFoundError
from peerpost.store import blobs, disk, inbox
from peerpost.store import transfers as rows
from peerpost.store.chunks import Sealer
from peerpost.store.sealed import End, SealedFile
from peerpost.wire import limits

if TYPE_CHECKING:
    from .services import Services

__all__ = ["Arrived"]


class Arrived:
    """The files of one home that have come in."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder

    async def save(self, item: inbox.Item, out_fd: int) -> str:
        """Write a received file's bytes to an open file; return their BLAKE2b-256 in hex.

        Raises StorageError naming a chunk that is damaged.
        """
        row = await self._row(item)

        def run() -> str:
            digest = hashlib.blake2b(digest_size=32)
            with self._blob(row) as sealed, disk.errors("cannot write the file"):
                for piece in sealed.plain(_end(row)):
                    digest.update(piece)
                    disk.write_all(out_fd, piece)
            return digest.hexdigest()

        return await self._services.in_thread(run)

    async def describe(self, item: inbox.Item) -> dict[str, Any]:
        """Return where a received file lies and its digest; the body too, for a long text."""
        row = await self._row(item)

        def run() -> dict[str, Any]:
            with self._blob(row) as sealed:
                # One that an earlier version took for a text may have any length.
                if row.as_text and _end(row).size <= limits.MAX_TEXT_BYTES:
                    body = bytearray()
                    for piece in sealed.plain(_end(row)):
                        body += piece
                    return {"body": body.decode(errors="replace")}
                digest = sealed.digest(_end(row)).hex()
                return {"path": str(sealed.path), "sealed": True, "blake2b": digest}

        return await self._services.in_thread(run)

    async def _row(self, item: inbox.Item) -> rows.Transfer:
        if item.file_id is None:
            raise NotFoundError(f"{item.id} is not a file")
        row = await self._services.store.read(
            rows.get, item.contact_id, item.file_id, incoming=True
        )
        if row is None or row.finish is None:
            raise NotFoundError(f"the file of {item.id} is not here any more")
        return row

    def _blob(self, row: rows.Transfer) -> SealedFile:
        sealer = Sealer(file_id=row.file_id, key=row.key, chunk_log2=row.chunk_log2)
        return SealedFile.open(blobs.path(self._folder, row, ".sealed"), sealer)


def _end(row: rows.Transfer) -> End:
    finish = row.finish
    if finish is None:
        raise NotFoundError("the file is not whole")
    return End(size=finish.size, count=finish.count, root=finish.root)

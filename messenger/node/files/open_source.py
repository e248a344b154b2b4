"""The source of an outgoing file: the spool, a file of the user, a folder, or a stream that still grows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from peerpost.store.files.chunks import Sealer
from peerpost.store.files.folder import Archive, FolderSource
from peerpost.store.files.reference import Reference, ReferenceSource
from peerpost.store.files.spool import SpoolSource
from peerpost.store.tables import transfers as rows

if TYPE_CHECKING:
    from peerpost.node.services import Services
    from peerpost.store.files.resealed import ResealedSource

    from .pipes import Pipe
    from .spool import Spool

__all__ = ["open_source"]


async def open_source(
    services: Services, spool: Spool, row: rows.Transfer, pipe: Pipe | None
) -> SpoolSource | ResealedSource:
    """Open what a transfer sends. Raises StorageError, NoInputError."""
    if row.source in (None, rows.STREAM_SOURCE):
        source = await spool.open(row)
        end = None if pipe is None or pipe.finish is None else pipe.end
        if isinstance(source, SpoolSource) and end is not None:
            source.ended(end)
        return source
    sealer = Sealer(file_id=row.file_id, key=row.key, chunk_log2=row.chunk_log2)
    where, leaves = json.loads(row.source or ""), spool.leaves_path(row.file_id)
    if "folder" not in where:
        return await services.in_thread(ReferenceSource, Reference(**where), sealer, leaves)
    manifest = await spool.read(row.content_id or b"")

    def open_folder() -> FolderSource:
        archive = Archive.open(bytes.fromhex(where["folder"]), manifest, where["prefix"])
        return FolderSource(archive, sealer, leaves)

    return await services.in_thread(open_folder)

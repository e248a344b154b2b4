"""The part of an incoming file that has arrived, on the disk; `store.tables.blobs` says where it lies."""

from __future__ import annotations

from pathlib import Path

from peerpost.errors import StorageError
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import End, SealedFile
from peerpost.store.tables import blobs
from peerpost.store.tables import transfers as rows

__all__ = ["Part"]

FLUSH_BYTES = 16 << 20
"""How much is written before it is flushed: a usual disk takes 20 ms for it."""


class Part:
    """The part of one file. All methods block except `wrote`."""

    def __init__(self, folder: Path, row: rows.Transfer) -> None:
        self._path = blobs.path(folder, row, ".part")
        self._final = blobs.path(folder, row, ".sealed")
        self._found = False
        """Whether it was looked which of the two there is."""
        self._file: SealedFile | None = None
        self._unflushed = 0
        self._flushing = False

    @property
    def file(self) -> SealedFile:
        """The open file. Raises StorageError if it is not open."""
        if self._file is None:
            raise StorageError("the part is not open")
        return self._file

    def open(self, row: rows.Transfer) -> bytes:
        """Open what an earlier run left, or begin; return the bitmap of the chunks that are right."""
        sealer = Sealer(file_id=row.file_id, key=row.key, chunk_log2=row.chunk_log2)
        self._find()
        if not self._path.exists():
            self._path.with_suffix(".leaves").unlink(missing_ok=True)
            self._file = SealedFile.create(self._path, sealer)
            return b""
        self._path.with_suffix(".leaves").touch(mode=0o600)
        self._file = SealedFile.open(self._path, sealer, writable=True)
        return self._file.rehash(row.finish_size if row.finish is not None else row.size)

    def _find(self) -> None:
        if not self._found and self._final.exists():
            # The file was put in place, but the node ended before that was recorded.
            self._path = self._final
        self._found = True

    def wrote(self, size_bytes: int) -> bool:
        """Note what was written; return whether to `flush` now, because a large flush would hold up other writers."""
        self._unflushed += size_bytes
        if self._unflushed < FLUSH_BYTES or self._flushing:
            return False
        self._flushing, self._unflushed = True, 0
        return True

    def flush(self) -> None:
        """Flush the chunks that were written by now. Raises StorageError."""
        try:
            self.file.flush_chunks()
        finally:
            self._flushing = False

    def finish(self, end: End) -> None:
        """Check and flush the whole, and put it in place. Raises as `SealedFile.finish` does."""
        self.file.finish(end, self._final)

    def close(self) -> None:
        """Close the file and keep it. Closing twice is harmless."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Close and remove it."""
        self.close()
        self._find()
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(".leaves").unlink(missing_ok=True)

"""A folder sent as one file: its tar archive, which is never stored but made piece by piece while it is read.

Nothing is copied. The manifest determines each header and each file's place, so that any part of the
archive can be made at any time, and again after a restart. Headers are POSIX pax headers by the
standard library, without owners, with times in whole seconds. If a file is not what the manifest says,
the transfer ends and names the file.
"""

from __future__ import annotations

import bisect
import os
import stat
import tarfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from peerpost import system
from peerpost.errors import PeerpostError, SourceChangedError
from peerpost.raw_bytes import shown
from peerpost.store import disk

from .chunks import Sealer
from .manifest import FILE, FOLDER, LINK, FolderEntry, nodes
from .reference import name_of, unreadable
from .resealed import ResealedSource

__all__ = ["Archive", "ArchiveStream", "FolderSource"]

_BLOCK: Final = tarfile.BLOCKSIZE
_SHORT_NAME: Final = tarfile.LENGTH_NAME - 1
"""A longer name needs a further header; the `/` after a folder's name is not counted."""
_LARGE: Final = 8 << 30
"""A size in bytes or a time in seconds from which a further header is needed."""
_TYPES: Final = {FILE: tarfile.REGTYPE, FOLDER: tarfile.DIRTYPE, LINK: tarfile.SYMTYPE}


class Archive:
    """The archive of an open folder. Reading is safe from several threads."""

    def __init__(self, folder_fd: int, manifest: bytes, prefix: str) -> None:
        """Take ownership of the open folder. All members lie under the name `prefix`."""
        self._folder_fd = folder_fd
        self._manifest = manifest
        self._prefix = os.fsencode(prefix)
        self._starts, self._places = array("Q"), array("Q")
        at = 0
        for place, node in nodes(manifest):
            self._starts.append(at)
            self._places.append(place)
            at += self._header_bytes(node) + _padded(node.size)
        self._members_end = at
        # Every tar ends with two blocks of zeros and is filled up to whole records.
        self.size = -(-(at + 2 * _BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
        """Bytes of the archive."""

    @classmethod
    def open(cls, path: bytes, manifest: bytes, prefix: str) -> Archive:
        """Open a folder by its path. Raises SourceChangedError, or TransientError if it may be open later."""
        flags = os.O_RDONLY | system.O_DIRECTORY | system.OPEN
        try:
            fd = os.open(path, flags)
        except OSError as error:
            raise unreadable(name_of(os.fsdecode(path)), error) from error
        try:
            return cls(fd, manifest, prefix)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Close the folder."""
        os.close(self._folder_fd)

    def read(self, offset: int, size: int) -> bytes:
        """Return a part of the archive, shorter only at its end. Raises SourceChangedError, TransientError."""
        size = max(0, min(size, self.size - offset))
        stop = offset + size
        out = bytearray()
        if offset < self._members_end:
            first = bisect.bisect_right(self._starts, offset) - 1
            start = self._starts[first]
            for _, node in nodes(self._manifest, self._places[first]):
                for part, length in self._parts(node, max(0, offset - start), stop - start):
                    out += part if part is not None else bytes(length)
                start += self._header_bytes(node) + _padded(node.size)
                if start >= stop:
                    break
        return bytes(out) + bytes(size - len(out))

    def _parts(
        self, node: FolderEntry, first: int, stop: int
    ) -> Iterator[tuple[bytes | None, int]]:
        """Yield the part of a member from `first` to `stop`: bytes, or None for zeros."""
        header = self._header(node)
        yield header[first:stop], 0
        data_first = max(0, first - len(header))
        data_stop = min(node.size, stop - len(header))
        if data_first < data_stop:
            yield self._data(node, data_first, data_stop - data_first), 0
        pad_first = max(first, len(header) + node.size)
        pad_stop = min(stop, len(header) + _padded(node.size))
        yield None, max(0, pad_stop - pad_first)

    def _header_bytes(self, node: FolderEntry) -> int:
        name = self._name(node)
        plain = name.isascii() and node.link.isascii() and len(node.link) <= _SHORT_NAME
        if (
            plain
            and len(name) <= _SHORT_NAME
            and node.size < _LARGE
            and 0 <= node.mtime_ns // 10**9 < _LARGE
        ):
            return _BLOCK
        return len(self._header(node))

    def _name(self, node: FolderEntry) -> bytes:
        return self._prefix + b"/" + node.path if node.path else self._prefix

    def _header(self, node: FolderEntry) -> bytes:
        info = tarfile.TarInfo(self._name(node).decode("utf-8", "surrogateescape"))
        info.type = _TYPES[node.kind]
        info.linkname = node.link.decode("utf-8", "surrogateescape")
        info.mode = node.mode
        info.size = node.size
        info.mtime = node.mtime_ns // 10**9
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")

    def _data(self, node: FolderEntry, offset: int, size: int) -> bytes:
        flags = os.O_RDONLY | system.O_NOFOLLOW | system.O_NONBLOCK | system.OPEN
        try:
            fd = os.open(node.path, flags, dir_fd=self._folder_fd)
            try:
                data = disk.read_at(fd, size, offset)
                status = os.fstat(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise unreadable(f"{shown(node.path)} in the folder", error) from error
        now = (status.st_size, status.st_mtime_ns, status.st_ino)
        if (
            now != (node.size, node.mtime_ns, node.inode)
            or node.ctime_ns not in (None, status.st_ctime_ns)
            or not stat.S_ISREG(status.st_mode)
            or len(data) != size
        ):
            raise SourceChangedError(
                f"{shown(node.path)} in the folder changed after it was queued",
                hint="send it again, with --spool to have it copied first",
            )
        return data


class ArchiveStream:
    """An archive read from its beginning to its end, to be copied."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._at = 0

    def readinto(self, room: memoryview) -> int:
        """Fill the buffer; return how much that was."""
        data = self._archive.read(self._at, len(room))
        room[: len(data)] = data
        self._at += len(data)
        return len(data)


class FolderSource(ResealedSource):
    """The archive of a folder as `Sending` reads it."""

    def __init__(self, archive: Archive, sealer: Sealer, leaves_path: Path) -> None:
        """Take ownership of the archive. Raises StorageError."""
        self._archive = archive
        try:
            super().__init__(archive.size, sealer, leaves_path)
        except BaseException:
            archive.close()
            raise

    def _read_plain(self, first: int, count: int) -> memoryview:
        size = self._geometry.plain_total(first, count)
        return memoryview(self._archive.read(first * self._sealer.chunk_bytes, size))

    def _changed(self) -> PeerpostError:
        return SourceChangedError("a file in the folder changed while it was being sent")

    def _close_input(self) -> None:
        self._archive.close()


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK

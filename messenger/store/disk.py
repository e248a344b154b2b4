"""Reads and writes of whole buffers at given positions, with errors that say what could not be done."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from peerpost import system
from peerpost.errors import StorageError, StoreFullError, TransientError
from peerpost.system import DISK_FULL, FILE_LIMIT_HINT

__all__ = [
    "BLOCK_BYTES",
    "aligned_buffer",
    "errors",
    "forget_cached",
    "is_gone",
    "open_direct",
    "open_source",
    "overwrite",
    "read_at",
    "read_cached",
    "shred",
    "sync_data",
    "sync_folder",
    "write_at",
]

BLOCK_BYTES: Final = 4096
"""What direct writes are aligned to: no disk in use has larger logical blocks."""
_GONE: Final = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENXIO, errno.ESPIPE),
        *(errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENAMETOOLONG),
    }
)
"""The errors that say that a file is not there, is something else, or that we may not read it."""
_SHRED_BYTES: Final = 1 << 20
_WRITEV_MAX: Final = 512
"""Buffers per call; the system takes 1,024."""


def is_gone(error: OSError) -> bool:
    """Return whether a file is not there or may not be read, so that trying again is useless."""
    return error.errno in _GONE


@contextlib.contextmanager
def errors(doing: str) -> Iterator[None]:
    """Turn an OSError into a StorageError.

    It is a StoreFullError if the disk is full, and a TransientError if trying again may help: when descriptors or
    memory are short, and after an error of the device.
    """
    try:
        yield
    except OSError as error:
        cause = f"{doing}: {error.strerror or error}"
        if error.errno == errno.EFBIG:
            raise StoreFullError(cause, hint=f"{FILE_LIMIT_HINT}; nothing was lost") from error
        if error.errno in DISK_FULL:
            raise StoreFullError(cause, hint="free some space; nothing was lost") from error
        if is_gone(error):
            raise StorageError(cause) from error
        raise TransientError(cause) from error


def open_direct(path: Path) -> int | None:
    """Open a file to write past the page cache; None if the file system cannot do that.

    Every buffer, length and offset must then be a multiple of `BLOCK_BYTES`.
    """
    if not system.O_DIRECT:
        return None
    try:
        return os.open(path, os.O_WRONLY | system.O_NOFOLLOW | system.OPEN | system.O_DIRECT)
    except OSError:
        return None


def aligned_buffer(size_bytes: int) -> memoryview:
    """Return a buffer of zeros that can be written directly: at least this large, in whole blocks."""
    return memoryview(mmap.mmap(-1, -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES))


def open_source(path: str) -> int:
    """Open a file of the user for reading. If a named pipe has taken its place, this does not block."""
    return os.open(path, os.O_RDONLY | system.O_NONBLOCK | system.OPEN)


def read_at(fd: int, size_bytes: int, offset: int) -> bytes:
    """Return up to `size_bytes` from `offset`; fewer only at the end of the file."""
    data = system.pread(fd, size_bytes, offset)
    while 0 < len(data) < size_bytes:
        more = system.pread(fd, size_bytes - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data


def read_cached(fd: int, buffer: memoryview, offset: int) -> bool:
    """Fill a buffer from the page cache without waiting; return False if the cache does not have all of it."""
    return system.pread_cached(fd, buffer, offset) == len(buffer)


def forget_cached(fd: int) -> None:
    """Drop the file's clean pages from the page cache, so that the next read comes from the disk.

    After a failed write, the page cache may keep data as if it were written, although the disk does not have it.
    """
    system.forget_cached(fd)


def write_at(fd: int, buffers: Sequence[memoryview], offset: int) -> None:
    """Write all of the buffers, one after another, from `offset`."""
    for at in range(0, len(buffers), _WRITEV_MAX):
        batch = list(buffers[at : at + _WRITEV_MAX])
        while batch:
            written = system.pwritev(fd, batch, offset)
            offset += written
            while batch and written >= len(batch[0]):
                written -= len(batch.pop(0))
            if batch and written:
                batch[0] = batch[0][written:]


def sync_data(fd: int) -> None:
    """Make the content of a file survive a power cut."""
    system.fdatasync(fd)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    system.fsync_dir(folder)


def overwrite(path: Path) -> None:
    """Fill a file with random bytes where it lies, and flush it. Raises OSError.

    On a file system that writes elsewhere (btrfs, ZFS, APFS, most of flash), and in a snapshot, the old bytes stay.
    """
    fd = system.open_private(path, os.O_WRONLY)
    try:
        size_bytes = os.fstat(fd).st_size
        for offset in range(0, size_bytes, _SHRED_BYTES):
            noise = memoryview(os.urandom(min(_SHRED_BYTES, size_bytes - offset)))
            write_at(fd, [noise], offset)
        sync_data(fd)
    finally:
        os.close(fd)


def shred(path: Path) -> None:
    """Overwrite a file where it lies and delete it; nothing if it is not there. Raises OSError.

    If the file has another name too, that may be the one in use, or somebody's backup: then only this name is deleted.
    """
    try:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            overwrite(path)
    except FileNotFoundError:
        return
    path.unlink(missing_ok=True)
    sync_folder(path.parent)

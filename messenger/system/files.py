"""Files: how they are opened, read and written at a position, flushed, and found again by a path."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

__all__ = [
    "BY_FOLDER",
    "DISK_FULL",
    "FILE_LIMIT_HINT",
    "OPEN",
    "O_DIRECT",
    "O_DIRECTORY",
    "O_NOCTTY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "allocate",
    "appends",
    "fdatasync",
    "forget_cached",
    "fsync",
    "fsync_dir",
    "is_read_only",
    "open_plain",
    "open_private",
    "path_of",
    "pread",
    "pread_cached",
    "pwritev",
    "read_plain",
    "readinto",
    "write_file_durably",
]

_OWN = stat.S_IRUSR | stat.S_IWUSR
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers by which the system says that a disk, a quota or a limit is full."""
FILE_LIMIT_HINT: Final = (
    "look at `ulimit -f` in the shell that started it, and at the largest file of the file system"
)
"""What the user may do about EFBIG."""
OPEN: Final[int] = (
    getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_BINARY", 0)
)
"""What every file is opened with: no child gets the descriptor, and Windows leaves line ends as they are."""
# A flag that the system does not have is 0, which changes nothing.
O_DIRECT: Final[int] = getattr(os, "O_DIRECT", 0)
O_DIRECTORY: Final[int] = getattr(os, "O_DIRECTORY", 0)
O_NOCTTY: Final[int] = getattr(os, "O_NOCTTY", 0)
O_NOFOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK: Final[int] = getattr(os, "O_NONBLOCK", 0)
BY_FOLDER: Final = O_DIRECTORY != 0 and os.open in os.supports_dir_fd
"""Whether a folder can be opened, and its entries named relative to it."""

_SEEK_LOCK = threading.Lock()
"""Held from seek to read or write on a system without positioned I/O: no other thread may come in between."""
_CANNOT_ALLOCATE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_MAX_WINDOWS_PATH = 1 << 15


def pread(fd: int, size_bytes: int, offset: int) -> bytes:
    """Read up to size_bytes at offset, without moving the file's position if the system can do that."""
    if sys.platform != "win32":
        return os.pread(fd, size_bytes, offset)
    with _SEEK_LOCK:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size_bytes)


def pread_cached(fd: int, buffer: memoryview, offset: int) -> int:
    """Read what the page cache has at offset, without waiting for the disk; return how many bytes that were.

    Also 0 if the system or the file system does not support such reads, or the file cannot be read at all.
    """
    if sys.platform != "linux" or not hasattr(os, "RWF_NOWAIT"):
        return 0
    try:
        return os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError:
        return 0


def readinto(fd: int, room: memoryview) -> int:
    """Read up to as much as there is room for, from the file's position; return how many bytes that were."""
    if sys.platform != "win32":
        return os.readv(fd, [room])
    data = os.read(fd, len(room))
    room[: len(data)] = data
    return len(data)


def pwritev(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
    """Write buffers one after another at offset; return how many bytes were written."""
    if sys.platform != "win32":
        # Python has it on macOS from version 11 on.
        if hasattr(os, "pwritev"):
            return os.pwritev(fd, buffers, offset)
        return os.pwrite(fd, buffers[0], offset)
    with _SEEK_LOCK:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, buffers[0])


def fsync(fd: int) -> None:
    """Make a file, with its rights and times, survive a power cut. Raises OSError."""
    if sys.platform == "darwin":
        import fcntl

        # fsync alone leaves the data in the drive's cache there (fsync(2), Darwin). Some file systems cannot flush it.
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def fdatasync(fd: int) -> None:
    """Make a file's content survive a power cut. Raises OSError."""
    if sys.platform in ("darwin", "win32"):
        fsync(fd)
    else:
        os.fdatasync(fd)


def fsync_dir(folder: Path) -> None:
    """Make the names in a folder survive a power cut; Windows does that by itself."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY | O_DIRECTORY | OPEN)
    try:
        fsync(fd)
    finally:
        os.close(fd)


def forget_cached(fd: int) -> None:
    """Drop the file's clean pages from the page cache, so that the next read comes from the disk."""
    if sys.platform == "linux":
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def allocate(fd: int, size_bytes: int) -> bool:
    """Reserve blocks for the beginning of a file; return False if the system cannot. Raises OSError."""
    if sys.platform != "linux":
        return False
    try:
        os.posix_fallocate(fd, 0, size_bytes)
    except OSError as error:
        if error.errno not in _CANNOT_ALLOCATE:
            raise
        return False
    return True


def is_read_only(path: Path) -> bool:
    """Return whether the file system that a path is on is mounted for reading alone."""
    return sys.platform != "win32" and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def appends(fd: int) -> bool:
    """Return whether every write to a descriptor goes to the end of its file; Windows does not tell."""
    if sys.platform == "win32":
        return False
    import fcntl

    return bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND)


def path_of(fd: int) -> str | None:
    """Return a path that an open file or folder has now; None if it has none, or the system does not tell."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        room = ctypes.create_unicode_buffer(_MAX_WINDOWS_PATH)
        handle = ctypes.c_void_p(msvcrt.get_osfhandle(fd))
        length = ctypes.windll.kernel32.GetFinalPathNameByHandleW(handle, room, len(room), 0)
        return room.value if 0 < length < len(room) else None
    found: str | None = None
    with contextlib.suppress(OSError):
        if sys.platform == "darwin":
            import fcntl

            raw = fcntl.fcntl(fd, fcntl.F_GETPATH, bytes(1024))
            found = os.fsdecode(raw.partition(b"\0")[0])
        else:
            found = str(Path(f"/proc/self/fd/{fd}").readlink())
        # The name may have been deleted, or belong to another file by now.
        if not os.path.samestat(os.stat(found), os.fstat(fd)):  # noqa: PTH116 - a text, as it came
            found = None
        return found
    return None


def open_private(path: Path, flags: int) -> int:
    """Open a file without following a link. If it is created, its owner alone may use it, whatever the umask.

    A named pipe in its place does not block. Raises OSError.
    """
    fd = os.open(path, flags | O_NOFOLLOW | O_NONBLOCK | OPEN, _OWN)
    if flags & os.O_CREAT and sys.platform != "win32":
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & _OWN != _OWN:
            # The umask took rights from the owner, who could then not open the file.
            # A file of another user stays as it is.
            with contextlib.suppress(PermissionError):
                os.fchmod(fd, mode | _OWN)
    return fd


def open_plain(path: Path, *, follows: bool = False) -> BinaryIO:
    """Open a plain file for reading. A named pipe in its place does not block, and a device is not read.

    A link is refused, unless it `follows` one. Raises OSError.
    """
    flags = os.O_RDONLY | O_NONBLOCK | OPEN | (0 if follows else O_NOFOLLOW)
    fd = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a plain file", os.fspath(path))
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def read_plain(path: Path, most_bytes: int, *, follows: bool = False) -> bytes:
    """Read up to `most_bytes` of a plain file, as `open_plain` opens it. Raises OSError."""
    with open_plain(path, follows=follows) as file:
        return file.read(most_bytes)


def write_file_durably(path: Path, data: bytes, *, mode: int | None = None) -> None:
    """Write a file so that after a power cut it is complete, or as it was before. It is private, or has the mode."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with contextlib.closing(os.fdopen(fd, "wb")) as file:
            file.write(data)
            file.flush()
            if mode is not None and sys.platform != "win32":
                os.fchmod(file.fileno(), mode)
            fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)

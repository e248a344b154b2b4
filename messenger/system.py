"""What differs between operating systems, in one place: positioned I/O, flushing, locks, rights."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import CannotCreateError, LockedError

__all__ = [
    "DISK_FULL",
    "FILE_LIMIT_HINT",
    "ProcessMark",
    "check_access",
    "check_owner",
    "check_private_file",
    "fdatasync",
    "fsync_dir",
    "keep_freed_memory",
    "no_access",
    "open_private",
    "pread",
    "pread_cached",
    "private_dir",
    "processors",
    "pwritev",
    "signal_process",
    "this_process",
    "try_lock",
    "who_is",
    "write_file_durably",
]

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers by which the system says that a disk, a quota or a limit is full."""

FILE_LIMIT_HINT: Final = (
    "look at `ulimit -f` where it was started, and at the largest file of the file system"
)
"""What may be done about EFBIG."""

_SEEK_LOCK = threading.Lock()
"""Without positioned I/O, nothing may come between seek and read."""
_KEPT_BYTES = 32 << 20
"""The most that mallopt(3) takes as a threshold."""
_OWN = stat.S_IRUSR | stat.S_IWUSR
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pread(fd: int, size_bytes: int, offset: int) -> bytes:
    """Read up to size_bytes at offset, without moving the file's position where the system can."""
    if hasattr(os, "pread"):
        return os.pread(fd, size_bytes, offset)
    with _SEEK_LOCK:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size_bytes)


def pread_cached(fd: int, buffer: memoryview, offset: int) -> int:
    """Read what is in the page cache at offset, and wait for no disk; return how many bytes that were.

    Also 0 if the system or the file system does not support such reads, or the file cannot be read at all.
    """
    if not hasattr(os, "preadv") or not hasattr(os, "RWF_NOWAIT"):
        return 0
    try:
        return os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
    except OSError:
        return 0


def pwritev(fd: int, buffers: Sequence[memoryview], offset: int) -> int:
    """Write buffers one after another at offset; return how many bytes were written."""
    if hasattr(os, "pwritev"):
        return os.pwritev(fd, buffers, offset)
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, buffers[0], offset)
    with _SEEK_LOCK:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, buffers[0])


def fdatasync(fd: int) -> None:
    """Make a file's content survive a power cut."""
    if sys.platform == "darwin":
        import fcntl

        # fsync there leaves the data in the drive's cache (fsync(2), Darwin).
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def fsync_dir(folder: Path) -> None:
    """Make the names in a folder survive a power cut; Windows does that by itself."""
    if sys.platform == "win32":
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the system and getting it back by page faults.

    Thousands of chunk buffers are allocated and freed; their page faults would cost more than hashing the chunks.
    """
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # mallopt(3), <malloc.h>
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, _KEPT_BYTES)
        mallopt(trim_threshold, _KEPT_BYTES)
        mallopt(arena_max, 2)


def try_lock(fd: int) -> bool:
    """Lock a file for this process. Return False if another has it."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def private_dir(path: Path) -> None:
    """Make a folder for this user alone, or check one that is there.

    Raises LockedError if others may read it or own it, or this user may not use it, and CannotCreateError if it cannot
    be made.
    """
    check_owner(path)
    try:
        _make_private(path)
    except OSError as error:
        raise CannotCreateError(
            f"cannot make the folder {path}: {error.strerror}",
            hint="choose another with --home DIR or PEERPOST_HOME",
        ) from None
    if sys.platform == "win32":
        return
    status = path.stat()
    if status.st_mode & _OTHERS:
        raise LockedError(
            f"others may read the folder {path}", hint=f"close it with: chmod 700 {path}"
        )
    check_access(path)


def check_access(path: Path) -> None:
    """Check that this user may list, change and enter a folder that is there.

    Raises LockedError. On a file system that is read-only it is not the rights that are missing: that passes.
    """
    if sys.platform == "win32" or (why := no_access(path)) is None:
        return
    raise LockedError(why, hint=f"open it to you: chmod u+rwx {shlex.quote(os.fspath(path))}")


def no_access(path: Path) -> str | None:
    """Return in words which right is missing to use a folder; None if none is, or it is not there."""
    rights = ((os.R_OK, "read"), (os.W_OK, "written"), (os.X_OK, "entered"))
    missing = [word for right, word in rights if not os.access(path, right)]
    if not missing or not os.path.isdir(path):  # noqa: PTH112 - which fails where a folder above is closed
        return None
    if missing == ["written"] and os.statvfs(path).f_flag & os.ST_RDONLY:
        return None
    return f"the folder {path} may not be {' or '.join(missing)}"


def check_owner(path: Path) -> None:
    """Check that a folder is ours, or would be ours if we made it. Touches nothing.

    Root may write anywhere, but the owner of a home could not open what root made in it. Raises LockedError.
    """
    if sys.platform == "win32":
        return
    there = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    try:
        owner, mine = there.stat().st_uid, os.geteuid()
    except OSError:
        # Making the folder will fail and say why.
        return
    if owner != mine and (there == path or mine == 0):
        name = _name_of(owner)
        who = f", and this is {_name_of(mine)}" if mine == 0 else ""
        again = f"run it as {name} (sudo -u {name} peerpost ...)"
        if owner == 0:
            # Most likely it was made by a command under sudo.
            again = f"if it is to be yours: sudo chown -R {_name_of(mine)} {there}"
        raise LockedError(
            f"the folder {there} belongs to another user ({name}){who}",
            hint=f"{again}; or choose a home of your own: --home DIR",
        )


def _name_of(user_id: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"#{user_id}"


def _make_private(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone, whatever the umask."""
    if path.is_dir():
        return
    if not path.parent.exists():
        _make_private(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def open_private(path: Path, flags: int) -> int:
    """Open a file without following a link. If it is created, its owner alone may use it, whatever the umask.

    Raises OSError.
    """
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    fd = os.open(path, flags | getattr(os, "O_BINARY", 0), _OWN)
    if flags & os.O_CREAT and hasattr(os, "fchmod"):
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & _OWN != _OWN:
            # The umask took it; whoever opens the file next could not. A file of another user stays as it is.
            with contextlib.suppress(PermissionError):
                os.fchmod(fd, mode | _OWN)
    return fd


def check_private_file(path: Path) -> None:
    """Check that a file is a plain one, ours and closed to others.

    Raises LockedError, FileNotFoundError.
    """
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise LockedError(f"{path} is not a plain file")
    if sys.platform == "win32":
        return
    if status.st_uid != os.geteuid():
        raise LockedError(f"{path} belongs to another user")
    if status.st_mode & _OTHERS:
        raise LockedError(f"others may read {path}", hint=f"close it with: chmod 600 {path}")


def write_file_durably(path: Path, data: bytes) -> None:
    """Write a private file so that after a power cut it is complete, or as it was before."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    fd = open_private(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with contextlib.closing(os.fdopen(fd, "wb")) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """Identifies a process. Its number alone does not: another process may have it, later or in another container."""

    pid: int
    started: str
    """When it was started, in the system's own form; empty if the system does not say."""
    boot: str
    namespace: str
    """The namespace in which its process id is valid."""

    def text(self) -> str:
        """Return the mark as lines, the process id first."""
        return f"{self.pid}\nstarted {self.started}\nboot {self.boot}\nnamespace {self.namespace}\n"

    @classmethod
    def parse(cls, text: str) -> ProcessMark | None:
        """Parse the result of `text`, or a process id alone; None for anything else."""
        first, _, rest = text.partition("\n")
        if not (first.isascii() and first.isdecimal() and len(first) < 20):
            return None
        found = dict(line.split(" ", 1) for line in rest.splitlines() if " " in line)
        return cls(
            pid=int(first),
            started=found.get("started", ""),
            boot=found.get("boot", ""),
            namespace=found.get("namespace", ""),
        )

    @property
    def is_here(self) -> bool:
        """Whether its process id is valid here."""
        return (self.boot, self.namespace) == (_boot(), _namespace())

    @property
    def runs(self) -> bool:
        """Whether this same process runs here; False also if that cannot be known."""
        return self.is_here and bool(self.started) and _started(self.pid) == self.started


def this_process() -> ProcessMark:
    """Return the mark of this process."""
    pid = os.getpid()
    return ProcessMark(pid=pid, started=_started(pid), boot=_boot(), namespace=_namespace())


def who_is(mark: ProcessMark | None) -> str:
    """Name a process for the user. Its number is left out if it means another process here, or none."""
    if mark is None:
        return "unknown"
    return str(mark.pid) if mark.is_here else "in another container or on another machine"


def signal_process(mark: ProcessMark, number: int) -> bool:
    """Send a signal to a process if it still is the one of this mark; return whether it was sent."""
    fd = -1
    if hasattr(os, "pidfd_open"):
        try:
            # The pidfd is opened before the check, so that the number cannot become another process's in between.
            fd = os.pidfd_open(mark.pid)
        except ProcessLookupError:
            return False
        except OSError:
            pass
    try:
        if not mark.runs:
            return False
        if fd >= 0:
            signal.pidfd_send_signal(fd, number)
        else:
            os.kill(mark.pid, number)
    except ProcessLookupError:
        return False
    finally:
        if fd >= 0:
            os.close(fd)
    return True


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _started(pid: int) -> str:
    with contextlib.suppress(OSError, IndexError):
        # The name of the program, in brackets, may hold anything; the field is the 22nd (proc_pid_stat(5)).
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = status.rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    if sys.platform == "darwin":
        told = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout.strip()
    return ""

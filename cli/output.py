"""Where a command writes its output: to a new file that appears complete or not at all, or to something existing.

An existing pipe, device or descriptor of this process is written to, and never replaced. A link may have been put there
by anybody, so it is refused unless `force` is given. Then a link to a file is replaced itself, and a link to a pipe or
a device is followed.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from peerpost import system
from peerpost.errors import (
    CannotCreateError,
    ExistsError,
    PeerpostError,
    StorageError,
    StoreFullError,
    UsageError,
)
from peerpost.stdio import inherited
from peerpost.system import FILE_LIMIT_HINT

__all__ = [
    "into",
    "is_stdout",
    "raw_on_terminal",
    "require_free",
    "settle",
    "special",
    "target",
    "unwritten",
]

T = TypeVar("T")


def raw_on_terminal() -> UsageError:
    """Return the error for writing raw bytes to a terminal."""
    return UsageError(
        "raw bytes are not for a terminal", hint="give --out FILE, or pipe it somewhere"
    )


def unwritten(path: Path, error: OSError) -> PeerpostError:
    """Return the error for a file that cannot be written."""
    if error.errno == errno.EFBIG:
        return StoreFullError(
            f"{path} would be longer than a file may be here", hint=FILE_LIMIT_HINT
        )
    if error.errno in system.DISK_FULL:
        return StoreFullError(f"no space left for {path}")
    return StorageError(f"cannot write {path}: {error.strerror}")


def is_stdout(fd: int) -> bool:
    """Return whether a descriptor leads to the same place as stdout, where a message would mix with the data."""
    try:
        return os.path.samestat(os.fstat(fd), os.fstat(sys.stdout.fileno()))
    except OSError:
        return False


def settle(fd: int, out: str) -> None:
    """Flush what was written to the disk, if there is one behind it. Raises StorageError."""
    try:
        system.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EBADF):
            raise StorageError(f"cannot write {out}: {error.strerror}") from None


def special(out: str, *, force: bool, before: Callable[[], object] = lambda: None) -> int | None:
    """Open something existing that is written to as it is: a pipe, a device, a descriptor of this process.

    Return None if there is none, so that a file must be made. `before` is called before anything is opened. A named
    pipe is opened once somebody reads it. Raises ExistsError for a link to one, unless `force`; UsageError for a
    terminal; CannotCreateError.
    """
    own = inherited(out)
    if own is None and force and Path(out).is_symlink():
        own = inherited(_behind_links(out))
    if own is not None:
        if os.isatty(own):
            raise raw_on_terminal()
        before()
        return os.dup(own)
    path = Path(out)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode):
            return None
        follow = force or _is_systems(path)
        if path.is_symlink() and not follow:
            raise ExistsError(
                f"{path} is a link to a pipe or a device",
                hint=f"name that itself: {path.parent / path.readlink()}; or --force to write to it",
            )
        before()
        flags = os.O_WRONLY | system.O_NOCTTY | system.OPEN
        fd = os.open(path, flags if follow else flags | system.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise CannotCreateError(f"cannot write to {path}: {reason}") from None
    try:
        # If it was replaced since the check, it is not what the user meant.
        if not os.path.samestat(status, os.fstat(fd)):
            raise CannotCreateError(f"{path} was replaced just now", hint="try again")
        if os.isatty(fd):
            raise raw_on_terminal()
    except BaseException:
        os.close(fd)
        raise
    return fd


def _behind_links(out: str) -> str:
    """Follow links to the first path that is no link or that means a descriptor of this process."""
    for _ in range(40):
        if inherited(out) is not None or not Path(out).is_symlink():
            break
        out = os.path.join(Path(out).parent, os.readlink(out))  # noqa: PTH115, PTH118 - as text
    return out


def into(out: str, write: Callable[[int], T], *, force: bool, mode: int) -> tuple[T, bool]:
    """Have something written to stdout (`-`), to something existing, or to a file that appears whole or not at all.

    Return what `write` returns, and whether the data went to where stdout leads. Raises as `special` and `target`.
    """
    if out == "-":
        return write(sys.stdout.fileno()), True
    fd = special(out, force=force)
    if fd is None:
        with target(out, force=force, mode=mode) as fd:
            return write(fd), False
    try:
        written = write(fd)
        settle(fd, out)
        return written, is_stdout(fd)
    finally:
        os.close(fd)


@contextmanager
def target(out: str, *, force: bool, mode: int = 0o666) -> Iterator[int]:
    """Open a new file beside `out` and give its descriptor; it takes that name when all went well.

    For paths for which `special` returns None. From the start, its rights are `mode` less the umask, and its name
    survives a power cut. Raises ExistsError if a file or link exists and `force` does not say to replace it,
    CannotCreateError if a folder does or its folder does not let us, StoreFullError when the disk is full.
    """
    path = Path(out)
    require_free(path, force=force)
    draft = path.with_name(f".{secrets.token_hex(6)}.peerpost-part")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | system.OPEN
        fd = os.open(draft, flags, mode)
    except OSError as error:
        raise CannotCreateError(f"cannot create {path}: {error.strerror}") from None
    try:
        try:
            yield fd
            system.fsync(fd)
        finally:
            os.close(fd)
        _give_name(draft, path, force=force)
        # A folder that may not be read cannot be flushed; the file system then decides when.
        with suppress(PermissionError):
            system.fsync_dir(path.absolute().parent)
    except OSError as error:
        raise unwritten(path, error) from None
    finally:
        draft.unlink(missing_ok=True)


def require_free(path: Path, *, force: bool) -> None:
    """Refuse something existing that must not be replaced. A link is not followed."""
    try:
        status = path.lstat()
    except OSError:
        # There is nothing, or its folder cannot be read: then making the file will fail and say why.
        return
    if stat.S_ISDIR(status.st_mode):
        raise CannotCreateError(f"{path} is a folder", hint=f"name a file in it: {path / 'FILE'}")
    if not force:
        raise _exists(path)


def _is_systems(path: Path) -> bool:
    """Return whether a link is one of the system's own for devices, which only root can make."""
    try:
        folder = path.absolute().parent.resolve(strict=True)
        status = folder.stat()
    except (OSError, RuntimeError):
        return False
    shared = stat.S_IWGRP | stat.S_IWOTH
    is_roots = status.st_uid == 0 and not status.st_mode & shared
    return folder.is_relative_to("/proc") or (folder.is_relative_to("/dev") and is_roots)


def _give_name(draft: Path, path: Path, *, force: bool) -> None:
    if force:
        with suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise CannotCreateError(f"{path} was replaced just now", hint="try again")
        draft.replace(path)
        return
    try:
        # Making a hard link fails if the name was taken meanwhile; a rename would replace it.
        os.link(draft, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # No hard links on this file system.
        if os.path.lexists(path):
            raise _exists(path) from None
        draft.rename(path)


def _exists(path: Path) -> ExistsError:
    return ExistsError(f"{path} exists", hint="another name, or --force to replace it")

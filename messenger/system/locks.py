"""Locks on files, which the system releases when the process that has them ends, in whatever way."""

from __future__ import annotations

import os
import sys

__all__ = ["is_locked", "try_lock"]

_LOCKED_AT = 1 << 30
"""The byte that is locked on Windows. Nobody else can read a locked byte there, so it lies behind all content."""


def try_lock(fd: int) -> bool:
    """Lock a file for this process. Return False if another has it. Raises OSError if it can have no lock."""
    if sys.platform == "win32":
        import msvcrt

        return _try_byte(fd, msvcrt.LK_NBLCK)
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(fd: int) -> bool:
    """Return whether another process, or this one by another descriptor, has the lock on a file."""
    if sys.platform == "win32":
        import msvcrt

        if not _try_byte(fd, msvcrt.LK_NBRLCK):
            return True
        _try_byte(fd, msvcrt.LK_UNLCK)
        return False
    import fcntl

    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _try_byte(fd: int, mode: int) -> bool:
    """Lock or unlock the one byte that stands for the file, and leave the file's position as it was."""
    # Never true, because both callers have asked already; the type checker needs it to know the module.
    if sys.platform != "win32":
        raise NotImplementedError
    import msvcrt

    position = os.lseek(fd, 0, os.SEEK_CUR)
    os.lseek(fd, _LOCKED_AT, os.SEEK_SET)
    try:
        msvcrt.locking(fd, mode, 1)
    except PermissionError:
        # Any other error says that there can be no lock, not that somebody has it.
        return False
    finally:
        os.lseek(fd, position, os.SEEK_SET)
    return True

"""What a failure of SQLite means for the caller of the write."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os

import apsw

from peerpost.errors import DamagedError, StorageError, StoreFullError, TransientError
from peerpost.system import DISK_FULL, FILE_LIMIT_HINT

__all__ = ["explain", "is_damage", "is_full"]

_FULL_HINT = "free some space on the disk of the home folder; nothing that was accepted is lost"


def is_full(error: BaseException, connection: apsw.Connection | None) -> bool:
    """Return whether the disk was full. SQLite reports a full quota or limit as an I/O error with an errno."""
    if isinstance(error, apsw.FullError):
        return True
    return _is_of_the_system(error) and _errno(connection) in DISK_FULL


def _is_of_the_system(error: BaseException) -> bool:
    """Return whether the system failed. A backup (sqlite3_backup_step) says of that no more than "not an error"."""
    return isinstance(error, apsw.IOError) or (
        isinstance(error, apsw.Error) and "not an error" in str(error)
    )


def _errno(connection: apsw.Connection | None) -> int:
    """Return the last error that the system has reported to an open connection; 0 if there was none.

    A backup does not tell the connection, but the file that could not be written knows it.
    """
    if connection is None:
        return 0
    last = ctypes.c_int(0)
    if not connection.system_errno:
        with contextlib.suppress(apsw.Error):
            connection.file_control("main", apsw.SQLITE_FCNTL_LAST_ERRNO, ctypes.addressof(last))
    return connection.system_errno or last.value


def is_damage(error: BaseException) -> bool:
    """Return whether the error says that a page of an open store is damaged."""
    return isinstance(error, (apsw.CorruptError, apsw.NotADBError))


def explain(error: BaseException, connection: apsw.Connection | None = None) -> StorageError:
    """Return the error of ours that stands for one of SQLite's."""
    if is_full(error, connection):
        if _errno(connection) == errno.EFBIG:
            return StoreFullError(
                "the store has reached the largest size that a file may have here",
                hint=FILE_LIMIT_HINT,
            )
        return StoreFullError("the disk is full", hint=_FULL_HINT)
    if isinstance(error, apsw.NotADBError):
        return StorageError(
            "the store cannot be opened: another key, or not a Peerpost database",
            hint="was the keyfile replaced? restore both from one backup",
        )
    if isinstance(error, apsw.CorruptError):
        return DamagedError(f"the store is damaged: {error}")
    if isinstance(error, apsw.ReadOnlyError):
        return TransientError(
            "the store may not be written: its folder, a file of it or the disk is read-only",
            hint="give yourself the rights (chmod -R u+rwX the home folder); see: peerpost doctor",
        )
    if isinstance(error, apsw.CantOpenError):
        return TransientError(
            "a file of the store cannot be opened: it is gone, may not be opened, or too many files are open",
            hint="look at `ulimit -n` in the shell that started the node; see: peerpost doctor",
        )
    if _is_of_the_system(error):
        why = os.strerror(number) if (number := _errno(connection)) else str(error)
        return TransientError(
            f"the disk of the home folder failed to read or write the store: {why}",
            hint="is it full, at a limit (`ulimit -f`), or broken? see: peerpost doctor",
        )
    return TransientError(f"the store failed: {error}", hint="see: peerpost doctor")

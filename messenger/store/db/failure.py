"""What a failure of SQLite means for the caller of the write."""

from __future__ import annotations

import errno

import apsw

from peerpost.errors import DamagedError, StorageError, StoreFullError, TransientError
from peerpost.system import DISK_FULL, FILE_LIMIT_HINT

__all__ = ["explain", "is_damage", "is_full"]

_FULL_HINT = "free some space on the disk of the home folder; nothing that was accepted is lost"


def is_full(error: BaseException, connection: apsw.Connection | None) -> bool:
    """Return whether the disk was full. SQLite reports a full quota or limit as an I/O error with an errno."""
    if isinstance(error, apsw.FullError):
        return True
    return (
        isinstance(error, apsw.IOError)
        and connection is not None
        and connection.system_errno in DISK_FULL
    )


def is_damage(error: BaseException) -> bool:
    """Return whether the error says that a page of an open store is damaged."""
    return isinstance(error, (apsw.CorruptError, apsw.NotADBError))


def explain(error: BaseException, connection: apsw.Connection | None = None) -> StorageError:
    """Return the error of ours that stands for one of SQLite's."""
    if is_full(error, connection):
        if connection is not None and connection.system_errno == errno.EFBIG:
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
    if isinstance(error, apsw.IOError):
        return TransientError(
            f"the disk of the home folder failed to read or write the store: {error}",
            hint="is it full, at a limit (`ulimit -f`), or broken? see: peerpost doctor",
        )
    return TransientError(f"the store failed: {error}", hint="see: peerpost doctor")

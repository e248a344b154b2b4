"""A copy of the store as it was at one moment, made while others go on to write."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from peerpost.errors import StorageError, StoreFullError

from .database import located
from .failure import explain
from .opening import unlock

__all__ = ["Snapshot", "require_room"]

STEP_PAGES: Final = 1024
"""How much is copied at a time: 4 MiB."""


def require_room(folder: Path, size_bytes: int) -> None:
    """Raise StoreFullError if a copy of so many bytes does not fit into a folder. Raises OSError."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < size_bytes:
        raise StoreFullError(
            f"a backup needs {-(-size_bytes >> 10)} KiB of room beside the store while it is made,"
            f" and {free_bytes >> 10} KiB are free",
            hint="free some space on the disk of the home folder; nothing was lost",
        )


class Snapshot:
    """A reader that sees the store as it was when this was made, until it is closed. One thread at a time uses it.

    The log of the store cannot be reused from its start meanwhile, so it grows by what is written.
    """

    def __init__(self, path: Path, key: bytes, vfs: str | None = None) -> None:
        """Take what is committed now. Raises StorageError."""
        self._key = key
        self._db = apsw.Connection(*located(path, apsw.SQLITE_OPEN_READONLY), vfs=vfs)
        try:
            unlock(self._db, key)
            self._db.execute("BEGIN")
            # Only the first read fixes what is seen.
            pages = self._db.pragma("page_count")
            self.size_bytes: int = pages * self._db.pragma("page_size")
            self.schema: int = self._db.pragma("user_version")
        except BaseException as error:
            explained = explain(error, self._db) if isinstance(error, apsw.Error) else error
            self.close()
            raise explained from error

    def copy(
        self,
        target: Path,
        change: Callable[[apsw.Connection], object],
        require_wanted: Callable[[], object],
    ) -> None:
        """Write a copy of one file, under the same key, and make a change in it.

        It is not flushed, and nothing is left of one that fails. `require_wanted` is called now and then, and ends the
        work by raising. Raises StoreFullError, StorageError.
        """
        require_room(target.parent, self.size_bytes)
        target.touch(0o600, exist_ok=False)
        try:
            self._copy(target, change, require_wanted)
        except BaseException:
            target.unlink(missing_ok=True)
            raise

    def _copy(
        self,
        target: Path,
        change: Callable[[apsw.Connection], object],
        require_wanted: Callable[[], object],
    ) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE
        copied = apsw.Connection(*located(target, flags))
        try:
            unlock(copied, self._key)
            copied.pragma("synchronous", "off")
            with copied.backup("main", self._db, "main") as work:
                while not work.done:
                    require_wanted()
                    work.step(STEP_PAGES)
            # One file holds all of it then, with no log beside it.
            if copied.pragma("journal_mode", "delete") != "delete":
                raise StorageError("a copy of the store cannot be made here")
            change(copied)
        except apsw.Error as error:
            raise explain(error, copied) from error
        finally:
            copied.close(force=True)

    def close(self) -> None:
        """Let the store go on without it."""
        self._db.close()

"""The whole database under another key, so that at each moment the home opens with exactly one of the two.

    1. store.db is copied, page by page, into store.db.TAG, encrypted with the new key, checked and flushed.
    2. The keyfile with the new key, which names TAG, is renamed over the old one. This is the change; whatever comes
       before it can be thrown away, and whatever comes after it can be done again.
    3. The old keyfile is overwritten and removed: with its key all that was ever encrypted with it is lost.
    4. store.db is overwritten where it lies, and store.db.TAG takes its name.

`recover` goes on with 3 and 4, or throws 1 away; which of them, the keyfile says without any secret.

Only the database hangs on the data key. Received and queued files have keys of their own, which are rows of it.
Pages are copied rather than rows (VACUUM INTO), because rows without an id of ours would get other numbers.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from peerpost.errors import DamagedError, StorageError, StoreFullError
from peerpost.store import disk, keyfile
from peerpost.system import open_private

from .database import located
from .failure import explain
from .opening import unlock

__all__ = ["OnProgress", "copies", "recover", "rekey", "require_room"]

OnProgress = Callable[[int, int], object]
"""Called with the bytes that are copied and those of all. What it raises ends the work, before anything was changed."""

STEP_PAGES: Final = 1024
SPARE_BYTES: Final = 16 << 20
"""What stays free beside the copy: the keyfile, the log of the store when it is opened again, other programs."""
_COPY: Final = re.compile(r"store\.db\.[0-9a-f]{16}(-journal|-wal|-shm)?")


def require_room(home: Path) -> None:
    """Raise StoreFullError if a second copy of the store does not fit on the disk."""
    with disk.errors("cannot look at the store"):
        sizes = [path.stat().st_size for path in home.glob("store.db*") if not _is_copy(path)]
        free_bytes = shutil.disk_usage(home).free
    wanted_bytes = sum(sizes) + SPARE_BYTES
    if free_bytes < wanted_bytes:
        raise StoreFullError(
            "there is no room to encrypt the store anew: that needs a second copy of it",
            hint=f"free {-(-(wanted_bytes - free_bytes) // (1 << 20))} MiB on the disk of the home folder;"
            " nothing was changed",
        )


def rekey(home: Path, key: bytes, made: keyfile.NextKeyfile, on_progress: OnProgress) -> None:
    """Encrypt the store of a closed home with the key of a draft, and put that keyfile in force.

    The caller holds the lock of the home. Raises StorageError, StoreFullError and what `on_progress` raises. Which key
    is in force then, `keyfile.store_tag` tells; what is left to do, `recover` does.
    """
    recover(home)
    require_room(home)
    copy = home / f"store.db.{made.store}"
    try:
        with disk.errors("cannot make the new store"):
            os.close(open_private(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        _copy(home / "store.db", key, copy, made.key, on_progress)
        _flush(copy)
        keyfile.commit(home, made)
    finally:
        recover(home)


def recover(home: Path) -> None:
    """Finish a change of the key that has happened, or remove what is left of one that has not.

    The caller holds the lock of the home, which is closed. Raises StorageError, and as `keyfile.unlock` does of a
    keyfile that cannot be read; nothing is touched then.
    """
    in_force = keyfile.store_tag(home)
    keyfile.tidy(home)
    with disk.errors("cannot remove what is left of another store"):
        for path in copies(home):
            if path.name == f"store.db.{in_force}":
                _put_in_place(home, path)
            else:  # Its key was never written, or it is the empty log of a copy that is in place.
                path.unlink(missing_ok=True)
                disk.sync_folder(home)


def copies(home: Path) -> list[Path]:
    """Return the copies under another key that an interrupted change has left, with what lies beside them."""
    return [path for path in sorted(home.glob("store.db.*")) if _is_copy(path)]


def _put_in_place(home: Path, copy: Path) -> None:
    store = home / "store.db"
    # The log goes first: beside the new store it would be taken for its log.
    for beside in ("store.db-wal", "store.db-shm"):
        disk.shred(home / beside)
    if store.exists() and store.stat().st_nlink == 1:
        disk.overwrite(store)
    copy.replace(store)
    disk.sync_folder(home)


def _copy(source: Path, key: bytes, target: Path, new_key: bytes, on_progress: OnProgress) -> None:
    """Copy every page, and check what was written. Raises StorageError."""
    read = write = None
    try:
        read = apsw.Connection(*located(source, apsw.SQLITE_OPEN_READWRITE))
        unlock(read, key)
        write = apsw.Connection(*located(target, apsw.SQLITE_OPEN_READWRITE))
        unlock(write, new_key)
        # A power cut leaves a file that `recover` throws away, so nothing need survive it until the end.
        write.pragma("journal_mode", "off")
        write.pragma("synchronous", "off")
        page_bytes = read.pragma("page_size")
        with write.backup("main", read, "main") as backup:
            while not backup.done:
                backup.step(STEP_PAGES)
                done = backup.page_count - backup.remaining
                on_progress(done * page_bytes, backup.page_count * page_bytes)
        for pragma in ("page_count", "user_version", "application_id"):
            if write.pragma(pragma) != read.pragma(pragma):
                raise StorageError(f"the new store is not as the old one: {pragma}")
        verdict = write.pragma("quick_check", 1)
        if verdict != "ok":
            raise DamagedError(f"the store is damaged: {verdict}")
    except apsw.Error as error:
        raise explain(error, write or read) from error
    finally:
        for connection in (write, read):
            if connection is not None:
                connection.close(force=True)


def _flush(path: Path) -> None:
    with disk.errors("cannot write the new store"):
        fd = open_private(path, os.O_RDWR)
        try:
            disk.sync_data(fd)
        finally:
            os.close(fd)
        disk.sync_folder(path.parent)


def _is_copy(path: Path) -> bool:
    """Return whether a file is a copy under another key, or a log beside one."""
    return _COPY.fullmatch(path.name) is not None

"""An identity is deleted: first what opens the home, then what is in it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.store import disk, keyfile
from peerpost.store.files.backup import FOLDERS

__all__ = ["delete_rest", "shred_key"]


def shred_key(home: Path) -> None:
    """Overwrite the keyfile where it lies, and delete it. Raises NoIdentityError if there is no home, StorageError.

    From here on nothing in the home can be opened, whatever ends this. If the keyfile is gone already, this is no error
    as long as there is something to delete.
    """
    paths = HomePaths(home)
    if not keyfile.exists(home) and not paths.store.exists():
        raise paths.no_identity()
    keyfile.discard(home)


def delete_rest(home: Path) -> None:
    """Delete the store and the files of a home that is closed; its settings and its log stay. Raises StorageError."""
    store = HomePaths(home).store
    with disk.errors("cannot delete what is in the home"):
        for name in FOLDERS:
            with suppress(FileNotFoundError):
                shutil.rmtree(home / name)
        # The store last: for as long as it is there, the home says that it has lost its keyfile.
        for path in (home / "ballast", *store.parent.glob(f"{store.name}-*"), store):
            path.unlink(missing_ok=True)
        disk.sync_folder(home)

"""An identity is deleted: first what opens the home, then what is in it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from peerpost.client.paths import HomePaths
from peerpost.store import disk, keyfile
from peerpost.store.db import rekey
from peerpost.store.files.backup import FOLDERS

__all__ = ["delete_rest", "shred_key"]


def shred_key(home: Path) -> list[str]:
    """Overwrite the keyfile where it lies, and delete it; return in words what stays of it.

    From here on nothing in the home can be opened, whatever ends this. If the keyfile is gone already, this is no error
    as long as there is something to delete. Raises NoIdentityError if there is no home, StorageError.
    """
    paths = HomePaths(home)
    if not keyfile.exists(home) and not paths.store.exists():
        raise paths.no_identity()
    return keyfile.discard(home)


def delete_rest(home: Path) -> list[str]:
    """Delete the store and the files of a home that is closed; its settings and its log stay.

    Return in words what stays that has the name of something of ours. Raises StorageError.
    """
    store = HomePaths(home).store
    stays = []
    with disk.errors("cannot delete what is in the home"):
        for name in FOLDERS:
            if (home / name).is_symlink():
                stays.append(
                    f"{name} was a link, and what it led to stays: {(home / name).readlink()}"
                )
                (home / name).unlink()
            else:
                with suppress(FileNotFoundError, NotADirectoryError):
                    shutil.rmtree(home / name)
        # The store last: for as long as it is there, the home says that it has lost its keyfile.
        logs = home.glob(f"{store.name}-*")
        for path in (home / "ballast", *rekey.copies(home), *logs, store):
            if path.is_dir() and not path.is_symlink():
                stays.append(f"{path.name} is a folder, and stays")
            else:
                path.unlink(missing_ok=True)
        disk.sync_folder(home)
    return stays

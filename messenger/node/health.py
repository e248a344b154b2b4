"""The home of the running node: whether its files are still there, still its own, and have room.

A file that is deleted or replaced while it is open gives no error: writing goes on, and what is written is lost.
So a timer compares the inodes. The store then refuses what it could not keep, and what can be repaired is repaired.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Protocol

from peerpost.errors import AlreadyRunningError
from peerpost.store import keyfile
from peerpost.store.db.engine import Store
from peerpost.store.homelock import HomeLock
from peerpost.store.keyfile_form import MAX_BYTES
from peerpost.system import is_read_only, no_access, private_dir, read_plain

__all__ = ["CHECK_S", "ControlSocket", "Health"]

log = logging.getLogger(__name__)

CHECK_S = 2.0
LEAST_FREE_BYTES = 1 << 20
_STORE_FILES = ("store.db", "store.db-wal", "store.db-shm")
"""If one of these is no longer in its place, what is written is lost."""
_FOLDERS = ("blobs", "spool")


class ControlSocket(Protocol):
    """The control socket, as far as it is a file of the home."""

    @property
    def lost(self) -> bool:
        """Whether it is no longer in its place."""

    def bind_again(self) -> None:
        """Make it again after it was deleted. Raises OSError."""


class Health:
    """The problems of an open home now, by subject."""

    def __init__(
        self,
        home: Path,
        store: Store,
        control: ControlSocket,
        lock: HomeLock | None,
        *,
        on_taken: Callable[[BaseException], object],
    ) -> None:
        """Note what is there now; `on_taken` is called when another node has taken the home, which ends this one."""
        self._lock = lock
        self._on_taken = on_taken
        self._home = home
        self._store = store
        self._control = control
        self._inodes = {name: self._inode(name) for name in _STORE_FILES}
        self._keyfile = home / "keyfile"
        self._key: bytes | None = None
        self._key_looked: tuple[int, ...] | None = None
        self._key = self._key_now()
        self._key_looked = self._look_of_key()
        self._folders = {name for name in _FOLDERS if (home / name).is_dir()}
        self.unwell: dict[str, str] = {}
        store.look = self._lost

    def _inode(self, name: str) -> int | None:
        try:
            return (self._home / name).lstat().st_ino
        except FileNotFoundError:
            return None

    async def watch(self) -> None:
        """Check the home periodically."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_S)

    def _changed(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in _STORE_FILES:
            was, now = self._inodes[name], self._inode(name)
            if was is not None and now != was:
                found[name] = f"{name} was {'deleted' if now is None else 'replaced'}"
        # Without its key nobody can read the store, so what is written then is lost as well.
        if self._key is not None and (key := self._key_now()) != self._key:
            found["keyfile"] = f"keyfile was {'deleted' if key is None else 'changed'}"
        return found

    def _look_of_key(self) -> tuple[int, ...] | None:
        """Return the identity and times of the keyfile; None if there is none, or something that is no file.

        The ctime is among them, because it cannot be set back; the mtime can.
        """
        try:
            found = self._keyfile.stat()
        except OSError:
            return None
        look = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return look if S_ISREG(found.st_mode) else None

    def _key_now(self) -> bytes | None:
        """Return which data key the keyfile has; it is read again only if its identity or times have changed.

        A change of the passphrase writes another file with the same key.
        """
        look = self._look_of_key()
        if look is None or look == self._key_looked:
            return None if look is None else self._key
        try:
            key = keyfile.which_key(read_plain(self._keyfile, MAX_BYTES + 1))
        except OSError:
            return None
        if key == self._key:
            self._key_looked = look
        return key

    def _lost(self) -> str | None:
        """Return why what is written now would be lost, if so. The store's writer thread calls it too."""
        return _first(self._changed())

    def check(self) -> None:
        """Check the home, repair what can be repaired, and make the store refuse what it could not keep."""
        found = self._changed()
        self._store.lost = _first(found)
        if self._store.damaged is not None:
            found["store.db"] = self._store.damaged
        if self._lock is not None and self._lock.lost:
            self._mend(found, "lock", "the lock of the home was deleted or replaced")
        if self._store.keep_reserve():
            log.warning("the space in reserve (ballast) was deleted; it is set aside anew")
        for name in _FOLDERS:
            if (self._home / name).is_dir():
                self._folders.add(name)
            elif name in self._folders:
                self._mend(found, name, f"{name}/ was deleted")
        if self._control.lost:
            self._mend(found, "control socket", "the control socket was deleted or replaced")
        if is_read_only(self._home):
            found["disk"] = "the file system is read-only"
        elif (shortage := self._store.shortage()) is not None:
            found["disk"] = shortage
        elif shutil.disk_usage(self._home).free < LEAST_FREE_BYTES:
            found["disk"] = "the disk is full"
        for name in ("", *_FOLDERS):
            if (why := no_access(self._home / name)) is not None:
                found[name or "folder"] = why
        for name in found.keys() - self.unwell.keys():
            log.error("the home is unwell: %s", found[name])
        self.unwell = found

    def _mend(self, found: dict[str, str], name: str, what: str) -> None:
        try:
            if name in _FOLDERS:
                private_dir(self._home / name)
            elif name == "lock":
                if self._lock is not None:
                    self._lock.take()
            else:
                self._control.bind_again()
        except AlreadyRunningError as error:
            # Two nodes on one home would each send and answer on its own. The other one has the lock, so this one ends.
            found[name] = f"{what}, and {error.message}"
            self._on_taken(error)
        except Exception as error:  # noqa: BLE001 - shown, and tried again at the next check
            found[name] = f"{what}, and cannot be made anew: {error}"
        else:
            log.warning("%s; it is made anew", what)


def _first(found: dict[str, str]) -> str | None:
    return next(iter(found.values()), None)

"""The home under the node: whether its files are still there, still its own, and have room.

A file that is deleted or replaced under an open descriptor gives no error: what is written goes on, into nothing.
So the inodes are looked at on a timer; the store refuses what it could not keep, and what can be mended is.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

from peerpost.store.engine import Store
from peerpost.system import private_dir

from .control import ControlServer

__all__ = ["CHECK_S", "Health"]

log = logging.getLogger(__name__)

CHECK_S = 2.0
LEAST_FREE_BYTES = 1 << 20
_FILES = ("store.db", "keyfile", "lock")
_FOLDERS = ("blobs", "spool")


class Health:
    """What is wrong with an open home now, by the name of what it is about."""

    def __init__(self, home: Path, store: Store, control: ControlServer) -> None:
        self._home = home
        self._store = store
        self._control = control
        self._inodes = {name: self._inode(name) for name in _FILES}
        self._folders = {name for name in _FOLDERS if (home / name).is_dir()}
        self.unwell: dict[str, str] = {}

    def _inode(self, name: str) -> int | None:
        try:
            return (self._home / name).lstat().st_ino
        except FileNotFoundError:
            return None

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            self.check()
            await asyncio.sleep(CHECK_S)

    def check(self) -> None:
        """Look at the home, mend what can be mended, and have the store refuse what it could not keep."""
        found: dict[str, str] = {}
        for name, inode in self._inodes.items():
            now = self._inode(name)
            # A keyfile is replaced by a change of the passphrase, which is no damage.
            if inode is not None and (now is None or (now != inode and name != "keyfile")):
                found[name] = f"{name} was {'deleted' if now is None else 'replaced'}"
        self._store.lost = found.get("store.db")
        for name in _FOLDERS:
            if (self._home / name).is_dir():
                self._folders.add(name)
            elif name in self._folders:
                self._mend(found, name, f"{name}/ was deleted")
        if self._control.lost:
            self._mend(found, "control socket", "the control socket was deleted or replaced")
        if hasattr(os, "ST_RDONLY") and os.statvfs(self._home).f_flag & os.ST_RDONLY:
            found["disk"] = "the file system is read-only"
        elif shutil.disk_usage(self._home).free < LEAST_FREE_BYTES:
            found["disk"] = "the disk is full"
        for name in found.keys() - self.unwell.keys():
            log.error("the home is unwell: %s", found[name])
        self.unwell = found

    def _mend(self, found: dict[str, str], name: str, what: str) -> None:
        try:
            if name in _FOLDERS:
                private_dir(self._home / name)
            else:
                self._control.bind_again()
        except Exception as error:  # noqa: BLE001 - shown, and tried again with the next look
            found[name] = f"{what}, and cannot be made anew: {error}"
        else:
            log.warning("%s; it is made anew", what)

"""A disk whose power can be cut: what SQLite writes passes through, and is remembered.

`Disk.after_cut` says what the disk may hold after a power cut at a given moment. What was synced is
there. Every other write, independently of the others, is there, is lost, or is torn between sectors; so
the disk also reorders. A deleted file may be back, unless something was synced since (the journals of
ext4 and xfs write names and syncs in order). It is a model of a disk, not a disk.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

SECTOR_BYTES = 512
SYSTEM = "win32" if sys.platform == "win32" else "unix"
BELOW = "powercut"
VFS_NAME = f"multipleciphers-{BELOW}"
"""The encryption on top of the recorder: what is recorded is what would be on the disk."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was done to a file."""

    name: str
    what: str
    """write, truncate, sync or delete."""
    at: int = 0
    data: bytes = b""


class Disk:
    """What is done to the files of one folder, in order."""

    def __init__(self, folder: Path) -> None:
        _register()
        self.log: list[Change] = []
        self.on_sync: Callable[[str], object] = lambda _name: None
        self._lock = threading.Lock()
        _disks[str(folder)] = self

    def record(self, change: Change) -> None:
        with self._lock:
            self.log.append(change)

    @property
    def now(self) -> int:
        """This moment, as a place in the log."""
        return len(self.log)

    def syncs(self, name: str) -> int:
        """Return how often a file was synced."""
        return sum(change.what == "sync" and change.name == name for change in self.log)

    def after_cut(self, moment: int, draw: random.Random) -> dict[str, bytes]:
        """Return the files as they may be after a power cut at that moment."""
        log = self.log[:moment]
        last_sync = max((at for at, change in enumerate(log) if change.what == "sync"), default=-1)
        synced: dict[tuple[str, int], int] = {}
        lives = _lives(log)
        for at, change in enumerate(log):
            if change.what == "sync":
                synced[change.name, lives[at]] = at
        files: dict[tuple[str, int], bytearray] = {}
        deleted: set[tuple[str, int]] = set()
        for at, change in enumerate(log):
            key = (change.name, lives[at])
            content = files.setdefault(key, bytearray())
            kept = at < synced.get(key, -1)
            if change.what == "write":
                _write(content, change, kept, draw)
            elif change.what == "truncate" and (kept or draw.random() < 0.5):
                del content[change.at :]
            elif change.what == "delete" and (at < last_sync or draw.random() < 0.5):
                deleted.add(key)
        found: dict[str, bytes] = {}
        for (name, life), content in sorted(files.items()):
            # If a deletion did not happen, nothing that was done later under that name happened either.
            if (name, life) not in deleted and name not in found and content:
                found[name] = bytes(content)
        return found


def _lives(log: list[Change]) -> list[int]:
    """Return for each change to which file of that name it applies: after a deletion it is another file."""
    lives: dict[str, int] = {}
    found = []
    for change in log:
        life = lives.setdefault(change.name, 0)
        found.append(life)
        if change.what == "delete":
            lives[change.name] = life + 1
    return found


def _write(content: bytearray, change: Change, kept: bool, draw: random.Random) -> None:
    fate = 1.0 if kept else draw.random()
    if fate < 0.4:
        return
    if fate >= 0.6:
        _put(content, change.at, change.data)
        return
    at = 0
    while at < len(change.data):
        start = change.at + at
        piece = change.data[at : at + SECTOR_BYTES - start % SECTOR_BYTES]
        at += len(piece)
        if draw.random() < 0.5:
            _put(content, start, piece)


def _put(content: bytearray, at: int, data: bytes) -> None:
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


# -- the recorder

_disks: dict[str, Disk] = {}
_vfs: list[Any] = []
"""Never unregistered: the encryption keeps a pointer to it."""


def _register() -> None:
    if not _vfs:
        _vfs.append(_Recorder())


class _Recorder(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(BELOW, SYSTEM)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        path = Path(filename)
        disk = _disks.get(str(path.parent))
        if disk is not None:
            disk.record(Change(path.name, "delete"))
            if syncdir:
                disk.record(Change(path.name, "sync"))


class _File(apsw.VFSFile):
    def __init__(self, name: Any, flags: list[int]) -> None:
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        path = Path(text or "/temporary")
        self._name = path.name
        self._disk = _disks.get(str(path.parent))
        super().__init__(SYSTEM, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        if self._disk is not None:
            self._disk.record(Change(self._name, "write", offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        if self._disk is not None:
            self._disk.record(Change(self._name, "truncate", newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._disk is not None:
            self._disk.on_sync(self._name)
        super().xSync(flags)
        if self._disk is not None:
            self._disk.record(Change(self._name, "sync"))

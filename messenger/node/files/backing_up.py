"""Backups of an open home, made while it goes on: everything in them is of one moment.

    backup.new/     the store of that moment, and other names of the files that its rows name

A file is removed after the last row that names it, and while the names are made nothing is committed. So each file of
the moment gets another name before it can go. What is left of a backup that was cut off is removed at the next start.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import importlib.metadata
import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from peerpost import system
from peerpost.client.paths import HomePaths
from peerpost.crypto import passphrase
from peerpost.crypto.container import HEADER_BYTES, SALT_BYTES, ContainerSealer, Opening
from peerpost.errors import StorageError, UnavailableError
from peerpost.store import disk
from peerpost.store.db.snapshot import Snapshot, require_room
from peerpost.store.files.backup import FOLDERS, BackupWriter, Manifest
from peerpost.store.keyfile import KEYFILE
from peerpost.store.keyfile_form import MAX_BYTES
from peerpost.store.tables import backups

from .given_up import GivenUp, until_left
from .reported import reported
from .sink import Sink

if TYPE_CHECKING:
    from peerpost.node.services import Services

__all__ = ["BackingUp", "sweep"]

FOLDER: Final = "backup.new"
READ_BYTES: Final = 256 << 10
_KEPT: Final = frozenset({".sealed", ".leaves"})
_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Item:
    name: str
    path: Path
    size: int


class BackingUp:
    """Makes backups of one home, one at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._busy = False

    async def create(
        self, out_fd: int, secret: bytes, *, files: bool
    ) -> AsyncGenerator[tuple[int, int] | Manifest, None]:
        """Write a backup to a descriptor, sealed under a passphrase. Yield (bytes done, of how many), and the manifest.

        Raises UnavailableError while another one is being made,
        StoreFullError, StorageError, ReaderLeftError, ShortMemoryError.
        """
        if self._busy:
            raise UnavailableError(
                "a backup is being made already", hint="wait until that one is done"
            )
        self._busy = True
        try:
            with disk.errors("cannot write the backup"):
                sink = Sink(out_fd)
            try:
                with disk.errors("cannot prepare a backup"):
                    store = HomePaths(self._services.home).store
                    require_room(self._services.home, store.stat().st_size)
                # What is refused at once is refused by now; the key alone takes a second or more.
                yield 0, 0
                sealer = await self._services.deriving.run(lambda _: self._sealer(secret))
                work = _Work(self._services.home, sink, sealer, files=files)
                async with aclosing(self._made(work)) as reports:
                    async for report in reports:
                        yield report
            finally:
                sink.close()
        finally:
            self._busy = False

    async def _made(self, work: _Work) -> AsyncGenerator[tuple[int, int] | Manifest, None]:
        """Make a backup, and report it. Whatever ends this, nothing of it is left in the home."""
        # A thread of its own: whoever reads a pipe may take as long as it likes.
        threads = ThreadPoolExecutor(1, thread_name_prefix="backup")
        try:
            await until_left(threads, work.stop, work.prepare)
            snapshot = await self._services.store.snapshot(work.link)
            run = functools.partial(work.run, snapshot, self._services.clock.now_ms())
            async with aclosing(reported(threads, work, run)) as reports:
                async for report in reports:
                    yield report
        finally:
            await until_left(threads, work.stop, work.clear)
            threads.shutdown(wait=False)

    def _sealer(self, secret: bytes) -> ContainerSealer:
        cost = passphrase.calibrate(self._services.clock.thread_s, system.free_memory_bytes())
        opening = Opening(
            memory_kib=cost.memory_kib,
            passes=cost.passes,
            lanes=cost.lanes,
            salt=os.urandom(SALT_BYTES),
            header=os.urandom(HEADER_BYTES),
        )
        return ContainerSealer(passphrase.derive(secret, opening.salt, cost), opening)


class _Work:
    """One backup. All of it but `link` runs in one thread; the loop reads how far it is."""

    def __init__(self, home: Path, sink: Sink, sealer: ContainerSealer, *, files: bool) -> None:
        self._home = home
        self._folder = home / FOLDER
        self._sink = sink
        self._sealer = sealer
        self._files = files
        self._wanted = GivenUp()
        self._named: list[_Item] = []
        self.done_bytes = 0
        self.total_bytes = 0

    def stop(self) -> None:
        """Make it end before its next piece."""
        self._wanted.stop()
        self._sink.stop()

    def prepare(self) -> None:
        """Make an empty folder for it."""
        with disk.errors("cannot prepare a backup"):
            sweep(self._home)
            for folder in (self._folder, *(self._folder / name for name in FOLDERS)):
                folder.mkdir(mode=0o700)

    def link(self) -> None:
        """Give each file of now another name. The store calls it while nothing is committed."""
        if not self._files:
            return
        with disk.errors("cannot prepare a backup"):
            for folder in FOLDERS:
                for path in sorted((self._home / folder).iterdir()):
                    # What is still coming is asked for again: only its sender knows whether it is right.
                    if path.suffix in _KEPT and not path.with_suffix(".part").exists():
                        self._named.append(
                            _Item(
                                name=f"{folder}/{path.name}",
                                path=_linked(path, self._folder / folder / path.name),
                                size=0,
                            )
                        )

    def run(self, snapshot: Snapshot, made_ms: int) -> Manifest:
        """Copy the store, and write all of it."""
        try:
            keyfile = self._keyfile()
            copy = self._folder / "store.db"
            mark = functools.partial(backups.mark_copy, at_ms=made_ms)
            snapshot.copy(copy, mark, self._wanted.require_wanted)
        finally:
            snapshot.close()
        if keyfile != self._keyfile():
            raise UnavailableError(
                "the passphrase of the home was changed meanwhile", hint="try again"
            )
        return self._write(keyfile, snapshot.schema, made_ms)

    def clear(self) -> None:
        """Remove what it has needed in the home; what cannot be removed goes at the next start."""
        with contextlib.suppress(OSError):
            sweep(self._home)

    def _keyfile(self) -> bytes:
        with disk.errors("cannot read the keyfile"):
            return system.read_plain(self._home / KEYFILE, MAX_BYTES + 1)

    def _write(self, keyfile: bytes, schema: int, made_ms: int) -> Manifest:
        given = [
            ("store.db", self._folder / "store.db"),
            ("config.toml", self._home / "config.toml"),
        ]
        items = [
            dataclasses.replace(item, size=size)
            for item in (*(_Item(name=n, path=p, size=0) for n, p in given), *self._named)
            if (size := _size(item.path)) is not None
        ]
        total = len(keyfile) + sum(item.size for item in items)
        manifest = Manifest(
            made_ms=made_ms,
            version=importlib.metadata.version("peerpost"),
            schema=schema,
            entries=len(items) + 1,
            total_bytes=total,
            files=self._files,
        )
        self.total_bytes = total
        writer = BackupWriter(self._sealer, self._sink.write, manifest)
        writer.add(KEYFILE, len(keyfile), [keyfile])
        for item in items:
            writer.add(item.name, item.size, self._pieces(item))
        writer.end()
        self._sink.end()
        return manifest

    def _pieces(self, item: _Item) -> Iterator[bytes]:
        """Yield the content of a file, as long as it was said to be: what is still being read may grow."""
        left = item.size
        with (
            disk.errors(f"cannot read {item.name}"),
            system.open_plain(item.path, follows=True) as file,
        ):
            while left:
                self._wanted.require_wanted()
                piece = file.read(min(READ_BYTES, left))
                if not piece:
                    raise StorageError(f"{item.name} has become shorter while it was read")
                left -= len(piece)
                self.done_bytes += len(piece)
                yield piece


def sweep(home: Path) -> None:
    """Remove what is left of a backup that was cut off. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(home / FOLDER)


def _linked(path: Path, name: Path) -> Path:
    """Give a file another name and return that; the first one, where the file system knows no second ones."""
    try:
        os.link(path, name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return path
    return name


def _size(path: Path) -> int | None:
    """Return the size of a file, or None if it is gone: without second names, a file may have been deleted since."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None

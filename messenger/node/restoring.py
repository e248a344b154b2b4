"""A home is put back from a backup so that at each moment there is all of it, or nothing.

restore.new/     what was unpacked so far; removed at the next start
restore.done/    all of it: from the rename to this name on, the home is put back. What is left to do is to move its
                 files to their places, at once or at the next start.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from peerpost import system
from peerpost.client.config_text import DEFAULT_TEXT
from peerpost.client.paths import HomePaths
from peerpost.crypto.container import Opening
from peerpost.crypto.passphrase import Cost, derive, require_memory
from peerpost.errors import BadInputError, ExistsError, StoreFullError
from peerpost.node.files.backing_up import sweep
from peerpost.node.files.given_up import GivenUp
from peerpost.node.files.reported import reported
from peerpost.store import disk, keyfile
from peerpost.store.db import migrations
from peerpost.store.files.backup import FOLDERS, BackupReader, Manifest
from peerpost.store.files.source import Source

from .deriving import Deriving

__all__ = ["put_back", "settle"]

HALF: Final = "restore.new"
DONE: Final = HomePaths.RESTORED
_LAST: Final = ("config.toml", "store.db", "keyfile")
"""In this order: once the keyfile is in its place, so is everything else."""


def settle(home: Path) -> None:
    """Finish or undo what was interrupted, and remove what is left of a backup. Raises StorageError.

    Call it before the home is opened.
    """
    with disk.errors("cannot finish putting the home back"):
        done = home / DONE
        if done.exists():
            _move(done, home)
        with suppress(FileNotFoundError):
            shutil.rmtree(home / HALF)
        sweep(home)


def _move(done: Path, home: Path) -> None:
    for folder in FOLDERS:
        if (done / folder).exists():
            with suppress(FileNotFoundError):
                (home / folder).rmdir()
            (done / folder).rename(home / folder)
    system.fsync_dir(home)
    for name in _LAST:
        with suppress(FileNotFoundError):
            (done / name).replace(home / name)
            system.fsync_dir(home)
    done.rmdir()
    system.fsync_dir(home)


async def put_back(
    home: Path, source_fd: int, secret: bytes, *, alone: asyncio.Lock, deriving: Deriving
) -> AsyncGenerator[tuple[int, int] | Manifest, None]:
    """Put an empty home back. Yield (bytes done, of how many), and at last what was put back.

    `alone` is held meanwhile: nobody else makes or opens the home. Raises what `Restoring.run` raises. If the generator
    is closed before, the home is as empty as it was.
    """
    threads, loop = ThreadPoolExecutor(1, thread_name_prefix="restore"), asyncio.get_running_loop()

    def derived(key: Callable[[], bytes]) -> bytes:
        """Have a key derived for the thread of the restore, which a node that leaves does wait for."""
        return asyncio.run_coroutine_threadsafe(deriving.run(lambda _: key()), loop).result()

    work = Restoring(home, source_fd, secret, derived)
    try:
        async with alone, aclosing(reported(threads, work, work.run)) as reports:
            async for report in reports:
                yield report
    finally:
        work.close()
        threads.shutdown(wait=False)


class Restoring:
    """Puts a home back from one backup, in a thread."""

    def __init__(
        self,
        home: Path,
        source_fd: int,
        secret: bytes,
        derived: Callable[[Callable[[], bytes]], bytes],
    ) -> None:
        """Take a descriptor, of which a copy is made, and the passphrase of the backup.

        `derived` returns what the function that it is given returns, which derives a key.
        """
        self._home = home
        self._half = home / HALF
        self._secret = secret
        self._derived = derived
        self._source = Source(os.dup(source_fd))
        self._wanted = GivenUp()
        self.done_bytes = 0
        self.total_bytes = 0

    def stop(self) -> None:
        """Make it end before its next piece."""
        self._wanted.stop()
        self._source.stop()

    def close(self) -> None:
        """Close the source; the thread has ended."""
        self._source.close()

    def run(self) -> Manifest:
        """Unpack all of it and put it in its place.

        Raises ExistsError if the home is not empty, BadInputError if the backup is not whole, WrongPassphraseError,
        ShortMemoryError, StoreFullError, StorageError: then the home is as empty as it was.
        """
        require_empty(self._home)
        settle(self._home)
        reader = BackupReader(self._source.readinto, self._key_of)
        manifest = reader.manifest
        if manifest.schema > migrations.latest():
            raise BadInputError(
                f"the backup was made by a later version of Peerpost ({manifest.version})",
                hint="update Peerpost; going back is not possible",
            )
        self.total_bytes = manifest.total_bytes
        try:
            self._unpack(reader)
        except BaseException:
            with suppress(OSError):
                shutil.rmtree(self._half)
            raise
        with disk.errors("cannot put the home back"):
            self._half.rename(self._home / DONE)
            system.fsync_dir(self._home)
        settle(self._home)
        return manifest

    def _key_of(self, opening: Opening) -> bytes:
        try:
            cost = Cost.parse((opening.memory_kib, opening.passes, opening.lanes))
        except BadInputError as error:
            raise BadInputError(f"the backup is damaged: {error.message}") from None
        require_memory(cost, system.free_memory_bytes())
        return self._derived(lambda: derive(self._secret, opening.salt, cost))

    def _unpack(self, reader: BackupReader) -> None:
        total = reader.manifest.total_bytes
        free_bytes = shutil.disk_usage(self._home).free
        if free_bytes < total:
            raise StoreFullError(
                f"the home needs {-(-total >> 20)} MiB, and {free_bytes >> 20} MiB are free",
                hint="free some space on the disk of the home folder; nothing was changed",
            )
        with disk.errors("cannot put the home back"):
            folders = [self._half, *(self._half / name for name in FOLDERS)]
            for folder in folders:
                folder.mkdir(mode=0o700)
            found = 0
            for name, _ in reader.entries():
                self._write(self._half / name, reader.content())
                found += 1
            names = [path.name for path in self._half.iterdir()]
            if found != reader.manifest.entries or not {"keyfile", "store.db"} <= set(names):
                raise BadInputError("the backup lacks a part that it says it has")
            # A keyfile that opens nothing is found before the home takes its place.
            keyfile.describe(self._half)
            if _is_edited(self._home / "config.toml"):
                (self._half / "config.toml").unlink(missing_ok=True)
            for folder in reversed(folders):
                system.fsync_dir(folder)

    def _write(self, path: Path, content: Iterable[bytes]) -> None:
        try:
            fd = system.open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            raise BadInputError(f"the backup has {path.name} twice") from None
        with os.fdopen(fd, "wb") as file:
            for piece in content:
                self._wanted.require_wanted()
                file.write(piece)
                self.done_bytes += len(piece)
            file.flush()
            system.fsync(file.fileno())


def require_empty(home: Path) -> None:
    """Raise ExistsError if a home has an identity, or something that was received or is to be sent."""
    paths = HomePaths(home)
    taken = keyfile.exists(home) or paths.store.exists() or (home / DONE).exists()
    if taken or any((home / name).is_dir() and any((home / name).iterdir()) for name in FOLDERS):
        raise ExistsError(
            f"{home} is not empty: a home is put back into an empty one",
            hint="move that one aside, or name another folder: --home DIR",
        )


def _is_edited(config: Path) -> bool:
    """Return whether somebody has changed a configuration since it was made with the defaults."""
    try:
        return system.read_plain(config, len(DEFAULT_TEXT.encode()) + 1).decode() != DEFAULT_TEXT
    except (OSError, UnicodeDecodeError):
        return config.exists()

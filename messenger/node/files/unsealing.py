"""`[storage] downloads`: received files are written plain to a folder of the user's, and the sealed copy goes.

The steps: write the file under a hidden name and flush it; record its final name in the store; give it that name and
flush the folder; record that it is done; remove the sealed copy. If the node is killed after any step, there is at
least one copy, and the next start goes on from there without making another.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from peerpost import system
from peerpost.errors import (
    CannotCreateError,
    NotFoundError,
    PeerpostError,
    StorageError,
    TransientError,
)
from peerpost.holes import SparseWriter
from peerpost.node.events import LOOK
from peerpost.store import disk
from peerpost.store.files.names import FOLDER_SUFFIX, numbered
from peerpost.store.files.space import check_space
from peerpost.store.tables import blobs, inbox, plain
from peerpost.store.tables import transfers as rows

from .given_up import GivenUp, until_left
from .plain_file import read_plain

if TYPE_CHECKING:
    from peerpost.node.services import Services

    from .arrived import Arrived

__all__ = ["Unsealing"]

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""How often to check without an event: what could not be written may be possible now."""
MAX_TRIES = 10_000
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


class Unsealing:
    """Writes the received files of one home plain."""

    def __init__(self, services: Services, arrived: Arrived) -> None:
        """Prepare to write to the folder that the configuration names; it is made if it does not exist."""
        self._services = services
        self._arrived = arrived
        self._folder = Path(services.config.storage.downloads).expanduser()
        self.busy = False

    async def follow(self) -> None:
        """Write what is due now and what arrives later. Raises PeerpostError if some files could not be written."""
        store = self._services.store
        await self._services.in_thread(self._tidy, await store.read(plain.finished))
        with self._services.events.subscribe() as events:
            while True:
                self.busy = True
                try:
                    await self._write_all(await store.read(plain.due))
                finally:
                    self.busy = False
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        while (await events.next()).kind not in ("item", LOOK.kind):
                            pass

    def _tidy(self, finished: list[str]) -> None:
        """Remove what an earlier run left of files that already have their final names."""
        for id_ in finished:
            with suppress(OSError):
                self._draft(id_).unlink(missing_ok=True)

    def _draft(self, transfer_id: str) -> Path:
        return self._folder / f".{transfer_id}.peerpost-part"

    async def _write_all(self, due: list[plain.Due]) -> None:
        failure: PeerpostError | None = None
        for one in due:
            try:
                await self._write(one)
            except PeerpostError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    async def _write(self, due: plain.Due) -> None:
        store = self._services.store
        try:
            item = await store.read(inbox.find, due.inbox_id)
            row = await self._arrived.transfer(item)
        except NotFoundError:
            await store.write(plain.forget, due.inbox_id)
            return
        in_thread = self._services.in_thread
        named = due.path
        if named is None or not await in_thread(self._has_name, row, named, due.digest or b""):
            nobody = GivenUp()
            try:
                digest = await until_left(
                    self._services.threads, nobody.stop, self._make_draft, row, nobody
                )
            except _DamagedError as error:
                log.error("%s stays sealed: %s", row.id, error)  # noqa: TRY400 - that is the cause
                await store.write(plain.forget, due.inbox_id)
                return
            named = await self._give_name(due.inbox_id, row, digest)
        await in_thread(system.fsync_dir, Path(named).parent)
        kept = await store.write(plain.done, due.inbox_id)
        await in_thread(self._clear, row, None if kept else Path(named))
        log.info("%s lies plain in the folder of downloads", row.id)

    def _has_name(self, row: rows.Transfer, named: str, digest: bytes) -> bool:
        """Return whether a file got the name recorded for it before the node ended."""
        draft, path = self._draft(row.id), Path(named)
        with suppress(OSError):
            if draft.exists():
                return os.path.samestat(path.lstat(), draft.lstat())
            if path.is_symlink():
                return False
        # On a disk without hard links it was renamed; or this is another file.
        with suppress(PeerpostError):
            read_plain(named, digest, lambda _: None)
            return True
        return False

    def _make_draft(self, row: rows.Transfer, nobody: GivenUp) -> bytes:
        """Write all of a file under a hidden name; return its BLAKE2b-256. Raises StorageError."""
        draft = self._draft(row.id)
        with disk.errors(f"cannot write to {self._folder}"):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            reserve_bytes = self._services.config.storage.min_free
            size_bytes = 0 if row.finish is None else row.finish.size
            check_space(self._folder, size_bytes, reserve_bytes=reserve_bytes)
            draft.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | system.O_NOFOLLOW | system.OPEN
            fd = os.open(draft, flags, _mode(row))
            try:
                system.allow_as_user(fd, _mode(row))
                file = SparseWriter(fd)

                def take(piece: memoryview) -> None:
                    nobody.require_wanted()
                    file.write(piece)

                digest = self._read_out(row, take)
                file.end()
                if row.mtime_s is not None:
                    with suppress(OSError, OverflowError):
                        os.utime(fd, (row.mtime_s, row.mtime_s))
                system.fsync(fd)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            finally:
                os.close(fd)
        return digest

    def _read_out(self, row: rows.Transfer, take: Callable[[memoryview], object]) -> bytes:
        try:
            return bytes.fromhex(self._arrived.read_out(row, take))
        except TransientError:
            raise
        except StorageError as error:
            raise _DamagedError(error.message) from error

    async def _give_name(self, inbox_id: str, row: rows.Transfer, digest: bytes) -> str:
        """Give the file a name that nothing else has. Raises CannotCreateError, StorageError."""
        in_thread = self._services.in_thread
        name = row.shown_name if row.files is None else row.shown_name + FOLDER_SUFFIX
        for number in range(MAX_TRIES):
            path = self._folder / numbered(name, number)
            if await in_thread(os.path.lexists, path):
                continue
            await self._services.store.write(plain.begin, inbox_id, str(path), digest)
            if await in_thread(self._link, self._draft(row.id), path):
                return str(path)
        raise CannotCreateError(f"{MAX_TRIES} files named {name} are in {self._folder} already")

    def _link(self, draft: Path, path: Path) -> bool:
        """Give a file its name; return False if something else has got that name meanwhile."""
        with disk.errors(f"cannot write to {self._folder}"):
            try:
                os.link(draft, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if os.path.lexists(path):
                    return False
                draft.rename(path)
            return True

    def _clear(self, row: rows.Transfer, unwanted: Path | None) -> None:
        """Remove the sealed copy; the plain one too, if the message was deleted while it was written."""
        with suppress(OSError):
            if unwanted is not None:
                unwanted.unlink(missing_ok=True)
            self._draft(row.id).unlink(missing_ok=True)
        try:
            blobs.discard(self._arrived.folder, row)
        except OSError as error:
            log.warning("%s is left until the next start: %s", row.id, error)


class _DamagedError(Exception):
    """The sealed file is damaged: it stays where it is, and `inbox save` says so."""


def _mode(row: rows.Transfer) -> int:
    """Return the rights of a file that is written unasked: those it had, plus reading for us, minus execution."""
    if row.files is not None:
        return 0o600
    return 0o666 if row.mode is None else row.mode & 0o666 | 0o400

"""The drivers of the files that are being transferred: a Download or Upload for each, made when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from peerpost.errors import NotFoundError
from peerpost.node.tasks import Tasks
from peerpost.store.tables import blobs
from peerpost.store.tables import transfers as rows

from .download import Download
from .upload import Upload

if TYPE_CHECKING:
    from pathlib import Path

    from peerpost.node.services import Services

    from .pipes import Pipes
    from .spool import Spool

__all__ = ["Drivers", "Key"]

Key: TypeAlias = tuple[str, bytes]
"""Contact id and file id."""


class Drivers:
    """The Downloads and Uploads of one home."""

    def __init__(
        self,
        services: Services,
        folder: Path,
        spool: Spool,
        pipes: Pipes,
        *,
        upload_class: type[Upload],
        download_ended: Callable[[str], object],
        upload_ended: Callable[[str], object],
    ) -> None:
        """Prepare; received files go to `folder`. When a file has ended, the callback gets the contact's id."""
        self._services, self._folder = services, folder
        self._spool, self._pipes = spool, pipes
        self._upload_class = upload_class
        self._download_ended, self._upload_ended = download_ended, upload_ended
        self.downloads: dict[Key, Download] = {}
        self.uploads: dict[Key, Upload] = {}
        self._tasks = Tasks()

    @property
    def moving(self) -> bool:
        """Whether a file is moving now."""
        return any(driver.moving for driver in self._all)

    @property
    def _all(self) -> list[Download | Upload]:
        return [*self.downloads.values(), *self.uploads.values()]

    def of(
        self, contact_id: str, file_id: bytes | None, *, incoming: bool
    ) -> Download | Upload | None:
        """Return the driver of a file, if it has one now."""
        kept = self.downloads if incoming else self.uploads
        return None if file_id is None else kept.get((contact_id, file_id))

    def download(self, row: rows.Transfer) -> Download:
        """Return the driver that receives a file; begin it if there is none."""
        key = (row.contact_id, row.file_id)
        found = self.downloads.get(key)
        if found is None:
            found = self.downloads[key] = Download(self._services, row, self._folder)
            found.start(lambda: self._ended(self.downloads, key, found, self._download_ended))
            self._look_again(row, found)
        return found

    async def upload(self, row: rows.Transfer) -> Upload:
        """Return the driver that sends a file; begin it if there is none. Raises NotFoundError."""
        key = (row.contact_id, row.file_id)
        found = self.uploads.get(key)
        if found is None and row.source == rows.STREAM_SOURCE and not self._pipes.of(row.file_id):
            # The transfer ended while its row was being read.
            row = await self._services.store.read(rows.find, row.id)
            found = self.uploads.get(key)
        if found is None:
            found = self.uploads[key] = self._upload_class(
                self._services, row, self._spool, self._pipes.of(row.file_id)
            )
            found.start(lambda: self._ended(self.uploads, key, found, self._upload_ended))
            self._look_again(row, found)
        return found

    def _ended(
        self, kept: dict[Key, Any], key: Key, driver: object, then: Callable[[str], object]
    ) -> None:
        _forget(kept, key, driver)
        then(key[0])

    def _look_again(self, row: rows.Transfer, driver: Download | Upload) -> None:
        """Let go of a file whose contact was removed since its row was read.

        The driver is registered by now. So either `forget` finds it, or the row is gone when it is read again here.
        """
        name, duties = f"look-again-{row.id}", self._services.duties
        self._tasks.keep(name, lambda: self._require_row(row, driver), duties)

    async def _require_row(self, row: rows.Transfer, driver: Download | Upload) -> None:
        store = self._services.store
        key = (row.contact_id, row.file_id)
        if await store.read(rows.get, *key, incoming=row.incoming) is None:
            _forget(self.downloads if row.incoming else self.uploads, key, driver)
            await self._drop([driver], [row])

    def session_down(self, contact_id: str) -> None:
        """Suspend the files of a contact."""
        for driver in self._all:
            if driver.row.contact_id == contact_id:
                driver.session_down()

    async def stop(self) -> None:
        """Suspend every file."""
        await self._tasks.stop()
        for driver in self._all:
            await driver.close()
        self.downloads.clear()
        self.uploads.clear()

    # -- a contact that was removed

    async def forget(self, contact_id: str, files: Iterable[rows.Transfer]) -> None:
        """Stop all files of a contact whose rows are gone, close what they hold open and remove it from the disk.

        `files` are the rows that were open. If a crash interrupts this, the next start removes the rest.
        """
        driven: list[Download | Upload] = []
        for kept in (self.downloads, self.uploads):
            driven += [kept.pop(key) for key in list(kept) if key[0] == contact_id]
        gone = {row.id: row for row in files} | {driver.row.id: driver.row for driver in driven}
        await self._drop(driven, gone.values())

    async def _drop(
        self, drivers: Iterable[Download | Upload], gone: Iterable[rows.Transfer]
    ) -> None:
        gone = list(gone)
        for row in gone:
            pipe = None if row.incoming else self._pipes.of(row.file_id)
            if pipe is not None:
                await self._pipes.give_up(pipe, NotFoundError("the contact was removed"))
        for driver in drivers:
            await driver.close()
        for row in gone:
            if row.incoming:
                await self._services.in_thread(blobs.discard, self._folder, row)
        await self._spool.tidy_after([row for row in gone if not row.incoming])


def _forget(kept: dict[Key, Any], key: Key, ended: object) -> None:
    """Drop what has ended, unless another one has its place already."""
    if kept.get(key) is ended:
        del kept[key]

"""Every file on its way: who drives which machine, what becomes of offers, and what is kept where.

    spool/                               what we send, sealed when it was queued (`spool`)
    blobs/<file id>.part, .leaves        what we are receiving, sealed as it came
    blobs/<file id>.sealed, .leaves      what we have received whole

A session that begins wakes the open transfers of its contact; one that ends puts them to sleep. Nothing about a
transfer lives only in memory but what a restart can find again.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import operator
from typing import TYPE_CHECKING, Any

from peerpost.errors import NotFoundError, StoreFullError, UsageError
from peerpost.store import contacts, disk, inbox
from peerpost.store import transfers as rows
from peerpost.store.chunks import Sealer
from peerpost.store.sealed import End, SealedFile
from peerpost.store.space import check_space
from peerpost.wire import inner as wire
from peerpost.wire.segment import Segment

from .download import Download
from .file_queue import FileQueue
from .session import Session
from .spool import Spool
from .tasks import Tasks
from .upload import Upload

if TYPE_CHECKING:
    from .services import Services

__all__ = ["Transfers"]

log = logging.getLogger(__name__)

MAX_OPEN_OFFERS = 32
"""Incoming files of one contact that are open at once; more are refused."""


class Transfers:
    """The files of one home."""

    upload_class: type[Upload] = Upload
    """What sends a file; the demonstration's liar has its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._folders = {name: services.home / name for name in ("spool", "blobs")}
        for folder in self._folders.values():
            folder.mkdir(mode=0o700, exist_ok=True)
        self._uploads: dict[tuple[str, bytes], Upload] = {}
        self._downloads: dict[tuple[str, bytes], Download] = {}
        self._sessions: dict[str, Session] = {}
        self._tasks = Tasks()
        self.spool = Spool(services, self._folders["spool"])
        self.queue = FileQueue(services, self.spool)

    @property
    def busy(self) -> bool:
        """Whether a file is moving now."""
        return any(d.moving for d in self._downloads.values()) or any(
            u.moving for u in self._uploads.values()
        )

    def wants(self, contact_id: str) -> bool:
        """Tell whether a file of this contact is waiting to be pulled."""
        return any(key[0] == contact_id for key in self._downloads)

    async def stop(self) -> None:
        """Put every transfer to sleep."""
        await self._tasks.stop()
        for download in list(self._downloads.values()):
            await download.close()
        for upload in list(self._uploads.values()):
            await upload.close()
        self._downloads.clear()
        self._uploads.clear()

    # -- sessions

    def session_up(self, contact_id: str, session: Session) -> None:
        """Go on with the open transfers of a contact."""
        self._sessions[contact_id] = session
        self._tasks.spawn(self._resume(contact_id, session), name="resume-transfers")

    def session_down(self, contact_id: str, session: Session) -> None:
        """Put the transfers of a contact to sleep, unless a newer session has them."""
        if self._sessions.get(contact_id) is not session:
            return
        del self._sessions[contact_id]
        for kept in (self._downloads, self._uploads):
            for key, transfer in kept.items():
                if key[0] == contact_id:
                    transfer.session_down()

    async def _resume(self, contact_id: str, session: Session) -> None:
        for row in await self._services.store.read(rows.of_contact, contact_id):
            if self._sessions.get(contact_id) is not session:
                return
            if not row.incoming:
                (await self._upload(row)).session_up(session)
            elif row.state == "active":
                (await self._download(row)).session_up(session)
            elif row.state == "offered":
                await self._decide(row, session)

    # -- what a session brings

    async def offered(self, contact_id: str, session: Session, file_id: bytes) -> None:
        """Decide on a file that was offered just now."""
        row = await self._services.store.read(rows.get, contact_id, file_id, incoming=True)
        if row is not None and row.state == "offered":
            await self._decide(row, session)

    async def on_control(self, contact_id: str, session: Session, message: wire.Inner) -> None:
        """Take a control message about a file."""
        file_id = getattr(message, "file_id", None)
        if file_id is None:
            return
        if isinstance(message, wire.Leaves | wire.Finish):
            await self._to_download(contact_id, session, file_id, message)
        elif isinstance(message, wire.Cancel):
            await self._cancelled(contact_id, file_id, message.reason)
        else:
            await self._to_upload(contact_id, session, file_id, message)

    async def on_segments(
        self, contact_id: str, _session: Session, segments: list[Segment]
    ) -> None:
        """Take chunk data."""
        for file_id, of_file in itertools.groupby(segments, operator.attrgetter("file_id")):
            download = self._downloads.get((contact_id, file_id))
            if download is not None:
                download.on_segments(of_file)

    async def _to_download(
        self, contact_id: str, session: Session, file_id: bytes, message: wire.Inner
    ) -> None:
        download = self._downloads.get((contact_id, file_id))
        if download is not None:
            download.on_control(message)
            return
        row = await self._services.store.read(rows.get, contact_id, file_id, incoming=True)
        if row is not None and row.state == "done":
            # The sender asks because our last word was lost.
            session.send(wire.Lane.URGENT, wire.encode(wire.Complete(file_id=file_id)))

    async def _to_upload(
        self, contact_id: str, session: Session, file_id: bytes, message: wire.Inner
    ) -> None:
        upload = self._uploads.get((contact_id, file_id))
        if upload is None:
            row = await self._services.store.read(rows.get, contact_id, file_id, incoming=False)
            if row is None or row.state not in rows.OPEN_STATES:
                if isinstance(message, wire.Pull):
                    gone = wire.Cancel(file_id=file_id, reason="the sender has it no more")
                    session.send(wire.Lane.URGENT, wire.encode(gone))
                return
            upload = await self._upload(row)
        if self._sessions.get(contact_id) is session:
            # The request may be here before `_resume` has come to this file.
            upload.session_up(session)
        upload.on_control(message)

    async def _cancelled(self, contact_id: str, file_id: bytes, reason: str) -> None:
        key = (contact_id, file_id)
        for transfer in (self._downloads.get(key), self._uploads.get(key)):
            if transfer is not None:
                transfer.on_cancel(reason)
                return
        for incoming in (True, False):
            row = await self._services.store.read(rows.get, contact_id, file_id, incoming=incoming)
            if row is not None and row.state in rows.OPEN_STATES:
                await self._services.store.write(rows.set_state, row.id, "cancelled", reason)
                self._services.events.publish("transfer", row.id, "cancelled")
                if not incoming:
                    await self.spool.tidy_after([row])

    # -- incoming

    async def _decide(self, row: rows.Transfer, session: Session) -> None:
        """Accept, ask the user, or refuse."""
        accept = await self._accept_policy(row.contact_id)
        if not row.as_text:
            if accept == "never":
                await self._refuse(row, session, "files are not accepted")
                return
            if not isinstance(accept, int) or row.size is None or row.size > accept:
                await self._set_state(row, "asking", None)
                return
        open_rows = await self._services.store.read(rows.of_contact, row.contact_id)
        if sum(other.incoming for other in open_rows) > MAX_OPEN_OFFERS:
            await self._refuse(row, session, "too many files at once")
            return
        await self._accept(row, session)

    async def _accept_policy(self, contact_id: str) -> int | str:
        """Return what is said of this contact, or else of everybody."""
        own = (await self._services.store.read(contacts.find, contact_id)).accept
        if own is None:
            return self._services.config.storage.accept
        return int(own) if own.isdecimal() else own

    async def _accept(self, row: rows.Transfer, session: Session | None) -> None:
        try:
            check_space(
                self._folders["blobs"],
                row.size or 0,
                reserve_bytes=self._services.config.storage.min_free,
            )
        except StoreFullError as error:
            log.warning("not accepting %s: %s", row.id, error.message)
            await self._set_state(row, "asking", error.message)
            return
        row = await self._set_state(row, "active", None)
        download = await self._download(row)
        if session is not None:
            download.session_up(session)

    async def _refuse(self, row: rows.Transfer, session: Session | None, reason: str) -> None:
        await self._set_state(row, "cancelled", reason)
        if session is not None:
            refusal = wire.Refuse(file_id=row.file_id, reason=reason)
            session.send(wire.Lane.URGENT, wire.encode(refusal))

    async def _set_state(self, row: rows.Transfer, state: str, error: str | None) -> rows.Transfer:
        changed = await self._services.store.write(rows.set_state, row.id, state, error)
        self._services.events.publish("transfer", row.id, state)
        return changed

    async def _download(self, row: rows.Transfer) -> Download:
        key = (row.contact_id, row.file_id)
        download = self._downloads.get(key)
        if download is None:
            download = self._downloads[key] = Download(self._services, row, self._folders["blobs"])
            download.start(lambda: self._downloads.pop(key, None))
        return download

    # -- outgoing

    async def _upload(self, row: rows.Transfer) -> Upload:
        key = (row.contact_id, row.file_id)
        upload = self._uploads.get(key)
        if upload is None:
            upload = self._uploads[key] = self.upload_class(self._services, row, self.spool)
            upload.start(lambda: self._uploads.pop(key, None))
        return upload

    async def cancel_outgoing(self, contact_id: str, file_id: bytes, reason: str) -> None:
        """Give up a file that we send."""
        row = await self._services.store.read(rows.get, contact_id, file_id, incoming=False)
        if row is None or row.state not in rows.OPEN_STATES:
            return
        upload = await self._upload(row)
        session = self._sessions.get(contact_id)
        if session is not None:
            upload.session_up(session)
        upload.cancel(reason)

    # -- the user

    async def accept(self, prefix: str) -> rows.Transfer:
        """Accept a file that was asked about. Raises NotFoundError, UsageError."""
        row = await self._services.store.read(rows.find, prefix)
        _require_asking(row)
        await self._accept(row, self._sessions.get(row.contact_id))
        return await self._services.store.read(rows.find, row.id)

    async def reject(self, prefix: str) -> rows.Transfer:
        """Refuse a file, also one that is on its way. Raises NotFoundError, UsageError."""
        row = await self._services.store.read(rows.find, prefix)
        download = self._downloads.get((row.contact_id, row.file_id))
        if download is not None and row.incoming:
            download.cancel("refused by the receiver")
        else:
            _require_asking(row)
            await self._refuse(row, self._sessions.get(row.contact_id), "refused by the receiver")
        return await self._services.store.read(rows.find, row.id)

    def progress(self, contact_id: str, file_id: bytes | None) -> float | None:
        """Return the part of an outgoing file that was sent in this run, 0 to 1, or None."""
        upload = None if file_id is None else self._uploads.get((contact_id, file_id))
        return None if upload is None else upload.progress

    def received_bytes(self, row: rows.Transfer) -> int:
        """Return how much of an incoming file is on the disk."""
        download = self._downloads.get((row.contact_id, row.file_id))
        return row.progress_bytes if download is None else download.progress_bytes

    # -- what has arrived

    async def save(self, item: inbox.Item, out_fd: int) -> str:
        """Write a received file's bytes to an open file; return their BLAKE2b-256 in hex.

        Raises StorageError naming a chunk that is damaged.
        """
        row = await self._received(item)

        def run() -> str:
            digest = hashlib.blake2b(digest_size=32)
            with self._blob(row) as sealed, disk.errors("cannot write the file"):
                for piece in sealed.plain(_end(row)):
                    digest.update(piece)
                    disk.write_all(out_fd, piece)
            return digest.hexdigest()

        return await self._services.in_thread(run)

    async def describe(self, item: inbox.Item) -> dict[str, Any]:
        """Return where a received file lies and its digest; the body too, for a long text."""
        row = await self._received(item)

        def run() -> dict[str, Any]:
            with self._blob(row) as sealed:
                if row.as_text:
                    body = b"".join(bytes(piece) for piece in sealed.plain(_end(row)))
                    return {"body": body.decode(errors="replace")}
                digest = sealed.digest(_end(row)).hex()
                return {"path": str(sealed.path), "sealed": True, "blake2b": digest}

        return await self._services.in_thread(run)

    async def _received(self, item: inbox.Item) -> rows.Transfer:
        if item.file_id is None:
            raise NotFoundError(f"{item.id} is not a file")
        row = await self._services.store.read(
            rows.get, item.contact_id, item.file_id, incoming=True
        )
        if row is None or row.finish is None:
            raise NotFoundError(f"the file of {item.id} is not here any more")
        return row

    def _blob(self, row: rows.Transfer) -> SealedFile:
        sealer = Sealer(file_id=row.file_id, key=row.key, chunk_log2=row.chunk_log2)
        return SealedFile.open(self._folders["blobs"] / f"{row.file_id.hex()}.sealed", sealer)


def _end(row: rows.Transfer) -> End:
    finish = row.finish
    if finish is None:
        raise NotFoundError("the file is not whole")
    return End(size=finish.size, count=finish.count, root=finish.root)


def _require_asking(row: rows.Transfer) -> None:
    if not row.incoming or row.state not in ("offered", "asking"):
        raise UsageError(
            f"transfer {row.id} is {row.state}: there is nothing to decide",
            hint="see: peerpost transfers list",
        )

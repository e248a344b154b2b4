"""Every file that is being transferred: its driver, the decision on its offer, and where its bytes are.

    spool/                               what we send, sealed when it was queued (`spool`)
    blobs/                               what we receive, sealed as it came (`store.tables.blobs`)

A session that begins resumes the open transfers of its contact; one that ends suspends them. Nothing about a transfer
is kept only in memory that a restart could not find again.
"""

from __future__ import annotations

import itertools
import logging
import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from peerpost.errors import NotFoundError, UsageError
from peerpost.node.session.session import Session
from peerpost.node.tasks import Tasks
from peerpost.protocol.transfer import clip_reason
from peerpost.store import disk
from peerpost.store.tables import blobs, endings, outbox
from peerpost.store.tables import transfers as rows
from peerpost.system import check_access
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.segment import Segment

from .arrived import Arrived
from .backing_up import BackingUp
from .download import Download
from .drivers import Drivers
from .importing import Importing
from .indexing import Indexing
from .offers import Offers
from .pipes import Pipes
from .queue import FileQueue
from .recovery import recover
from .spool import Spool
from .undecided import cancel_of, require_asking, require_open
from .unsealing import Unsealing
from .upload import Upload

if TYPE_CHECKING:
    from peerpost.node.services import Services

__all__ = ["Transfers"]

log = logging.getLogger(__name__)

BY_SENDER = "paused by the sender"
BY_RECEIVER = "paused by the receiver"
REJECTED = "refused by the receiver"
"""What the other side reads."""


class Transfers:
    """The files of one home."""

    upload_class: type[Upload] = Upload
    """The class that sends a file; the lying sender of the demonstration has its own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._folders = {name: services.home / name for name in ("spool", "blobs")}
        for folder in self._folders.values():
            with disk.errors(f"cannot make {folder}"):
                folder.mkdir(mode=0o700, exist_ok=True)
            check_access(folder)
        self._sessions: dict[str, Session] = {}
        self._tasks = Tasks()
        self.on_ended: Callable[[str], object] = lambda _: None
        """Called with the contact when a file that we sent has ended: another one may be offered now."""
        self.spool = Spool(services, self._folders["spool"])
        self.queue = FileQueue(services, self.spool)
        self.pipes = Pipes(services, self.spool)
        self.arrived = Arrived(services, self._folders["blobs"])
        self.backing_up = BackingUp(services)
        self.unsealing = Unsealing(services, self.arrived)
        self.indexing = Indexing(services, self.arrived)
        self.importing = Importing(services, self._folders["blobs"])
        self._drivers = Drivers(
            services,
            self._folders["blobs"],
            self.spool,
            self.pipes,
            upload_class=self.upload_class,
            download_ended=self.offered,
            upload_ended=self._upload_ended,
        )
        self._offers = Offers(
            services,
            self._folders["blobs"],
            begin=self._begin,
            refuse=lambda row, why: self._refuse(row, self._sessions.get(row.contact_id), why),
            tell=self._tell_waits,
        )
        self.arrived.on_room = self._offers.room_was_made

    async def recover(self) -> None:
        """Put in order what an earlier run left; call it at the start, before any transfer begins."""
        await recover(self._services, self.pipes, self.spool, self._folders["blobs"])

    @property
    def busy(self) -> bool:
        """Whether a file is moving now."""
        return self._offers.waiting or self._drivers.moving or self.unsealing.busy

    def wants(self, contact_id: str) -> bool:
        """Return whether a file of this contact waits to be pulled."""
        return any(
            key[0] == contact_id and not d.paused for key, d in self._drivers.downloads.items()
        )

    async def stop(self) -> None:
        """Suspend every transfer."""
        await self.pipes.stop()
        await self._offers.stop()
        self.importing.stop()
        await self.arrived.stop()
        await self._tasks.stop()
        await self._drivers.stop()

    async def forget(self, contact_id: str, files: Sequence[rows.Transfer]) -> None:
        """End at once all files of a contact that was removed, rows and all; `files` are those that were open."""
        self._offers.forget(contact_id)
        await self._drivers.forget(contact_id, files)

    # -- sessions

    def session_up(self, contact_id: str, session: Session) -> None:
        """Go on with the open transfers of a contact."""
        self._sessions[contact_id] = session
        name = f"resume-transfers-{contact_id}"
        self._tasks.keep(name, lambda: self._resume(contact_id, session), self._services.duties)

    def session_down(self, contact_id: str, session: Session) -> None:
        """Suspend the transfers of a contact, unless a newer session has them."""
        if self._sessions.get(contact_id) is not session:
            return
        del self._sessions[contact_id]
        self._drivers.session_down(contact_id)

    def _download(self, row: rows.Transfer) -> Download:
        """Return the driver that receives a file, with the session of now if there is one.

        The session is looked up here: one that a caller knew before may have ended while the caller awaited something.
        """
        download = self._drivers.download(row)
        self._join(row.contact_id, download)
        return download

    async def _upload(self, row: rows.Transfer) -> Upload:
        """Return the driver that sends a file, likewise. Raises NotFoundError."""
        upload = await self._drivers.upload(row)
        self._join(row.contact_id, upload)
        return upload

    def _join(self, contact_id: str, driver: Download | Upload) -> None:
        session = self._sessions.get(contact_id)
        if session is not None:
            driver.session_up(session)

    async def _resume(self, contact_id: str, session: Session) -> None:
        if self._sessions.get(contact_id) is not session:
            return
        untold = await self._services.store.read(rows.untold, contact_id)
        if untold and self._sessions.get(contact_id) is session:
            for row in untold:
                session.send(wire.Lane.URGENT, cancel_of(row.file_id, row.error or "given up"))
            await self._services.store.write(rows.told, [row.id for row in untold])
        for row in await self._services.store.read(rows.of_contact, contact_id):
            if self._sessions.get(contact_id) is not session:
                return
            if not row.incoming:
                now = await self._services.store.read(rows.find, row.id)
                if now.state in rows.OPEN_STATES:
                    await self._upload(now)
            elif row.state == "active" or (row.contact_id, row.file_id) in self._drivers.downloads:
                self._download(row)
            elif row.state == "paused":
                pause = wire.Pause(file_id=row.file_id, paused=True, reason=BY_RECEIVER)
                session.send(wire.Lane.URGENT, wire.encode(pause))
        self._offers.session_up(contact_id)

    # -- what a session brings

    def offered(self, contact_id: str) -> None:
        """Decide on an offer that came just now, or one that waits for the place of a file that has ended."""
        self._offers.look(contact_id)

    async def on_control(self, contact_id: str, session: Session, message: wire.Inner) -> None:
        """Take a control message about a file."""
        file_id = getattr(message, "file_id", None)
        if file_id is None:
            return
        if isinstance(message, wire.Pause):
            await self._peer_paused(contact_id, message)
        elif isinstance(message, wire.Leaves | wire.Finish):
            await self._to_download(contact_id, session, file_id, message)
        elif isinstance(message, wire.Cancel):
            await self._cancelled(contact_id, file_id, message.reason)
        else:
            await self._to_upload(contact_id, session, file_id, message)

    def on_segments(self, contact_id: str, segments: list[Segment]) -> None:
        """Take chunk data."""
        for file_id, of_file in itertools.groupby(segments, operator.attrgetter("file_id")):
            download = self._drivers.downloads.get((contact_id, file_id))
            if download is not None:
                download.on_segments(of_file)

    async def _to_download(
        self, contact_id: str, session: Session, file_id: bytes, message: wire.Inner
    ) -> None:
        download = self._drivers.downloads.get((contact_id, file_id))
        if download is not None:
            download.on_control(message)
            return
        row = await self._services.store.read(rows.get, contact_id, file_id, incoming=True)
        if row is not None and row.state == "done":
            # The sender asks because our last message was lost.
            session.send(wire.Lane.URGENT, wire.encode(wire.Complete(file_id=file_id)))
        elif row is not None and row.state not in rows.OPEN_STATES:
            session.send(wire.Lane.URGENT, cancel_of(file_id, row.error or "given up"))

    async def _to_upload(
        self, contact_id: str, session: Session, file_id: bytes, message: wire.Inner
    ) -> None:
        upload = self._drivers.uploads.get((contact_id, file_id))
        if upload is None:
            row = await self._services.store.read(rows.get, contact_id, file_id, incoming=False)
            if row is None or row.state not in rows.OPEN_STATES:
                if isinstance(message, wire.Pull):
                    cause = row.error if row is not None and row.state != "done" else None
                    gone = cancel_of(file_id, cause or "the sender has it no more")
                    session.send(wire.Lane.URGENT, gone)
                return
            upload = await self._upload(row)
        # The request may arrive before `_resume` has reached this file.
        self._join(contact_id, upload)
        upload.on_control(message)

    async def _cancelled(self, contact_id: str, file_id: bytes, reason: str) -> None:
        key = (contact_id, file_id)
        for transfer in (self._drivers.downloads.get(key), self._drivers.uploads.get(key)):
            if transfer is not None:
                transfer.on_cancel(reason)
                return
        for incoming in (True, False):
            row = await self._services.store.read(rows.get, contact_id, file_id, incoming=incoming)
            if row is None or row.state not in rows.OPEN_STATES:
                continue
            if incoming:
                await self._set_state(row, "cancelled", reason)
                await self._services.in_thread(self._discard_part, row)
                self._offers.look(contact_id)
            else:
                await self._services.store.write(
                    endings.ended, contact_id, file_id, "refused", reason, peer_knows=True
                )
                await self._gone(row)

    async def _peer_paused(self, contact_id: str, message: wire.Pause) -> None:
        key = (contact_id, message.file_id)
        incoming = key in self._drivers.downloads
        transfer = self._drivers.of(*key, incoming=incoming)
        if transfer is not None:
            transfer.on_pause(message)
        sides = (incoming,) if transfer is not None else (True, False)
        for side in sides:
            row = await self._services.store.read(
                rows.get, contact_id, message.file_id, incoming=side
            )
            reason = message.reason if message.paused else None
            if row is not None and row.state in rows.OPEN_STATES and row.peer_pause != reason:
                await self._services.store.write(rows.set_peer_pause, row.id, reason)
        for side in sides:
            # A driver that began meanwhile had read its row before the change.
            begun = self._drivers.of(*key, incoming=side)
            if begun is not None and begun is not transfer:
                begun.on_pause(message)

    # -- incoming

    async def _begin(self, row: rows.Transfer) -> None:
        """Begin to receive a file for which there is a place and room."""
        if (old := self._drivers.downloads.get((row.contact_id, row.file_id))) is not None:
            await (
                old.ended.wait()
            )  # It turned out longer than what was accepted, and has just asked.
        row = await self._set_state(row, "active", None)
        if row.state != "active":
            return  # It has ended meanwhile.
        self._download(row)

    def _tell_waits(self, row: rows.Transfer, reason: str) -> None:
        session = self._sessions.get(row.contact_id)
        if session is not None:
            pause = wire.Pause(file_id=row.file_id, paused=True, reason=clip_reason(reason))
            session.send(wire.Lane.URGENT, wire.encode(pause))

    async def _refuse(self, row: rows.Transfer, session: Session | None, reason: str) -> None:
        await self._services.store.write(rows.end, row.id, "cancelled", reason, peer_knows=False)
        if session is not None:
            refusal = wire.Refuse(file_id=row.file_id, reason=reason)
            session.send(wire.Lane.URGENT, wire.encode(refusal))
        await self._services.in_thread(self._discard_part, row)

    def _discard_part(self, row: rows.Transfer) -> None:
        blobs.discard(self._folders["blobs"], row)

    async def _set_state(self, row: rows.Transfer, state: str, error: str | None) -> rows.Transfer:
        return await self._services.store.write(rows.set_state, row.id, state, error)

    # -- outgoing

    def _upload_ended(self, contact_id: str) -> None:
        self.on_ended(contact_id)

    async def cancel_outgoing(self, contact_id: str, file_id: bytes, reason: str) -> None:
        """Stop a file of ours that was given up. In the store it ended together with its outbox entry."""
        upload = self._drivers.uploads.get((contact_id, file_id))
        if upload is not None:
            upload.cancel(reason)
            return
        session = self._sessions.get(contact_id)
        if session is not None:
            session.send(wire.Lane.URGENT, cancel_of(file_id, reason))
        row = await self._services.store.read(rows.get, contact_id, file_id, incoming=False)
        if row is not None:
            await self._gone(row)

    async def _gone(self, row: rows.Transfer) -> None:
        """Clean up after a file of ours that ended while it had no driver."""
        await self.spool.tidy_after([row])
        self.on_ended(row.contact_id)

    async def fail_outgoing(self, contact_id: str, file_id: bytes, cause: str) -> None:
        """End a file that we cannot send any more, and tell the receiver why."""
        upload = await self._open_upload(contact_id, file_id)
        if upload is not None:
            upload.fail(cause)
            await upload.ended.wait()

    async def _open_upload(self, contact_id: str, file_id: bytes) -> Upload | None:
        """Return the driver that sends a file, unless the file has ended."""
        row = await self._services.store.read(rows.get, contact_id, file_id, incoming=False)
        if row is None or row.state not in rows.OPEN_STATES:
            return None
        return await self._upload(row)

    # -- the user

    async def find(self, prefix: str) -> rows.Transfer:
        """Return a transfer by its id, or by that of the message that sends it.

        Raises NotFoundError, AmbiguousError.
        """
        store = self._services.store
        try:
            return await store.read(rows.find, prefix)
        except NotFoundError:
            with suppress(NotFoundError):
                entry = await store.read(outbox.find, prefix)
                if entry.file_id is not None:
                    found = await store.read(
                        rows.get, entry.contact_id, entry.file_id, incoming=False
                    )
                    if found is not None:
                        return found
            raise

    async def accept(self, prefix: str) -> rows.Transfer:
        """Accept a file that was asked about. Raises NotFoundError, UsageError."""
        row = await self.find(prefix)
        require_asking(row)
        # This is recorded first: if there is no room now, the file waits and the user is not asked again.
        await self._services.store.write(rows.let_come, row.id, limits.MAX_FILE_BYTES)
        if (old := self._drivers.downloads.get((row.contact_id, row.file_id))) is not None:
            await old.ended.wait()
        row = await self._services.store.read(rows.find, row.id)
        require_asking(row)
        if not await self._offers.begin(row, limits.MAX_FILE_BYTES):
            self._offers.look(row.contact_id)
        return await self._services.store.read(rows.find, row.id)

    async def reject(self, prefix: str) -> rows.Transfer:
        """Refuse a file, even one that is being received. Raises NotFoundError, UsageError."""
        row = await self.find(prefix)
        require_open(row)
        if not row.incoming:
            raise UsageError(
                f"transfer {row.id} is going out: it is not yours to reject",
                hint="take it back with: peerpost queue cancel ID (see: peerpost queue list)",
            )
        if (download := self._drivers.downloads.get((row.contact_id, row.file_id))) is not None:
            await download.cancel(REJECTED)
            row = await self._services.store.read(rows.find, row.id)
        if row.state in rows.OPEN_STATES:
            await self._refuse(row, self._sessions.get(row.contact_id), REJECTED)
        return await self._services.store.read(rows.find, row.id)

    async def pause(self, prefix: str) -> rows.Transfer:
        """Stop a transfer until `resume`, also over restarts. Raises NotFoundError, UsageError."""
        row = await self.find(prefix)
        require_open(row)
        if row.incoming and row.state in ("offered", "asking"):
            raise UsageError(
                f"transfer {row.id} has not begun: it waits for you to accept it",
                hint=f"peerpost transfers accept {row.id}, or reject",
            )
        require_open(await self._set_state(row, "paused", None))
        key = (row.contact_id, row.file_id)
        if row.incoming:
            if key in self._drivers.downloads:
                self._drivers.downloads[key].pause(BY_RECEIVER)
        else:
            (await self._upload(row)).pause(BY_SENDER)
        return await self._services.store.read(rows.find, row.id)

    async def resume(self, prefix: str) -> rows.Transfer:
        """Go on with a transfer that was paused here. Raises NotFoundError, UsageError."""
        row = await self.find(prefix)
        require_open(row)
        if row.state != "paused":
            raise UsageError(
                f"transfer {row.id} is not paused here",
                hint=None if row.peer_pause is None else "only your contact can resume it",
            )
        if row.incoming:
            row = await self._set_state(row, "active", None)
            self._download(row).resume()
        else:
            upload = await self._upload(row)
            row = await self._set_state(row, "active" if upload.asked_for else "offered", None)
            upload.resume()
        return row

    def driven(
        self, contact_id: str, file_id: bytes | None, *, incoming: bool
    ) -> Download | Upload | None:
        """Return the driver of a file, if it has one now."""
        return self._drivers.of(contact_id, file_id, incoming=incoming)

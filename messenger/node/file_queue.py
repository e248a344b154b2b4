"""Queue a file: its bytes made safe first, then its offer and its transfer in one transaction."""

from __future__ import annotations

import io
import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from peerpost.errors import PeerpostError
from peerpost.store import contents, outbox
from peerpost.store import transfers as rows
from peerpost.store.contents import Content
from peerpost.store.reference import Reference, describe
from peerpost.store.sealed import End
from peerpost.wire import inner as wire
from peerpost.wire import limits

from .clock import now_ms

if TYPE_CHECKING:
    from .services import Services
    from .spool import Spool

__all__ = ["FileQueue"]


class FileQueue:
    """Takes files to send."""

    def __init__(self, services: Services, spool: Spool) -> None:
        self._services = services
        self._spool = spool

    async def put(
        self,
        contact_id: str,
        fd: int,
        *,
        name: str,
        path_hint: str | None,
        lane: wire.Lane,
        expires_ms: int | None,
    ) -> outbox.Entry:
        """Queue what an open file, pipe or socket gives.

        A large file that `path_hint` leads to is sent by reference: read while it is pulled. All else is
        sealed into the spool before this returns, unless the same bytes lie there already. Raises
        NoInputError, StoreFullError, StorageError.
        """
        reference = await self._services.in_thread(self._reference, fd, path_hint)
        if reference is not None:
            source = json.dumps(asdict(reference))
            return await self._queue(
                contact_id, name, lane, expires_ms, size=reference.size, source=source
            )
        content = await self._spool.recognise(fd)
        if content is not None:
            with suppress(_GoneError):
                return await self._queue(
                    contact_id, name, lane, expires_ms, size=content.size, content=content
                )
        return await self._put_spooled(contact_id, fd, name, lane, expires_ms, as_text=False)

    async def put_text(
        self, contact_id: str, data: bytes, *, lane: wire.Lane, expires_ms: int | None
    ) -> outbox.Entry:
        """Queue a text that is too long for one message."""
        return await self._put_spooled(
            contact_id, io.BytesIO(data), "", lane, expires_ms, as_text=True
        )

    def _reference(self, fd: int, path_hint: str | None) -> Reference | None:
        """Return a reference where the file is large and the path surely leads to it."""
        status = os.fstat(fd)
        if path_hint is None or not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size <= self._services.config.storage.spool_below:
            return None
        with suppress(OSError):
            there = Path(path_hint).stat()
            if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                return describe(fd, path_hint)
        return None

    async def _put_spooled(
        self,
        contact_id: str,
        source: int | io.BytesIO,
        name: str,
        lane: wire.Lane,
        expires_ms: int | None,
        *,
        as_text: bool,
    ) -> outbox.Entry:
        file_id, key = secrets.token_bytes(16), secrets.token_bytes(32)
        content, end = await self._spool.put(source, file_id=file_id, key=key)
        try:
            entry = await self._queue(
                contact_id, name, lane, expires_ms,
                size=end.size, end=end, as_text=as_text, file_id=file_id, key=key, content=content,
            )  # fmt: skip
        except PeerpostError:
            self._spool.remove(file_id)
            raise
        # The same bytes may have been there already: then this copy has no row.
        await self._spool.tidy({file_id})
        return entry

    async def _queue(
        self,
        contact_id: str,
        name: str,
        lane: wire.Lane,
        expires_ms: int | None,
        *,
        size: int,
        end: End | None = None,
        source: str | None = None,
        as_text: bool = False,
        file_id: bytes | None = None,
        key: bytes | None = None,
        content: Content | None = None,
    ) -> outbox.Entry:
        at_ms = now_ms()
        offer = wire.Offer(
            file_id=file_id or secrets.token_bytes(16),
            key=key or secrets.token_bytes(32),
            chunk_log2=limits.CHUNK_LOG2,
            size=size,
            name=_clip(name),
            as_text=as_text,
        )
        finish = None
        if end is not None:
            finish = wire.Finish(
                file_id=offer.file_id, size=end.size, count=end.count, root=end.root
            )

        def make_inner(outbox_id: bytes, seq: int, prev: bytes) -> bytes:
            return wire.encode(
                wire.Message(
                    kind=wire.Kind.OFFER,
                    outbox_id=outbox_id,
                    lane=lane,
                    seq=seq,
                    prev=prev,
                    sent_at_ms=at_ms,
                    body=wire.encode_offer(offer),
                )
            )

        def work(db: apsw.Connection) -> outbox.Entry:
            rows.add_outgoing(
                db,
                contact_id=contact_id,
                file_id=offer.file_id,
                key=offer.key,
                chunk_log2=offer.chunk_log2,
                name=offer.name,
                as_text=as_text,
                size=size,
                finish=finish,
                source=source,
                now_ms=at_ms,
                content_id=None if content is None else _kept(db, content, offer.file_id),
            )
            return outbox.enqueue(
                db,
                contact_id=contact_id,
                lane=lane,
                kind="text" if as_text else "file",
                make_inner=make_inner,
                size=size,
                now_ms=at_ms,
                name=offer.name or None,
                file_id=offer.file_id,
                expires_ms=expires_ms,
            )

        return await self._services.store.write(work)


class _GoneError(Exception):
    """The content is not in the spool any more."""


def _kept(db: apsw.Connection, content: Content, file_id: bytes) -> bytes:
    """Return the id of the content to send: what was spooled for this file, or the same bytes."""
    if content.id == file_id:
        return contents.add(db, content).id
    if contents.get(db, content.id) is None:
        raise _GoneError
    return content.id


def _clip(name: str) -> str:
    """Return a name that an offer can carry; the receiver makes it safe in any case."""
    data = Path(name).name.encode(errors="replace")
    return data[: limits.NAME_BYTES].decode(errors="ignore")

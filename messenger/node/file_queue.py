"""Queue a file: its bytes made safe first, then its offer and its transfer in one transaction."""

from __future__ import annotations

import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from peerpost.store import outbox
from peerpost.store import transfers as rows
from peerpost.store.chunks import Sealer
from peerpost.store.reference import Reference, describe
from peerpost.store.sealed import End, SealedFile
from peerpost.store.spool import spool
from peerpost.wire import inner as wire
from peerpost.wire import limits

from .clock import now_ms

if TYPE_CHECKING:
    from .services import Services

__all__ = ["FileQueue"]


class FileQueue:
    """Takes files to send."""

    def __init__(self, services: Services, folder: Path) -> None:
        self._services = services
        self._folder = folder

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
        sealed into the spool before this returns. Raises NoInputError, StoreFullError, StorageError.
        """
        reference = await self._services.in_thread(self._reference, fd, path_hint)
        if reference is not None:
            source = json.dumps(asdict(reference))
            return await self._queue(
                contact_id, name, lane, expires_ms, size=reference.size, source=source
            )
        return await self._spool(
            contact_id, lambda sealed: spool(fd, sealed), name, lane, expires_ms, as_text=False
        )

    async def put_text(
        self, contact_id: str, data: bytes, *, lane: wire.Lane, expires_ms: int | None
    ) -> outbox.Entry:
        """Queue a text that is too long for one message."""
        return await self._spool(
            contact_id,
            lambda sealed: _spool_bytes(data, sealed),
            "",
            lane,
            expires_ms,
            as_text=True,
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

    async def _spool(
        self,
        contact_id: str,
        fill: Callable[[SealedFile], End],
        name: str,
        lane: wire.Lane,
        expires_ms: int | None,
        *,
        as_text: bool,
    ) -> outbox.Entry:
        file_id, key = secrets.token_bytes(16), secrets.token_bytes(32)
        path = self._folder / f"{file_id.hex()}.sealed"

        def run() -> End:
            sealer = Sealer(file_id=file_id, key=key, chunk_log2=limits.CHUNK_LOG2)
            with SealedFile.create(path, sealer) as sealed:
                return fill(sealed)

        try:
            end = await self._services.in_thread(run)
            return await self._queue(
                contact_id, name, lane, expires_ms,
                size=end.size, end=end, as_text=as_text, file_id=file_id, key=key,
            )  # fmt: skip
        except BaseException:
            for spooled in (path, path.with_suffix(".leaves")):
                spooled.unlink(missing_ok=True)
            raise

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


def _spool_bytes(data: bytes, sealed: SealedFile) -> End:
    """Seal bytes that are in memory: a text is at most a megabyte, the control socket's bound."""
    with tempfile.TemporaryFile(dir=sealed.path.parent) as file:
        file.write(data)
        file.seek(0)
        return spool(file.fileno(), sealed)


def _clip(name: str) -> str:
    """Return a name that an offer can carry; the receiver makes it safe in any case."""
    data = Path(name).name.encode(errors="replace")
    return data[: limits.NAME_BYTES].decode(errors="ignore")

"""Queue a file: first its bytes are made durable, then its offer and its transfer are stored in one transaction."""

from __future__ import annotations

import functools
import io
import json
import os
import secrets
import stat
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import apsw

from peerpost.client.own_files import identities, require_not_own
from peerpost.errors import NoInputError, PeerpostError
from peerpost.raw_bytes import shown
from peerpost.store.files.folder import Archive, ArchiveStream
from peerpost.store.files.manifest import scan
from peerpost.store.files.names import FOLDER_SUFFIX, clip, safe_name
from peerpost.store.files.reference import Reference, describe
from peerpost.store.files.sealed import End
from peerpost.store.files.spool import Readable
from peerpost.store.tables import contents, outbox
from peerpost.store.tables import transfers as rows
from peerpost.store.tables.contents import Content
from peerpost.wire import inner as wire
from peerpost.wire import limits

from .descriptors import once_there_are_descriptors

if TYPE_CHECKING:
    from peerpost.node.services import Services

    from .pipes import Pipe
    from .spool import Spool

__all__ = ["FileQueue"]


LONG_TEXT_NAME = "text.txt"
"""The name of a text that is sent as a file."""


class _Traits(NamedTuple):
    """The attributes of a file besides its bytes and its name."""

    mode: int | None = None
    mtime_s: int | None = None


_NONE = _Traits()


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
        path_hint: bytes | None,
        lane: wire.Lane,
        expires_ms: int | None,
    ) -> outbox.Entry:
        """Queue the content of an open file, pipe or socket.

        A large file that `path_hint` leads to is sent by reference: it is read while it is pulled. Anything else
        is sealed into the spool before this returns, unless the same bytes are there already. Raises
        NoInputError, StoreFullError, StorageError.
        """

        async def put() -> outbox.Entry:
            return await self._put(contact_id, fd, name, path_hint, lane, expires_ms)

        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return await put()  # What was read of a pipe cannot be read again.
        start = os.lseek(fd, 0, os.SEEK_CUR)
        return await once_there_are_descriptors(
            put, again=functools.partial(os.lseek, fd, start, os.SEEK_SET)
        )

    async def _put(
        self,
        contact_id: str,
        fd: int,
        name: str,
        path_hint: bytes | None,
        lane: wire.Lane,
        expires_ms: int | None,
    ) -> outbox.Entry:
        traits = _traits(os.fstat(fd))
        require_not_own(self._services.home, fd)
        reference = await self._services.with_file(fd, self._reference, path_hint)
        if reference is not None:
            source = json.dumps(asdict(reference))
            return await self._queue(
                contact_id, name, lane, expires_ms,
                size=reference.size, source=source, traits=traits,
            )  # fmt: skip
        content = await self._spool.recognise(fd)
        if content is not None:
            with suppress(_GoneError):
                return await self._queue(
                    contact_id, name, lane, expires_ms,
                    size=content.size, content=content, traits=traits,
                )  # fmt: skip
        return await self._put_spooled(contact_id, fd, name, lane, expires_ms, traits=traits)

    async def put_folder(
        self,
        contact_id: str,
        fd: int,
        *,
        name: str,
        path: bytes,
        lane: wire.Lane,
        expires_ms: int | None,
        copy: bool,
    ) -> tuple[outbox.Entry, list[str]]:
        """Queue an open folder; return also what in it is not sent, each with its reason.

        A small folder, and any with `copy`, is sealed into the spool before this returns. Of another one only the
        list of its contents is; the files are read from `path` while they are pulled. Raises NoInputError,
        BadInputError, StoreFullError, StorageError.
        """
        return await once_there_are_descriptors(
            lambda: self._put_folder(contact_id, fd, name, path, lane, expires_ms, copy=copy)
        )

    async def _put_folder(
        self,
        contact_id: str,
        fd: int,
        name: str,
        path: bytes,
        lane: wire.Lane,
        expires_ms: int | None,
        *,
        copy: bool,
    ) -> tuple[outbox.Entry, list[str]]:
        prefix = clip(safe_name(name), limits.NAME_BYTES - len(FOLDER_SUFFIX))
        require_not_own(self._services.home, fd)
        found = await self._services.with_file(fd, scan, identities(self._services.home))
        archive = await self._services.in_thread(Archive, os.dup(fd), found.manifest, prefix)
        try:
            if copy or archive.size <= self._services.config.storage.spool_below:
                stream = ArchiveStream(archive)
                entry = await self._put_spooled(
                    contact_id, stream, prefix, lane, expires_ms, files=found.files
                )
                return entry, found.skipped
            if not _leads_to(path, fd):
                raise NoInputError(
                    f"the node does not find the folder at {shown(path)}",
                    hint="--spool copies it",
                )
            size = archive.size
        finally:
            archive.close()
        manifest_id, key = secrets.token_bytes(16), secrets.token_bytes(32)
        manifest, _ = await self._spool.put(
            io.BytesIO(found.manifest), file_id=manifest_id, key=key
        )
        source = json.dumps({"folder": path.hex(), "prefix": prefix})
        try:
            entry = await self._queue(
                contact_id, prefix, lane, expires_ms,
                size=size, source=source, content=manifest, files=found.files,
            )  # fmt: skip
        except PeerpostError:
            self._spool.remove(manifest_id)
            raise
        await self._spool.tidy({manifest_id})
        return entry, found.skipped

    async def put_text(
        self, contact_id: str, data: bytes, *, lane: wire.Lane, expires_ms: int | None
    ) -> outbox.Entry:
        """Queue a text that is too long for one message; if it is too long to be shown as a text, it is a file."""
        as_text = len(data) <= limits.MAX_TEXT_BYTES
        name = "" if as_text else LONG_TEXT_NAME
        return await self._put_spooled(
            contact_id, io.BytesIO(data), name, lane, expires_ms, as_text=as_text
        )

    async def put_stream(
        self, contact_id: str, pipe: Pipe, *, name: str, lane: wire.Lane, expires_ms: int | None
    ) -> outbox.Entry:
        """Queue a stream: as a file if it has ended already, else by an offer without a size."""
        if pipe.content is not None and pipe.end is not None:
            return await self._queue_spooled(
                contact_id, pipe.content, pipe.end, name, lane, expires_ms
            )
        return await self._queue(
            contact_id, name, lane, expires_ms,
            size=None, source=rows.STREAM_SOURCE, file_id=pipe.file_id, key=pipe.key,
        )  # fmt: skip

    def _reference(self, fd: int, path_hint: bytes | None) -> Reference | None:
        """Return a reference if the file is large and the path certainly leads to it."""
        status = os.fstat(fd)
        if path_hint is None or not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size <= self._services.config.storage.spool_below:
            return None
        return describe(fd, path_hint) if _leads_to(path_hint, fd) else None

    async def _put_spooled(
        self,
        contact_id: str,
        source: int | Readable,
        name: str,
        lane: wire.Lane,
        expires_ms: int | None,
        *,
        as_text: bool = False,
        files: int | None = None,
        traits: _Traits = _NONE,
    ) -> outbox.Entry:
        file_id, key = secrets.token_bytes(16), secrets.token_bytes(32)
        content, end = await self._spool.put(source, file_id=file_id, key=key)
        return await self._queue_spooled(
            contact_id, content, end, name, lane, expires_ms,
            as_text=as_text, files=files, traits=traits,
        )  # fmt: skip

    async def _queue_spooled(
        self,
        contact_id: str,
        content: Content,
        end: End,
        name: str,
        lane: wire.Lane,
        expires_ms: int | None,
        *,
        as_text: bool = False,
        files: int | None = None,
        traits: _Traits = _NONE,
    ) -> outbox.Entry:
        file_id, key = content.id, content.key
        try:
            entry = await self._queue(
                contact_id, name, lane, expires_ms,
                size=end.size, end=end, as_text=as_text, file_id=file_id, key=key, content=content,
                files=files, traits=traits,
            )  # fmt: skip
        except PeerpostError:
            self._spool.remove(file_id)
            raise
        # If the same bytes were in the spool already, the entry uses those, and no row names this copy: remove it.
        await self._spool.tidy({file_id})
        return entry

    async def _queue(
        self,
        contact_id: str,
        name: str,
        lane: wire.Lane,
        expires_ms: int | None,
        *,
        size: int | None,
        end: End | None = None,
        source: str | None = None,
        as_text: bool = False,
        file_id: bytes | None = None,
        key: bytes | None = None,
        content: Content | None = None,
        files: int | None = None,
        traits: _Traits = _NONE,
    ) -> outbox.Entry:
        at_ms = self._services.clock.now_ms()
        # A content that was spooled just now has the id of the file, or is the manifest of a folder.
        spooled = content is not None and (content.id == file_id or source is not None)
        offer = wire.Offer(
            file_id=file_id or secrets.token_bytes(16),
            key=key or secrets.token_bytes(32),
            chunk_log2=limits.CHUNK_LOG2,
            size=size,
            name=clip(_base(name)) if files is None else name + FOLDER_SUFFIX,
            as_text=as_text,
            mtime_s=traits.mtime_s,
            ext=_ext(files, traits),
        )
        finish = None
        if end is not None:
            finish = wire.Finish(
                file_id=offer.file_id, size=end.size, count=end.count, root=end.root
            )

        def work(db: apsw.Connection) -> outbox.Entry:
            rows.add_outgoing(
                db,
                contact_id=contact_id,
                file_id=offer.file_id,
                key=offer.key,
                chunk_log2=offer.chunk_log2,
                name=name if files is not None else offer.name,
                as_text=as_text,
                size=size,
                finish=finish,
                source=source,
                now_ms=at_ms,
                content_id=None if content is None else _kept(db, content, new=spooled),
                files=files,
            )
            return outbox.enqueue(
                db,
                contact_id=contact_id,
                lane=lane,
                message_kind=wire.Kind.OFFER,
                body=wire.encode_offer(offer),
                kind="text" if as_text else "file",
                size=size,
                now_ms=at_ms,
                name=(name if files is not None else offer.name) or None,
                file_id=offer.file_id,
                expires_ms=expires_ms,
            )

        return await self._services.store.write(work)


def _traits(status: os.stat_result) -> _Traits:
    """Return the attributes of an open file that its offer names; none for a pipe or a socket."""
    if not stat.S_ISREG(status.st_mode):
        return _NONE
    mtime_s = int(status.st_mtime)
    return _Traits(status.st_mode, mtime_s if 0 <= mtime_s <= limits.MAX_TIME_S else None)


def _ext(files: int | None, traits: _Traits) -> dict[str, bytes]:
    ext = {} if files is None else {wire.FILES: files.to_bytes(8, "big")}
    return ext if traits.mode is None else ext | {wire.MODE: wire.mode_of(traits.mode)}


class _GoneError(Exception):
    """The content is no longer in the spool."""


def _kept(db: apsw.Connection, content: Content, *, new: bool) -> bytes:
    """Return the id of the content to send: what was spooled just now, or the same bytes."""
    if new:
        return contents.add(db, content).id
    if contents.get(db, content.id) is None:
        raise _GoneError
    return content.id


def _leads_to(path: bytes, fd: int) -> bool:
    """Return whether a path certainly leads to the open file."""
    with suppress(OSError, ValueError):
        return os.path.samestat(os.stat(path), os.fstat(fd))  # noqa: PTH116 - bytes
    return False


def _base(name: str) -> str:
    """Return the last component of a file's name, in UTF-8. The receiver makes it safe in any case."""
    return Path(name).name.encode(errors="replace").decode()

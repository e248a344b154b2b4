"""The source of one outgoing file: opened when it is first needed, read and sealed on the loop or in threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from peerpost.errors import NoInputError, PeerpostError
from peerpost.store.files.resealed import Piece, ResealedSource
from peerpost.store.files.sealed import End
from peerpost.store.files.spool import SpoolSource
from peerpost.store.tables import transfers as rows

from .open_source import open_source

if TYPE_CHECKING:
    from peerpost.node.services import Services

    from .pipes import Pipe
    from .spool import Spool

__all__ = ["Reading"]


class Reading:
    """What an upload reads from. Each method raises TransientError if trying again may help."""

    def __init__(
        self,
        services: Services,
        spool: Spool,
        row: rows.Transfer,
        pipe: Pipe | None,
        *,
        given_up: Callable[[], bool],
    ) -> None:
        """Prepare to read what the transfer `row` sends; `given_up` returns whether nobody wants it any more."""
        self._services = services
        self._spool = spool
        self._row = row
        self._pipe = pipe
        self._given_up = given_up
        self._source: SpoolSource | ResealedSource | None = None

    async def chunks(self, first: int, count: int) -> Piece:
        """Return sealed chunks and their leaves. Raises SourceChangedError, StorageError."""
        source = await self.opened()
        services = self._services
        if isinstance(source, SpoolSource) or not services.computes_here:
            return await services.in_thread(source.read, first, count)
        piece = await self._read_here(source, first, count)
        if not source.note(piece):
            await services.in_thread(source.keep, piece)
        return piece

    async def _read_here(self, source: ResealedSource, first: int, count: int) -> Piece:
        """Read and seal on the loop, if the chunks are in the page cache: not using a thread saves time."""
        services, size = self._services, 1 << self._row.chunk_log2
        parts = await services.computed(
            lambda part: source.read_cached(first + part.start, part.stop - part.start), count, size
        )
        pieces = [piece for piece in itertools.takewhile(bool, parts) if piece is not None]
        done = sum(len(piece.sealed) for piece in pieces)
        if done < count:
            at = first + done
            plain = await services.in_thread(source.load, at, count - done)
            pieces += await services.computed(
                lambda part: source.seal(
                    at + part.start, plain[part.start * size : part.stop * size]
                ),
                count - done,
                size,
            )
        return Piece.join(pieces)

    async def leaves(self, first: int, count: int) -> bytes:
        """Return leaves. Raises SourceChangedError, StorageError."""
        source = await self.opened()
        return await self._services.in_thread(source.read_leaves, first, count)

    async def end(self) -> End:
        """Return size, count and root if no end is recorded. Raises SourceChangedError, StorageError."""
        source = await self.opened()
        if not isinstance(source, ResealedSource):
            raise PeerpostError("the end of the spooled file is not recorded")
        return await self._services.in_thread(source.find_end)

    async def opened(self) -> SpoolSource | ResealedSource:
        """Return the open source. Raises NoInputError, SourceChangedError, StorageError."""
        if self._source is None:
            source = await open_source(self._services, self._spool, self._row, self._pipe)
            if self._given_up():
                source.close()
                await self._spool.tidy_after([self._row])  # Opening it made its leaves again.
                raise NoInputError("the transfer was given up")
            if self._source is None:
                self._source = source
            else:
                source.close()
        return self._source

    def stream_ended(self, end: End) -> None:
        """Note that the stream that is read has ended."""
        if isinstance(self._source, SpoolSource):
            self._source.ended(end)

    def close(self) -> None:
        """Close the source; the next read opens it again. Call it when no thread uses it."""
        source, self._source = self._source, None
        if source is not None:
            source.close()

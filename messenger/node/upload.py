"""One outgoing file, driven: its machine decides, threads read and seal, the bulk lane carries."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import apsw

from peerpost.errors import NoInputError, PeerpostError, RefusedError, StorageError
from peerpost.protocol import transfer as commands
from peerpost.protocol.sending import Sending
from peerpost.store import endings, outbox
from peerpost.store import transfers as rows
from peerpost.store.resealed import Piece, ResealedSource
from peerpost.store.spool import SpoolSource
from peerpost.wire import inner as wire
from peerpost.wire.segment import Segment

from .clock import now_ms
from .meter import Meter
from .open_source import open_source
from .streams import failed
from .tasks import Tasks

if TYPE_CHECKING:
    from .services import Services
    from .session import Session
    from .spool import Spool
    from .streams import Stream

__all__ = ["Upload"]

log = logging.getLogger(__name__)

RETRY_S = (1.0, 30.0)
"""What failed for now is tried again after so long, at first and at most."""


class Upload:
    """The driver of one `Sending` (peerpost.protocol.transfer says how to drive one)."""

    def __init__(
        self, services: Services, row: rows.Transfer, spool: Spool, stream: Stream | None = None
    ) -> None:
        self._services = services
        self._row = row
        self._spool = spool
        self._machine = Sending(
            file_id=row.file_id,
            chunk_log2=row.chunk_log2,
            size=row.size,
            finish=row.finish,
            available=None if stream is None else stream.available,
        )
        self._stream = stream
        if stream is not None:
            stream.on_change, stream.on_failure = self._grown, self.fail
        self.ended = asyncio.Event()
        self._clearing: asyncio.Task[None] | None = None
        if row.state == "paused":
            self._machine.pause(row.error or "paused by the sender")
        self._had_bytes: int | None = None
        """What the receiver said last that it has: what leaves here may lie in buffers for long, or be lost."""
        self._meter = Meter(kept=2)
        self._source: SpoolSource | ResealedSource | None = None
        self._session: Session | None = None
        self._wake = asyncio.Event()
        self._leaving: asyncio.Queue[tuple[Session, commands.SendChunk | bytes]] = asyncio.Queue()
        self._tasks = Tasks(self._broken)
        self._reads = Tasks(self._broken)
        """What uses the source in a thread: it stays open until then."""
        self._stopping = False
        self._on_end: Callable[[], object] = lambda: None

    @property
    def row(self) -> rows.Transfer:
        """The file as it was when this began, or has been changed here."""
        return self._row

    @property
    def moving(self) -> bool:
        """Whether there is a session to send over and something left to send."""
        return self._session is not None and not self._machine.ended

    @property
    def asked_for(self) -> bool:
        """Whether the receiver has wanted it."""
        return self._machine.accepted or self._row.state == "active"

    @property
    def size(self) -> int | None:
        """Bytes of the file, where its end is known."""
        finish = self._machine.finish
        return self._row.size if finish is None else finish.size

    @property
    def progress_bytes(self) -> int | None:
        """What the receiver has, by its last request: at most a window less than now; None before it has asked."""
        return self._had_bytes

    @property
    def rate_bytes_s(self) -> float:
        """How fast the receiver has more of it."""
        return self._meter.rate(self._had_bytes or 0)

    @property
    def peer_pause(self) -> str | None:
        """Why the receiver has paused, while it has."""
        return self._machine.peer_pause

    def start(self, on_end: Callable[[], object]) -> None:
        """Begin; `on_end` is called when nothing more will come of it."""
        self._on_end = on_end
        self._tasks.spawn(self._run(), name=f"upload-{self._row.id}")
        self._tasks.spawn(self._leave(), name=f"leave-{self._row.id}")

    async def close(self) -> None:
        """Stop; the receiver asks again."""
        await self._tasks.stop()
        await self._reads.join()
        if self._source is not None:
            self._source.close()
        self.ended.set()

    # -- events

    def session_up(self, session: Session) -> None:
        """Answer requests of this session."""
        if self._session is not session:
            self._session = session
            self._machine.session_up()
            self._wake.set()

    def session_down(self) -> None:
        """Wait for the next session."""
        self._session = None
        self._meter.reset()
        self._machine.session_down()
        self._wake.set()

    def on_control(self, message: wire.Inner) -> None:
        """Take what the receiver says of the file."""
        match message:
            case wire.Accept():
                self._machine.on_accept()
            case wire.Refuse():
                self._machine.on_refuse(message.reason)
            case wire.Pull():
                self._note_had(message)
                self._machine.on_pull(message, time.monotonic())
            case wire.Complete():
                self._machine.on_complete()
        if self._machine.accepted and self._row.state == "offered":
            self._row = dataclasses.replace(self._row, state="active")
            self._tasks.spawn(self._activate(), name="activate")
        self._wake.set()

    def _note_had(self, pull: wire.Pull) -> None:
        had = wire.had_bytes(pull)
        if had is not None:
            self._had_bytes = had if self.size is None else min(had, self.size)
            self._meter.note(self._had_bytes)
        if self._row.peer_pause is not None:
            self._row = dataclasses.replace(self._row, peer_pause=None)
            self._tasks.spawn(
                self._services.store.write(rows.set_peer_pause, self._row.id, None), name="goes-on"
            )

    async def _activate(self) -> None:
        await self._services.store.write_lazily(rows.activate, self._row.id)
        self._services.events.publish("transfer", self._row.id, "active")

    def on_pause(self, message: wire.Pause) -> None:
        """Take that the receiver has paused, or goes on."""
        self._machine.on_pause(message)
        self._row = dataclasses.replace(self._row, peer_pause=self._machine.peer_pause)

    def pause(self, reason: str) -> None:
        """Send no more until `resume`, and tell the receiver."""
        self._machine.pause(reason)
        while not self._leaving.empty():
            self._leaving.get_nowait()
        self._meter.reset()
        self._wake.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._machine.resume()
        self._wake.set()

    def _grown(self) -> None:
        """Take that the stream that this is has grown, or has come to its end."""
        stream = self._stream
        if stream is None or self._machine.ended:
            return
        if stream.finish is None:
            self._machine.grown(stream.available)
        else:
            if isinstance(self._source, SpoolSource) and stream.end is not None:
                self._source.ended(stream.end)
            self._machine.finished(stream.finish)
        self._wake.set()

    def fail(self, cause: str) -> None:
        """Give the file up because it cannot be read any more, and tell the receiver."""
        self._machine.source_failed(cause)
        self._wake.set()

    def on_cancel(self, reason: str) -> None:
        """Take that the receiver gave the file up."""
        self._machine.on_cancel(reason)
        self._wake.set()

    def cancel(self, reason: str) -> None:
        """Carry out that the file was given up, which is recorded, and tell the receiver."""
        if self._machine.ended:
            return
        self._machine.cancel(reason)
        clear_up = self._clear_up("cancelled", reason, None)
        self._clearing = self._tasks.spawn(clear_up, name="clear-up")
        self._wake.set()

    # -- the machine

    async def _run(self) -> None:
        machine = self._machine
        while True:
            for command in machine.take():
                await self._carry_out(command)
            if machine.ended:
                break
            await self._wake.wait()
            self._wake.clear()
        if self._clearing is not None:
            await asyncio.wait([self._clearing])
        self._on_end()
        self.ended.set()

    async def _carry_out(self, command: commands.SendCommand) -> None:
        match command:
            case commands.SendControl():
                self._send(command)
            case commands.SendChunk():
                if self._session is not None:
                    self._leaving.put_nowait((self._session, command))
            case commands.ReadChunks():
                self._reads.spawn(self._read_chunks(command), name="read-chunks")
            case commands.ReadLeaves():
                self._reads.spawn(self._read_leaves(command), name="read-leaves")
            case commands.FindEnd():
                self._reads.spawn(self._find_end(), name="find-end")
            case commands.Delivered():
                await self._delivered()
            case commands.Refused():
                await self._end("cancelled", command.cause, peer_knows=True)
            case commands.Cancelled():
                await self._end("cancelled", command.cause, peer_knows=True)
            case commands.Failed():
                await self._end("failed", command.cause, failed(command.cause), peer_knows=False)

    def _send(self, command: commands.SendControl) -> None:
        if self._session is None:
            return
        inner = wire.encode(command.message)
        if command.lane is wire.Lane.BULK:
            # In line with the chunks: their leaves must not overtake them, nor the end.
            self._leaving.put_nowait((self._session, inner))
        else:
            self._session.send(command.lane, inner)

    async def _leave(self) -> None:
        """Put what is to leave on the bulk lane, at the lane's pace."""
        while True:
            session, item = await self._leaving.get()
            if session is not self._session:
                continue
            if isinstance(item, bytes):
                session.send(wire.Lane.BULK, item)
                continue
            await session.send_chunk(self.frames(item, session.segment_bytes))
            if session is self._session:
                self._machine.chunk_sent(item.index)
                if self._machine.wants_more:
                    self._wake.set()

    def frames(
        self, chunk: commands.SendChunk, segment_bytes: int
    ) -> list[tuple[bytes, memoryview]]:
        """Return the frames that carry a chunk."""
        return Segment.frames(self._row.file_id, chunk.index, chunk.sealed, segment_bytes)

    # -- the source

    async def _read_chunks(self, command: commands.ReadChunks) -> None:
        try:
            piece = await self._read(command.first, command.count)
        except PeerpostError as error:
            self._machine.source_failed(error.message)
        else:
            self._machine.chunks_read(piece.first, piece.leaves, piece.sealed)
        self._wake.set()

    async def _read(self, first: int, count: int) -> Piece:
        source = await self._opened()
        services = self._services
        if isinstance(source, SpoolSource) or not services.computes_here:
            return await services.in_thread(source.read, first, count)
        piece = await self._read_here(source, first, count)
        if not source.note(piece):
            await services.in_thread(source.keep, piece)
        return piece

    async def _read_here(self, source: ResealedSource, first: int, count: int) -> Piece:
        """Read and seal on the loop, if the system has the chunks in memory: every thread less is time won."""
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

    async def _read_leaves(self, command: commands.ReadLeaves) -> None:
        try:
            source = await self._opened()
            leaves = await self._services.in_thread(
                source.read_leaves, command.first, command.count
            )
        except PeerpostError as error:
            self._machine.source_failed(error.message)
        else:
            self._machine.leaves_read(command.first, leaves)
        self._wake.set()

    async def _find_end(self) -> None:
        try:
            source = await self._opened()
            if not isinstance(source, ResealedSource):
                raise PeerpostError("the end of the spooled file is not recorded")
            end = await self._services.in_thread(source.find_end)
        except PeerpostError as error:
            self._machine.source_failed(error.message)
        else:
            finish = wire.Finish(
                file_id=self._row.file_id, size=end.size, count=end.count, root=end.root
            )
            await self._services.store.write(rows.finish, self._row.id, finish)
            self._machine.finished(finish)
        self._wake.set()

    async def _opened(self) -> SpoolSource | ResealedSource:
        if self._source is None:
            source = await open_source(self._services, self._spool, self._row, self._stream)
            if self._machine.ended:
                source.close()
                await self._spool.tidy_after([self._row])  # To open it has made its leaves anew.
                raise NoInputError("the transfer was given up")
            if self._source is None:
                self._source = source
            else:
                source.close()
        return self._source

    # -- the end

    async def _delivered(self) -> None:
        row = self._row
        entry = await self._recorded(
            lambda db: endings.delivered(db, row.contact_id, row.file_id, now_ms())
        )
        await self._clear_up("done", None, entry)

    async def _end(
        self, state: str, cause: str, said: str | None = None, *, peer_knows: bool
    ) -> None:
        """End it in the store, and only then clear up. `said` is what the entry says, where that is another thing."""
        row = self._row
        entry = await self._recorded(
            lambda db: endings.ended(
                db, row.contact_id, row.file_id, "refused", said or cause,
                transfer=(state, cause), peer_knows=peer_knows,
            )
        )  # fmt: skip
        await self._clear_up(state, cause, entry)

    async def _recorded(
        self, work: Callable[[apsw.Connection], outbox.Entry | None]
    ) -> outbox.Entry | None:
        """Write how it ended, as soon as the disk lets it: nobody says it again."""
        wait_s, longest_s = RETRY_S
        while True:
            try:
                return await self._services.store.write(work)
            except StorageError as error:
                log.warning("%s: not recorded: %s", self._row.id, error.message)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, longest_s)

    async def _clear_up(self, state: str, cause: str | None, entry: outbox.Entry | None) -> None:
        row = self._row
        self._services.events.publish("transfer", row.id, state)
        if entry is not None:
            self._services.events.publish("entry", entry.id, entry.state)
        if self._stream is not None and not self._stream.settled:
            self._stream.stop(RefusedError(f"it was {state}: {cause}"))
        await self._reads.join()
        if self._source is not None:
            self._source.close()
        await self._spool.tidy_after([row])

    def _broken(self, error: BaseException) -> None:
        """Stop after an error of ours: another one answers when the receiver asks again."""
        log.error("%s stopped: %r", self._row.id, error)
        if not self._stopping:
            self._stopping = True
            self._tasks.spawn(self._stop(), name="stop")

    async def _stop(self) -> None:
        if self._clearing is not None:
            await asyncio.wait([self._clearing])
        await self.close()
        self._on_end()

"""One outgoing file, driven: its machine decides, threads read and seal, the bulk lane carries."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import logging
import random  # noqa: TID251 - full jitter needs no secrecy
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import apsw

from peerpost.errors import PeerpostError, RefusedError, TransientError
from peerpost.node.causes import cause_of
from peerpost.node.machine_trace import traced
from peerpost.protocol import transfer as commands
from peerpost.protocol.backoff import Backoff
from peerpost.protocol.sending import Sending
from peerpost.protocol.waiting import Trouble
from peerpost.store.tables import endings
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire
from peerpost.wire.segment import Segment

from .driver import Driver
from .meter import Meter
from .pipes import failed
from .reading import Reading

if TYPE_CHECKING:
    from peerpost.node.services import Services
    from peerpost.node.session.session import Session

    from .pipes import Pipe
    from .spool import Spool

__all__ = ["TOLD", "Upload"]

log = logging.getLogger(__name__)

TOLD = "the sender cannot read it for now"
"""What the receiver is told while the source cannot be read. The real cause may contain private paths."""


class Upload(Driver[Sending, commands.SendCommand]):
    """Carries out what a `Sending` decides."""

    _what = "upload"

    def __init__(
        self, services: Services, row: rows.Transfer, spool: Spool, pipe: Pipe | None = None
    ) -> None:
        machine = Sending(
            file_id=row.file_id,
            chunk_log2=row.chunk_log2,
            size=row.size,
            finish=row.finish,
            available=None if pipe is None else pipe.available,
        )
        machine.peer_pause = row.peer_pause
        super().__init__(
            row,
            traced("sending", row.id, machine),
            duties=services.duties,
            clock=services.clock,
            meter=Meter(kept=2, clock=services.clock),
        )
        self._services = services
        self._spool = spool
        self._pipe = pipe
        if pipe is not None:
            pipe.on_change, pipe.on_failure = self._grown, self.fail
        self._clearing: asyncio.Task[None] | None = None
        if row.state == "paused":
            self._machine.pause(row.error or "paused by the sender")
        self._had_bytes: int | None = None
        """How much the receiver last said it has. What we have sent says less: it may sit in buffers, or be lost."""
        self._reading = Reading(services, spool, row, pipe, given_up=lambda: self._machine.ended)
        self._backoff = Backoff()
        self._leaving: asyncio.Queue[tuple[Session, commands.SendChunk | bytes]] = asyncio.Queue()

    @property
    def moving(self) -> bool:
        """Whether there is a session to send over and something left to send."""
        return self._session is not None and not self._machine.ended

    @property
    def asked_for(self) -> bool:
        """Whether the receiver has wanted it."""
        return self._machine.accepted or self._row.state == "active"

    @property
    def progress_bytes(self) -> int | None:
        """What the receiver has, by its last request (at most a window less than now); None before its first one."""
        return self._had_bytes

    @property
    def trouble(self) -> Trouble | None:
        """Why it is suspended after a failure of ours, until the next try."""
        return self._machine.trouble

    def start(self, on_end: Callable[[], object]) -> None:
        """Begin; `on_end` is called when the transfer has ended."""
        super().start(on_end)
        self._keep("leave", self._leave)

    # -- events

    def _begin_session(self) -> None:
        self._machine.session_up()

    def on_control(self, message: wire.Inner) -> None:
        """Take what the receiver says of the file."""
        match message:
            case wire.Accept():
                self._machine.on_accept()
            case wire.Refuse():
                self._machine.on_refuse(message.reason)
            case wire.Pull():
                self._note_had(message)
                self._machine.on_pull(message, self._now_s())
            case wire.Complete():
                self._machine.on_complete()
        if self._machine.accepted and self._row.state == "offered":
            self._row = dataclasses.replace(self._row, state="active")
            self._keep("note-active", self._activate)
        self._wake.set()

    def _note_had(self, pull: wire.Pull) -> None:
        had = wire.had_bytes(pull)
        if had is not None:
            self._had_bytes = had if self.size is None else min(had, self.size)
            self._meter.note(self._had_bytes)
        if self._row.peer_pause is not None:
            self._row = dataclasses.replace(self._row, peer_pause=None)
            self._keep("note-pause", self._note_pause)

    async def _note_pause(self) -> None:
        await self._services.store.write(rows.set_peer_pause, self._row.id, self._row.peer_pause)

    async def _activate(self) -> None:
        await self._services.store.write_lazily(rows.activate, self._row.id)

    def on_pause(self, message: wire.Pause) -> None:
        """Note that the receiver has paused, or goes on."""
        self._machine.on_pause(message)
        self._row = dataclasses.replace(self._row, peer_pause=self._machine.peer_pause)

    def pause(self, reason: str) -> None:
        """Send no more until `resume`, and tell the receiver."""
        self._machine.pause(reason)
        self._rest()

    def _rest(self) -> None:
        while not self._leaving.empty():
            self._leaving.get_nowait()
        self._meter.reset()
        self._wake.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._machine.resume()
        self._wake.set()

    def retry_now(self) -> None:
        """Try again now after a failure of ours has suspended the transfer."""
        self._machine.hurry()
        self._wake.set()

    def _grown(self) -> None:
        """Note that the stream being sent has grown or ended."""
        pipe = self._pipe
        if pipe is None or self._machine.ended:
            return
        if pipe.finish is None:
            self._machine.grown(pipe.available)
        else:
            if pipe.end is not None:
                self._reading.stream_ended(pipe.end)
            self._machine.finished(pipe.finish)
        self._wake.set()

    def fail(self, cause: str) -> None:
        """Give up the file because it cannot be read any more, and tell the receiver."""
        self._machine.source_failed(cause)
        self._wake.set()

    def on_cancel(self, reason: str) -> None:
        """Note that the receiver gave up the file."""
        self._machine.on_cancel(reason)
        self._wake.set()

    def cancel(self, reason: str) -> None:
        """Stop, because the file was given up (which is recorded already), and tell the receiver."""
        if self._machine.ended:
            return
        self._machine.cancel(reason)
        self._clearing = self._keep("clear-up", lambda: self._clear_up("cancelled", reason))
        self._wake.set()

    def _failed(self, error: BaseException) -> None:
        """Send nothing after a failure of ours, say why, and try again with backoff."""
        if self._machine.ended:
            log.warning("%s: %s", self._row.id, cause_of(error))
            return
        trouble = self._machine.trouble
        if trouble is None:
            wait_s = self._backoff.next_wait_s(random.random(), queued=True)  # noqa: S311
            cause = cause_of(error)
            log.warning("%s is suspended, again in %.1f s: %s", self._row.id, wait_s, cause)
            trouble = Trouble(cause=cause, told=TOLD, next_try_s=self._now_s() + wait_s)
        self._machine.source_waits(trouble)
        self._rest()

    # -- the commands

    async def _carry_out(self, command: commands.SendCommand) -> None:
        match command:
            case commands.SendControl():
                self._send(command)
            case commands.SendChunk():
                if self._session is not None:
                    self._leaving.put_nowait((self._session, command))
            case commands.ReadChunks():
                self._read("chunks", self._read_chunks(command))
            case commands.ReadLeaves():
                self._read("leaves", self._read_leaves(command))
            case commands.FindEnd():
                self._read("end", self._find_end())
            case commands.LetGo():
                self._let_go(command)
            case commands.TryAgain():
                self._machine.try_again()
                self._wake.set()
            case commands.Delivered():
                await self._delivered()
            case commands.Refused():
                await self._end("cancelled", command.cause, peer_knows=True)
            case commands.Cancelled():
                await self._end("cancelled", command.cause, peer_knows=True)
            case commands.Failed():
                await self._end("failed", command.cause, failed(command.cause), peer_knows=False)

    def _send(self, command: commands.SendControl) -> None:
        if command.lane is wire.Lane.BULK and self._session is not None:
            # Queued behind the chunks: neither leaves nor the end may overtake them.
            self._leaving.put_nowait((self._session, wire.encode(command.message)))
        else:
            super()._send(command)

    async def _leave(self) -> None:
        """Put the queued messages and chunks on the bulk lane, at the lane's pace."""
        while True:
            session, item = await self._leaving.get()
            if session is not self._session:
                continue
            try:
                await self._put_on_lane(session, item)
            except Exception as error:
                log.exception("%s cannot leave", self._row.id)
                self._failed(error)  # The receiver asks again for what is lost.

    async def _put_on_lane(self, session: Session, item: commands.SendChunk | bytes) -> None:
        if isinstance(item, bytes):
            session.send(wire.Lane.BULK, item)
            return
        left = functools.partial(self._left, session, item.index)
        await session.send_chunk(self.frames(item, session.segment_bytes), left)

    def _left(self, session: Session, index: int) -> None:
        """Note that a chunk was sent. Requests for it before that are ignored, or it would be sent twice."""
        if session is self._session:
            self._machine.chunk_sent(index)
            if self._machine.wants_more:
                self._wake.set()

    def frames(
        self, chunk: commands.SendChunk, segment_bytes: int
    ) -> list[tuple[bytes, memoryview]]:
        """Return the frames that carry a chunk."""
        return Segment.frames(self._row.file_id, chunk.index, chunk.sealed, segment_bytes)

    # -- the source

    def _read(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        async def read() -> None:
            try:
                await work
            except TransientError as error:
                self._failed(error)
            except PeerpostError as error:
                self._machine.source_failed(error.message)
            self._wake.set()

        self._do(f"read-{what}", read())

    async def _read_chunks(self, command: commands.ReadChunks) -> None:
        piece = await self._reading.chunks(command.first, command.count)
        self._backoff.reset()
        self._machine.chunks_read(piece.first, piece.leaves, piece.sealed)

    async def _read_leaves(self, command: commands.ReadLeaves) -> None:
        leaves = await self._reading.leaves(command.first, command.count)
        self._machine.leaves_read(command.first, leaves)

    async def _find_end(self) -> None:
        end = await self._reading.end()
        finish = wire.Finish(
            file_id=self._row.file_id, size=end.size, count=end.count, root=end.root
        )
        await self._services.store.write(rows.finish, self._row.id, finish)
        self._machine.finished(finish)

    # -- the end

    async def _delivered(self) -> None:
        row, now_ms = self._row, self._services.clock.now_ms
        await self._write_end(
            lambda db: endings.delivered(db, row.contact_id, row.file_id, now_ms())
        )
        self._clearing = self._keep("clear-up", lambda: self._clear_up("done", None))

    async def _end(
        self, state: str, cause: str, said: str | None = None, *, peer_knows: bool
    ) -> None:
        """End it in the store, and only then clean up. `said` is the reason for the outbox entry, if it differs."""
        row = self._row
        await self._write_end(
            lambda db: endings.ended(
                db, row.contact_id, row.file_id, "refused", said or cause,
                transfer=(state, cause), peer_knows=peer_knows,
            )
        )  # fmt: skip
        self._clearing = self._keep("clear-up", lambda: self._clear_up(state, cause))

    async def _write_end(self, work: Callable[[apsw.Connection], object]) -> None:
        await self._recorded(lambda: self._services.store.write(work))

    async def _clear_up(self, state: str, cause: str | None) -> None:
        if self._pipe is not None and not self._pipe.settled:
            self._pipe.stop(RefusedError(f"it was {state}: {cause}"))
        await self._release()
        await self._spool.tidy_after([self._row])

    async def _settle(self) -> None:
        if self._clearing is not None:
            await asyncio.wait([self._clearing])

    def _close_file(self) -> None:
        self._reading.close()

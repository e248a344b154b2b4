"""One outgoing file, driven: its machine decides, threads read and seal, the bulk lane carries."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import random  # noqa: TID251 - full jitter needs no secrecy
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import apsw

from peerpost.errors import PeerpostError, RefusedError, TransientError
from peerpost.node.causes import cause_of
from peerpost.node.machine_trace import traced
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.protocol import transfer as commands
from peerpost.protocol.backoff import Backoff
from peerpost.protocol.sending import Sending
from peerpost.store.tables import endings
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire
from peerpost.wire.segment import Segment

from .meter import Meter
from .pipes import failed
from .reading import Reading

if TYPE_CHECKING:
    from peerpost.node.services import Services
    from peerpost.node.session.session import Session

    from .pipes import Pipe
    from .spool import Spool

__all__ = ["Trouble", "Upload"]

log = logging.getLogger(__name__)

RETRY_S = (1.0, 30.0)
"""The first and the longest wait before something that could not be recorded is tried again."""
TOLD = "the sender cannot read it for now"
"""What the receiver is told while the source cannot be read. The real cause may contain private paths."""


@dataclasses.dataclass(frozen=True, slots=True)
class Trouble:
    """Why nothing is sent for now."""

    cause: str
    next_try_s: float
    """Monotonic time of the next try."""


class Upload:
    """The driver of one `Sending` (peerpost.protocol.transfer says how to drive one)."""

    def __init__(
        self, services: Services, row: rows.Transfer, spool: Spool, pipe: Pipe | None = None
    ) -> None:
        self._services = services
        self._row = row
        self._spool = spool
        machine = Sending(
            file_id=row.file_id,
            chunk_log2=row.chunk_log2,
            size=row.size,
            finish=row.finish,
            available=None if pipe is None else pipe.available,
        )
        self._machine = traced("sending", row.id, machine)
        self._machine.peer_pause = row.peer_pause
        self._pipe = pipe
        if pipe is not None:
            pipe.on_change, pipe.on_failure = self._grown, self.fail
        self.ended = asyncio.Event()
        self._clearing: asyncio.Task[None] | None = None
        self._paused = (row.error or "paused by the sender") if row.state == "paused" else None
        """Why the user has paused it, if so."""
        if self._paused is not None:
            self._machine.pause(self._paused)
        self._had_bytes: int | None = None
        """How much the receiver last said it has. What we have sent says less: it may sit in buffers, or be lost."""
        self._meter = Meter(kept=2, clock=services.clock)
        self._reading = Reading(services, spool, row, pipe, given_up=lambda: self._machine.ended)
        self.trouble: Trouble | None = None
        """Set while it is suspended after a failure of ours, until the next try."""
        self._backoff = Backoff()
        self._hurry = asyncio.Event()
        self._session: Session | None = None
        self._wake = asyncio.Event()
        self._leaving: asyncio.Queue[tuple[Session, commands.SendChunk | bytes]] = asyncio.Queue()
        self._tasks, self._reads = Tasks(), Tasks()
        """Work that uses the source in a thread is among the reads: the source stays open until they have ended."""
        self._fails = EndsOwner(self._suspend)
        self._on_end: Callable[[], object] = lambda: None

    @property
    def row(self) -> rows.Transfer:
        """The row of the file, as it was when this began and with the changes made here."""
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
        """Bytes of the file, if its end is known."""
        finish = self._machine.finish
        return self._row.size if finish is None else finish.size

    @property
    def progress_bytes(self) -> int | None:
        """What the receiver has, by its last request (at most a window less than now); None before its first one."""
        return self._had_bytes

    @property
    def rate_bytes_s(self) -> float:
        """How fast the amount grows that the receiver has."""
        return self._meter.rate(self._had_bytes or 0)

    @property
    def peer_pause(self) -> str | None:
        """Why the receiver has paused, while it has."""
        return self._machine.peer_pause

    def start(self, on_end: Callable[[], object]) -> None:
        """Begin; `on_end` is called when the transfer has ended."""
        self._on_end = on_end
        self._keep("upload", self._run)
        self._keep("leave", self._leave)

    def _keep(self, what: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return self._tasks.keep(f"{what}-{self._row.id}", work, self._services.duties)

    async def close(self) -> None:
        """Stop; the receiver asks again."""
        await self._tasks.stop()
        await self._reads.join()
        self._reading.close()
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
                self._machine.on_pull(message, self._services.clock.monotonic_s())
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
        self._paused = reason
        self._machine.pause(reason)
        self._rest()

    def _rest(self) -> None:
        while not self._leaving.empty():
            self._leaving.get_nowait()
        self._meter.reset()
        self._wake.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = None
        if self.trouble is None:
            self._machine.resume()
        else:
            self._machine.pause(TOLD)
            self.retry_now()
        self._wake.set()

    def retry_now(self) -> None:
        """Try again now after a failure of ours has suspended the transfer."""
        self._hurry.set()

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

    # -- the machine

    async def _run(self) -> None:
        machine = self._machine
        while True:
            for command in machine.take():
                try:
                    await self._carry_out(command)
                except Exception as error:
                    log.exception("%s cannot go on", self._row.id)
                    self._suspend(error)
            if machine.ended:
                break
            await self._wake.wait()
            self._wake.clear()
        if self._clearing is not None:
            await asyncio.wait([self._clearing])
        await self._tasks.stop()
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
                self._read("chunks", self._read_chunks(command))
            case commands.ReadLeaves():
                self._read("leaves", self._read_leaves(command))
            case commands.FindEnd():
                self._read("end", self._find_end())
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
            # Queued behind the chunks: neither leaves nor the end may overtake them.
            self._leaving.put_nowait((self._session, inner))
        else:
            self._session.send(command.lane, inner)

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
                self._suspend(error)  # The receiver asks again for what is lost.

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
                self._suspend(error)
            except PeerpostError as error:
                self._machine.source_failed(error.message)
            self._wake.set()

        self._reads.spawn(read(), name=f"read-{what}-{self._row.id}", on_failure=self._fails)

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

    def _suspend(self, error: BaseException) -> None:
        """Send nothing after a failure of ours, say why, and try again with backoff."""
        self._machine.source_waits(self._paused or TOLD)
        self._rest()
        if self.trouble is not None or self._machine.ended:
            return
        wait_s = self._backoff.next_wait_s(random.random(), queued=True)  # noqa: S311
        log.warning("%s is suspended, again in %.1f s: %s", self._row.id, wait_s, cause_of(error))
        self.trouble = Trouble(cause_of(error), self._services.clock.monotonic_s() + wait_s)
        self._keep("try-again", lambda: self._try_again(wait_s))

    async def _try_again(self, wait_s: float) -> None:
        self._hurry.clear()
        # What was read before may be wrong, and descriptors may be what is lacking: close the source and open it again
        # later.
        await self._reads.join()
        self._reading.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()
        self.trouble = None
        if self._paused is None:
            self._machine.resume()
        self._wake.set()

    # -- the end

    async def _delivered(self) -> None:
        row, now_ms = self._row, self._services.clock.now_ms
        await self._recorded(
            lambda db: endings.delivered(db, row.contact_id, row.file_id, now_ms())
        )
        self._clearing = self._keep("clear-up", lambda: self._clear_up("done", None))

    async def _end(
        self, state: str, cause: str, said: str | None = None, *, peer_knows: bool
    ) -> None:
        """End it in the store, and only then clean up. `said` is the reason for the outbox entry, if it differs."""
        row = self._row
        await self._recorded(
            lambda db: endings.ended(
                db, row.contact_id, row.file_id, "refused", said or cause,
                transfer=(state, cause), peer_knows=peer_knows,
            )
        )  # fmt: skip
        self._clearing = self._keep("clear-up", lambda: self._clear_up(state, cause))

    async def _recorded(self, work: Callable[[apsw.Connection], object]) -> None:
        """Record how it ended, as soon as the disk allows: nobody will tell us again."""
        wait_s, longest_s = RETRY_S
        while True:
            try:
                await self._services.store.write(work)
                return
            except Exception as error:  # noqa: BLE001 - whatever it was, the end must be recorded
                log.warning("%s: not recorded: %s", self._row.id, error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, longest_s)

    async def _clear_up(self, state: str, cause: str | None) -> None:
        row = self._row
        if self._pipe is not None and not self._pipe.settled:
            self._pipe.stop(RefusedError(f"it was {state}: {cause}"))
        await self._reads.join()
        self._reading.close()
        await self._spool.tidy_after([row])

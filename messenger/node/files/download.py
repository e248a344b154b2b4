"""One incoming file, driven: its machine decides, threads check and write, the store remembers."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from peerpost.errors import PeerpostError, ProtocolError, StorageError, StoreFullError
from peerpost.node.machine_trace import traced
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.protocol import transfer as commands
from peerpost.protocol.chunk_window import MAX_WINDOW_BYTES
from peerpost.protocol.receiving import Receiving, State
from peerpost.store import disk
from peerpost.store.files.sealed import End
from peerpost.store.tables import plain
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.segment import Segment

from .alarm import Alarm
from .meter import Meter
from .part import Part
from .room import Room, said

if TYPE_CHECKING:
    from peerpost.node.services import Services
    from peerpost.node.session.session import Session

__all__ = ["Download"]

T = TypeVar("T")

log = logging.getLogger(__name__)


class Download:
    """The driver of one `Receiving` (peerpost.protocol.transfer says how to drive one)."""

    def __init__(self, services: Services, row: rows.Transfer, folder: Path) -> None:
        self._services = services
        self._now_s = services.clock.monotonic_s
        self._row = row
        self._part = Part(folder, row)
        self._room = Room(folder, reserve_bytes=services.config.storage.min_free)
        self._rests: str | None = None
        """Why it waits after an error, in the words that the sender is told."""
        self._unwanted = asyncio.Event()
        """Set once it must be given up."""
        self._session: Session | None = None
        self._machine: Receiving | None = None
        self._wake = asyncio.Event()
        self._tasks, self._writes = Tasks(), Tasks()
        """Work that uses the file in a thread is among the writes: the file stays open until they have ended."""
        self._fails = EndsOwner(self._broken)
        self._in_thread = services.in_thread
        self._on_end: Callable[[], object] = lambda: None
        self._cancel_reason: str | None = None
        self._error: BaseException | None = None
        """An error of ours since the machine began."""
        self._alarm: Alarm | None = None
        self._pause_reason: str | None = None
        self._exceeded = False
        """It is longer than what was accepted: the user is asked, and another Download goes on."""
        self._peer_pause: wire.Pause | None = None
        self.ended = asyncio.Event()
        self._meter = Meter(clock=services.clock)

    @property
    def row(self) -> rows.Transfer:
        """The row of the file, as it was when this began and with the changes made here."""
        return self._row

    @property
    def moving(self) -> bool:
        """Whether chunks are coming in now."""
        return self._machine is not None and self._machine.state in (State.ACTIVE, State.FINISHING)

    @property
    def paused(self) -> bool:
        """Whether the user has paused it."""
        return self._pause_reason is not None

    @property
    def size(self) -> int | None:
        """Bytes of the file, if its end is known."""
        finish = self._row.finish if self._machine is None else self._machine.finish
        return self._row.size if finish is None else finish.size

    @property
    def rate_bytes_s(self) -> float:
        """How fast it comes in."""
        return self._meter.rate(self.progress_bytes)

    @property
    def peer_pause(self) -> str | None:
        """Why the sender has paused, while it has."""
        return self._row.peer_pause if self._machine is None else self._machine.peer_pause

    @property
    def progress_bytes(self) -> int:
        """Plaintext bytes that are checked and on the disk."""
        return self._row.progress_bytes if self._machine is None else self._machine.progress_bytes

    def start(self, on_end: Callable[[], object]) -> None:
        """Check what is on the disk and begin; `on_end` is called when the transfer has ended."""
        self._on_end = on_end
        self._tasks.keep(f"download-{self._row.id}", self._run, self._services.duties)

    async def close(self) -> None:
        """Stop, and keep on the disk what is there."""
        await self._tasks.stop()
        await self._writes.join()
        self._let_go()
        self.ended.set()

    # -- events

    def session_up(self, session: Session) -> None:
        """Ask over this session from now on."""
        if self._session is session:
            return
        self._session = session
        if self._machine is not None:
            self._machine.session_up(self._now_s())
            self._wake.set()
        elif self._rests is not None:
            self._say_paused(self._rests)

    def session_down(self) -> None:
        """Wait for the next session."""
        self._session = None
        self._peer_pause = None
        self._meter.reset()
        if self._machine is not None:
            self._machine.session_down()
            self._wake.set()

    def on_segments(self, segments: Iterable[Segment]) -> None:
        """Take pieces of chunks."""
        if self._machine is not None:
            now_s = self._now_s()
            for segment in segments:
                self._machine.on_segment(segment, now_s)
            if self._machine.wants_care:
                self._wake.set()
            elif self._alarm is not None:
                self._alarm.look()

    def on_control(self, message: wire.Inner) -> None:
        """Take leaves or the end of the file."""
        if self._machine is None:
            return
        if isinstance(message, wire.Leaves):
            self._machine.on_leaves(message)
        elif isinstance(message, wire.Finish):
            self._machine.on_finish(message)
        self._wake.set()

    def on_cancel(self, reason: str) -> None:
        """Note that the sender gave up the file."""
        if self._machine is not None:
            self._machine.on_cancel(reason)
            self._wake.set()

    async def cancel(self, reason: str) -> None:
        """Give up the file, tell the sender, and wait until that is recorded or an error of ours prevents it."""
        self._cancel_reason = reason
        self._unwanted.set()
        if self._machine is not None:
            self._machine.cancel(reason)
        self._wake.set()
        await self.ended.wait()

    def on_pause(self, message: wire.Pause) -> None:
        """Note that the sender has paused, or goes on."""
        self._peer_pause = message
        reason = message.reason if message.paused else None
        self._row = dataclasses.replace(self._row, peer_pause=reason)
        self._meter.reset()
        if self._machine is not None:
            self._machine.on_pause(message, self._now_s())
            self._wake.set()

    def pause(self, reason: str) -> None:
        """Ask for nothing until `resume`, and tell the sender."""
        self._pause_reason = reason
        self._meter.reset()
        if self._machine is not None:
            self._machine.pause(reason)
            self._wake.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._pause_reason = None
        if self._machine is not None:
            self._machine.resume(self._now_s())
            self._wake.set()

    # -- the machine

    async def _run(self) -> None:
        """Drive the machine to its end; after an error of ours begin again with what is on the disk."""
        while True:
            try:
                await self._drive(await self._prepare())
                break
            except Exception as error:  # noqa: BLE001 - the user reads of it
                if not await self._rest(error):
                    break
        await self._writes.join()
        self._let_go()
        self._on_end()
        self.ended.set()

    async def _drive(self, machine: Receiving) -> None:
        self._machine, self._error, self._rests = machine, None, None
        alarm = self._alarm = Alarm(
            lambda: machine.next_timer_s, lambda _: self._wake.set(), self._services.clock
        )
        if self._pause_reason is not None:
            machine.pause(self._pause_reason)
        if self._session is not None:
            machine.session_up(self._now_s())
        if self._peer_pause is not None:
            machine.on_pause(self._peer_pause, self._now_s())
        if self._cancel_reason is not None:
            machine.cancel(self._cancel_reason)
        while True:
            for command in machine.take(self._now_s()):
                await self._carry_out(machine, command)
            if machine.ended or (self._exceeded and not machine.checking):
                break
            await self._wait(machine, alarm)
            if self._error is not None:
                raise self._error
        if machine.state is State.CANCELLED and self._cancel_reason is not None:
            await self._end("cancelled", self._cancel_reason)
        if self._exceeded:
            await self._writes.join()
            here = commands.Checkpoint(
                have=machine.have, progress_bytes=machine.progress_bytes, finish=None
            )
            await self._checkpoint(machine, here)
        for command in machine.take(self._now_s()):
            await self._carry_out(machine, command)

    async def _rest(self, error: Exception) -> bool:
        """Let go of the file, say why on both sides and wait; return False if it must not begin again.

        After a failed fsync everything since the last good one counts as lost: the next fsync would report success
        although the data never reached the disk. So the next run checks the file again.
        """
        message = error.message if isinstance(error, PeerpostError) else repr(error)
        log.error("%s: %s", self._row.id, message, exc_info=not isinstance(error, PeerpostError))
        lacking_bytes, self._machine = self._lacking_bytes, None
        await self._writes.join()
        self._let_go()
        if self._cancel_reason is not None:
            return False
        try:
            row = await self._services.store.read(
                rows.get, self._row.contact_id, self._row.file_id, incoming=True
            )
            if row is None or row.state not in ("active", "paused"):
                return False
            self._row = row
            await self._trouble(message)
        except Exception as worse:  # noqa: BLE001 - it is tried again in any case
            log.warning("%s: not recorded: %s", self._row.id, worse)
        self._rests = said(error)
        self._say_paused(self._rests)
        await self._room.wait(error, lacking_bytes, give_up=self._unwanted)
        return True

    @property
    def _lacking_bytes(self) -> int:
        """How much room it needs to go on: what is missing, but no more than is asked for at once."""
        most, size = MAX_WINDOW_BYTES, self.size
        return most if size is None else min(size - self.progress_bytes, most)

    def _say_paused(self, reason: str) -> None:
        if self._session is not None:
            pause = wire.Pause(file_id=self._row.file_id, paused=True, reason=reason)
            self._session.send(wire.Lane.URGENT, wire.encode(pause))

    def _let_go(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._part.close()

    async def _prepare(self) -> Receiving:
        """Open what an earlier run left and check it: the recorded bitmap is only a hint."""
        row = self._row
        # Counted among the writes, because the thread may use the file after this coroutine was cancelled.
        opening = self._write("open", self._in_thread(self._part.open, row))
        have: bytes = await asyncio.shield(opening)
        if row.name or have:
            log.info("receiving %s: %d chunks are here", row.id, sum(b.bit_count() for b in have))
        machine = Receiving(
            file_id=row.file_id,
            chunk_log2=row.chunk_log2,
            size=row.size,
            have=have,
            finish=row.finish,
            limit_bytes=limits.MAX_FILE_BYTES if row.accepted_bytes is None else row.accepted_bytes,
            allocate=disk.aligned_buffer,
        )
        return traced("receiving", row.id, machine)

    async def _wait(self, machine: Receiving, alarm: Alarm) -> None:
        """Return when something has happened, or the machine's timer is due."""
        alarm.look()
        await self._wake.wait()
        self._wake.clear()
        due_s, now_s = machine.next_timer_s, self._now_s()
        if due_s is not None and due_s <= now_s:
            machine.on_timer(now_s)  # Not in the timer's callback: errors are handled here.

    async def _carry_out(self, machine: Receiving, command: commands.ReceiveCommand) -> None:
        match command:
            case commands.SendControl():
                if self._session is not None:
                    self._session.send(command.lane, wire.encode(command.message))
            case commands.Verify():
                self._write("verify", self._verify(machine, command))
            case commands.Checkpoint():
                self._write("checkpoint", self._checkpoint(machine, command))
            case commands.Finalize():
                self._write("finalize", self._finalize(machine, command.finish))
            case commands.Completed():
                log.info("received %s", self._row.id)
            case commands.Exceeded():
                await self._services.store.write(
                    rows.set_state, self._row.id, "asking", command.cause
                )
                self._exceeded = True
            case commands.Stalled():
                await self._trouble(command.cause)
            case commands.Failed():
                await self._end("failed", command.cause)
            case commands.Cancelled():
                await self._end("cancelled", command.cause)

    async def _verify(self, machine: Receiving, command: commands.Verify) -> None:
        file, chunks = self._part.file, command.chunks
        checked = await self._services.computed(
            lambda part: file.verify(chunks[part]), len(chunks), 1 << self._row.chunk_log2
        )
        good = [chunk for right, _ in checked for chunk in right]
        bad = [index for _, wrong in checked for index in wrong]
        try:
            await self._in_thread(file.write_verified, good)
        except StorageError as error:
            machine.store_failed([chunk.index for chunk in chunks], said(error))
            self._pause(machine, error)
        else:
            machine.verified([chunk.index for chunk in good], bad, self._now_s())
            self._room.wrote()
            if self._part.wrote(len(good) << self._row.chunk_log2):
                self._write("flush", self._in_thread(self._part.flush))
            self._meter.note(machine.progress_bytes)
            await self._goes_on()
            if bad:
                log.warning("%s: wrong chunks %s are asked for again", self._row.id, bad)
        self._wake.set()

    async def _goes_on(self) -> None:
        """Clear the recorded reason why nothing came, because chunks come again."""
        if self._row.error is not None and self.moving:
            await self._trouble(None)
        if self._row.peer_pause is not None:
            self._row = dataclasses.replace(self._row, peer_pause=None)
            await self._services.store.write(rows.set_peer_pause, self._row.id, None)

    async def _checkpoint(self, machine: Receiving, command: commands.Checkpoint) -> None:
        await self._in_thread(self._part.file.sync)
        record = (command.have, command.progress_bytes, command.finish)
        try:
            await self._services.store.write(rows.checkpoint, self._row.id, *record)
        except StoreFullError as error:  # The record may name less than the disk has.
            machine.pause(said(error))
            self._pause(machine, error)

    async def _finalize(self, machine: Receiving, finish: wire.Finish) -> None:
        end = End(size=finish.size, count=finish.count, root=finish.root)
        try:
            await self._in_thread(self._part.finish, end)
            now_ms = self._services.clock.now_ms()
            await self._services.store.write(
                plain.arrive, self._row, finish, now_ms, plainly=self._services.plainly
            )
        except ProtocolError as error:
            machine.finalize_failed(error.message)
        except StorageError as error:
            if self._part.file.flush_failed:
                raise
            machine.finalize_postponed(said(error))
            self._pause(machine, error)
        else:
            machine.finalized()
        self._wake.set()

    def _pause(self, machine: Receiving, error: StorageError) -> None:
        log.warning("%s is paused: %s", self._row.id, error.message)
        later = self._resume_later(machine, error)
        self._tasks.spawn(later, name=f"resume-{self._row.id}", on_failure=self._fails)
        self._wake.set()

    async def _resume_later(self, machine: Receiving, error: StorageError) -> None:
        await self._trouble(error.message)
        await self._room.wait(error, self._lacking_bytes, give_up=self.ended)
        if not self.paused and machine is self._machine:
            machine.resume(self._now_s())
            self._wake.set()

    async def _trouble(self, cause: str | None) -> None:
        """Record why nothing comes, while that lasts, if the store allows. A transfer that the user paused stays so."""
        if self.paused:
            return
        self._row = dataclasses.replace(self._row, error=cause)
        try:
            await self._services.store.write(rows.set_state, self._row.id, "active", cause)
        except StorageError as error:
            log.warning("%s: not recorded: %s", self._row.id, error.message)

    async def _end(self, state: str, cause: str) -> None:
        log.warning("%s %s: %s", self._row.id, state, cause)
        # The sender surely knows of the end only if it caused it.
        knows = state == "cancelled" and self._cancel_reason is None
        await self._services.store.write(rows.end, self._row.id, state, cause, peer_knows=knows)
        await self._writes.join()
        await self._in_thread(self._part.discard)

    def _broken(self, error: BaseException) -> None:
        """Stop the running machine with an error."""
        if self._machine is not None:
            self._error = self._error or error
            self._wake.set()

    def _write(self, what: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self._writes.spawn(work, name=f"{what}-{self._row.id}", on_failure=self._fails)

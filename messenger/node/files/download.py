"""One incoming file, driven: its machine decides, threads check and write, the store remembers."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from peerpost.errors import ProtocolError, StorageError, StoreFullError
from peerpost.node.causes import cause_of
from peerpost.node.machine_trace import traced
from peerpost.protocol import transfer as commands
from peerpost.protocol.chunk_window import MAX_WINDOW_BYTES
from peerpost.protocol.receiving import Receiving, State
from peerpost.protocol.waiting import Trouble
from peerpost.store import disk
from peerpost.store.files.sealed import End
from peerpost.store.tables import plain
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.segment import Segment

from .driver import Driver
from .meter import Meter
from .part import Part
from .room import Room, said

if TYPE_CHECKING:
    from peerpost.node.services import Services

__all__ = ["Download"]

log = logging.getLogger(__name__)


class Download(Driver[Receiving, commands.ReceiveCommand]):
    """Carries out what a `Receiving` decides."""

    _what = "download"

    def __init__(self, services: Services, row: rows.Transfer, folder: Path) -> None:
        machine = Receiving(
            file_id=row.file_id,
            chunk_log2=row.chunk_log2,
            size=row.size,
            limit_bytes=limits.MAX_FILE_BYTES if row.accepted_bytes is None else row.accepted_bytes,
            allocate=disk.aligned_buffer,
        )
        machine.peer_pause = row.peer_pause
        super().__init__(
            row,
            traced("receiving", row.id, machine),
            duties=services.duties,
            clock=services.clock,
            meter=Meter(clock=services.clock),
        )
        self._services = services
        self._in_thread = services.in_thread
        self._part = Part(folder, row)
        self._room = Room(folder, reserve=lambda: services.config.storage.min_free)

    @property
    def moving(self) -> bool:
        """Whether chunks are coming in now."""
        return self._machine.state in (State.ACTIVE, State.FINISHING)

    @property
    def paused(self) -> bool:
        """Whether the user has paused it."""
        return self._machine.paused

    @property
    def progress_bytes(self) -> int:
        """Plaintext bytes that are checked and on the disk."""
        known = self._machine.progress_bytes
        return self._row.progress_bytes if known is None else known

    @property
    def _over(self) -> bool:
        # If it is longer than what was accepted, the user is asked, and another Download goes on.
        machine = self._machine
        return machine.ended or (machine.exceeded and not machine.checking)

    # -- events

    def _begin_session(self) -> None:
        self._machine.session_up(self._now_s())

    def on_segments(self, segments: Iterable[Segment]) -> None:
        """Take pieces of chunks."""
        machine, now_s = self._machine, self._now_s()
        for segment in segments:
            machine.on_segment(segment, now_s)
        if machine.wants_care:
            self._wake.set()
        else:
            self._alarm.look()

    def on_control(self, message: wire.Inner) -> None:
        """Take leaves or the end of the file."""
        if isinstance(message, wire.Leaves):
            self._machine.on_leaves(message)
        elif isinstance(message, wire.Finish):
            self._machine.on_finish(message)
        self._wake.set()

    def on_cancel(self, reason: str) -> None:
        """Note that the sender gave up the file."""
        self._machine.on_cancel(reason)
        self._wake.set()

    async def cancel(self, reason: str) -> None:
        """Give up the file, tell the sender, and wait until that is recorded or an error of ours prevents it."""
        self._given_up.set()
        self._machine.cancel(reason)
        self._wake.set()
        await self.ended.wait()

    def on_pause(self, message: wire.Pause) -> None:
        """Note that the sender has paused, or goes on."""
        self._machine.on_pause(message, self._now_s())
        self._row = dataclasses.replace(self._row, peer_pause=self._machine.peer_pause)
        self._meter.reset()
        self._wake.set()

    def pause(self, reason: str) -> None:
        """Ask for nothing until `resume`, and tell the sender."""
        self._machine.pause(reason)
        self._meter.reset()
        self._wake.set()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._machine.resume(self._now_s())
        self._wake.set()

    def _failed(self, error: BaseException) -> None:
        """Let go of the file, say why on both sides, and later begin again with what is on the disk.

        After a failed fsync everything since the last good one counts as lost: the next fsync would report success
        although the data never reached the disk. So the file is checked again.
        """
        log.error("%s: %s", self._row.id, cause_of(error))
        self._machine.broken(self._trouble(error))
        self._wake.set()

    def _trouble(self, error: BaseException) -> Trouble:
        wait_s = self._room.failed(error, self._lacking_bytes)
        return Trouble(cause=cause_of(error), told=said(error), next_try_s=self._now_s() + wait_s)

    @property
    def _lacking_bytes(self) -> int:
        """How much room it needs to go on: what is missing, but no more than is asked for at once."""
        most, size = MAX_WINDOW_BYTES, self.size
        return most if size is None else min(size - self.progress_bytes, most)

    # -- the commands

    async def _carry_out(self, command: commands.ReceiveCommand) -> None:
        match command:
            case commands.SendControl():
                self._send(command)
            case commands.Prepare():
                self._do("open", self._prepare())
            case commands.Verify():
                self._do("verify", self._verify(command))
            case commands.Checkpoint():
                self._do("checkpoint", self._checkpoint(command))
            case commands.Finalize():
                self._do("finalize", self._finalize(command.finish))
            case commands.Completed():
                log.info("received %s", self._row.id)
            case commands.Exceeded():
                await self._services.store.write(
                    rows.set_state, self._row.id, "asking", command.cause
                )
            case commands.Stalled():
                await self._note(command.cause)
            case commands.HeldUp():
                log.warning("%s is paused: %s", self._row.id, command.cause)
                await self._note(command.cause)
            case commands.LetGo():
                self._let_go(command)
            case commands.TryAgain():
                self._try_again()
            case commands.Failed() | commands.Rejected():
                await self._end(command)
            case commands.Cancelled():
                await self._end(command, peer_knows=True)

    async def _prepare(self) -> None:
        """Open what an earlier run left and check it: the recorded bitmap is only a hint."""
        row = self._row
        have = await self._in_thread(self._part.open, row)
        if row.name or have:
            log.info("receiving %s: %d chunks are here", row.id, sum(b.bit_count() for b in have))
        self._machine.prepared(have, row.finish, self._now_s())
        self._wake.set()

    async def _verify(self, command: commands.Verify) -> None:
        file, chunks, machine = self._part.file, command.chunks, self._machine
        checked = await self._services.computed(
            lambda part: file.verify(chunks[part]), len(chunks), 1 << self._row.chunk_log2
        )
        good = [chunk for right, _ in checked for chunk in right]
        bad = [index for _, wrong in checked for index in wrong]
        try:
            await self._in_thread(file.write_verified, good)
        except StorageError as error:
            machine.store_failed([chunk.index for chunk in chunks], self._trouble(error))
        else:
            machine.verified([chunk.index for chunk in good], bad, self._now_s())
            self._room.wrote()
            if self._part.wrote(len(good) << self._row.chunk_log2):
                self._do("flush", self._in_thread(self._part.flush))
            self._meter.note(self.progress_bytes)
            await self._goes_on()
            if bad:
                log.warning("%s: wrong chunks %s are asked for again", self._row.id, bad)
        self._wake.set()

    async def _goes_on(self) -> None:
        """Clear the recorded reason why nothing came, because chunks come again."""
        if self._row.error is not None and self.moving:
            await self._note(None)
        if self._row.peer_pause is not None:
            self._row = dataclasses.replace(self._row, peer_pause=None)
            await self._services.store.write(rows.set_peer_pause, self._row.id, None)

    async def _checkpoint(self, command: commands.Checkpoint) -> None:
        await self._in_thread(self._part.file.sync)
        record = (command.have, command.progress_bytes, command.finish)
        try:
            await self._services.store.write(rows.checkpoint, self._row.id, *record)
        except StoreFullError as error:  # The record may name less than the disk has.
            self._machine.held_up(self._trouble(error))
            self._wake.set()

    async def _finalize(self, finish: wire.Finish) -> None:
        end = End(size=finish.size, count=finish.count, root=finish.root)
        try:
            await self._in_thread(self._part.finish, end)
            now_ms = self._services.clock.now_ms()
            await self._services.store.write(
                plain.arrive, self._row, finish, now_ms, plainly=self._services.plainly
            )
        except ProtocolError as error:
            self._machine.finalize_failed(error.message)
        except StorageError as error:
            if self._part.file.flush_failed:
                raise
            self._machine.finalize_postponed(self._trouble(error))
        else:
            self._machine.finalized()
        self._wake.set()

    def _try_again(self) -> None:
        if self._room.may_try():
            self._machine.try_again(self._now_s())
        else:
            self._machine.wait_on(self._now_s() + self._room.next_wait_s())
        self._wake.set()

    async def _note_trouble(self, cause: str) -> None:
        """Record why the file was let go; if the transfer has ended meanwhile, so does this."""
        try:
            row = await self._services.store.read(
                rows.get, self._row.contact_id, self._row.file_id, incoming=True
            )
            if row is None or row.state not in ("active", "paused"):
                self._machine.gone()
            else:
                self._row = row
                await self._note(cause)
        except Exception as worse:  # noqa: BLE001 - it is tried again in any case
            log.warning("%s: not recorded: %s", self._row.id, worse)

    async def _note(self, cause: str | None) -> None:
        """Record why nothing comes, while that lasts, if the store allows. A transfer that the user paused stays so."""
        if self.paused:
            return
        self._row = dataclasses.replace(self._row, error=cause)
        try:
            await self._services.store.write(rows.set_state, self._row.id, "active", cause)
        except StorageError as error:
            log.warning("%s: not recorded: %s", self._row.id, error.message)

    # -- the end

    async def _end(
        self,
        command: commands.Failed | commands.Cancelled | commands.Rejected,
        *,
        peer_knows: bool = False,
    ) -> None:
        """Record how it ended, and only then remove what has come. The sender surely knows only of what it caused."""
        state, cause = self._machine.state.value, command.cause
        log.warning("%s %s: %s", self._row.id, state, cause)
        write, id_ = self._services.store.write, self._row.id
        if await self._recorded(lambda: write(rows.end, id_, state, cause, peer_knows=peer_knows)):
            await self._work.join()
            await self._in_thread(self._part.discard)

    async def _settle(self) -> None:
        machine = self._machine
        if not machine.ended:
            await self._work.join()
            await self._checkpoint(
                commands.Checkpoint(
                    have=machine.have, progress_bytes=self.progress_bytes, finish=None
                )
            )

    def _close_file(self) -> None:
        self._part.close()

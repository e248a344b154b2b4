"""Both sides of a file transfer over a link that may do anything, under a clock of its own.

The machines are the shipped ones. What a node does around them is reduced to the minimum: a receiver's
part is in a real folder, work that the node gives to threads ends some time later, and a killed side
comes back with only its row and its disk. All randomness comes from one seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peerpost.errors import PeerpostError, ProtocolError
from peerpost.protocol import transfer as commands
from peerpost.protocol.receiving import ReceivePolicy, Receiving, State
from peerpost.protocol.sending import Sending
from peerpost.protocol.waiting import Trouble
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.reference import ReferenceSource
from peerpost.store.files.sealed import End, SealedFile
from peerpost.store.files.spool import SpoolSource
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.segment import Segment
from tests.support.clock import Clock
from tests.support.hostile_sender import HostileSender, Piece

__all__ = ["Chaos", "FileRig", "HostileSide", "ReceiverSide", "SenderSide"]

SEGMENT_BYTES = 4096
FULL = Trouble(cause="No space left on device", told="the disk is full", next_try_s=1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """What a link does to each message: chances from 0 to 1."""

    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    flip: float = 0.0
    """A bit of a chunk's data is flipped."""
    cut: float = 0.0
    """The session ends; another begins a little later."""
    delay_s: float = 0.002


class FileRig:
    """The link between the two sides."""

    def __init__(self, seed: int, chaos: Chaos | None = None) -> None:
        self.draw = random.Random(seed)
        self.chaos = chaos or Chaos()
        self.clock = Clock()
        self.session = 0
        self.up = False
        self.cuts = 0
        self.sides: list[SenderSide | HostileSide | ReceiverSide] = []
        self._free_s: dict[tuple[object, wire.Lane], float] = {}

    def connect(self) -> None:
        """Begin a session."""
        self.session += 1
        self.up = True
        for side in self.sides:
            side.session_up()

    def cut(self, again_s: float | None = None) -> None:
        """End the session; what is on the way is lost."""
        if self.up:
            self.cuts += 1
            self.up = False
            for side in self.sides:
                side.session_down()
            self.clock.later(again_s or self.draw.uniform(0.01, 3), self.connect)

    def send(self, source: object, piece: Piece) -> None:
        """Put a message on its way to the other side, in the order of its lane if chaos allows."""
        chaos, draw = self.chaos, self.draw
        if not self.up:
            return
        if draw.random() < chaos.cut:
            self.cut()
            return
        if draw.random() < chaos.drop:
            return
        target = next(side for side in self.sides if side is not source)
        for _ in range(2 if draw.random() < chaos.duplicate else 1):
            lane = (source, piece.lane)
            at_s = max(self._free_s.get(lane, 0.0), self.clock.now_s + chaos.delay_s)
            if draw.random() < chaos.reorder:
                at_s += draw.uniform(0, 0.05)
            else:
                self._free_s[lane] = at_s
            payload = self._flipped(piece)
            self.clock.later(
                at_s - self.clock.now_s, self._arrival(target, payload, piece, self.session)
            )

    def _arrival(
        self, target: SenderSide | HostileSide | ReceiverSide, payload: bytes, piece: Piece, of: int
    ) -> Callable[[], None]:
        def arrive() -> None:
            if self.up and self.session == of:
                try:
                    target.receive(payload, sealed=piece.sealed)
                except ProtocolError:
                    self.cut()  # What a node does with a peer that breaks the protocol.

        return arrive

    def _flipped(self, piece: Piece) -> bytes:
        if self.draw.random() >= self.chaos.flip:
            return piece.payload
        payload = bytearray(piece.payload)
        # Noise protects the headers; what is tested here is the data after them.
        low = 29 if piece.sealed else 0
        payload[self.draw.randrange(low, len(payload))] ^= 1 << self.draw.randrange(8)
        return bytes(payload)

    def close(self) -> None:
        """Close what the sides have open."""
        for side in self.sides:
            side.close()

    def run(self, done: Callable[[], bool], *, limit_s: float = 50_000) -> None:
        """Let time pass until `done`."""
        while not done():
            if not self.clock.step() or self.clock.now_s > limit_s:
                raise TimeoutError(f"nothing came of it in {self.clock.now_s:.0f} s")


class SenderSide:
    """An honest sender with its source."""

    def __init__(
        self,
        rig: FileRig,
        sealer: Sealer,
        open_source: Callable[[], SpoolSource | ReferenceSource],
        *,
        size: int | None,
        end: End | None,
        available: int | None = None,
    ) -> None:
        self.rig, self._sealer, self._open_source = rig, sealer, open_source
        self._size, self._end, self._available = size, end, available
        self.sent: list[int] = []
        """Each chunk that went out, repeats included."""
        self.outcome: object | None = None
        self.in_hand_most = 0
        self._life = 0
        rig.sides.append(self)
        self._start(accepted=False)

    def _start(self, *, accepted: bool) -> None:
        self._life += 1
        self.source = self._open_source()
        finish = None if self._end is None else self.finish_of(self._end)
        self.machine = Sending(
            file_id=self._sealer.file_id,
            chunk_log2=self._sealer.chunk_bytes.bit_length() - 1,
            size=self._size,
            finish=finish,
            available=self._available,
            accepted=accepted,
        )

    def finish_of(self, end: End) -> wire.Finish:
        return wire.Finish(
            file_id=self._sealer.file_id, size=end.size, count=end.count, root=end.root
        )

    def kill(self) -> None:
        """Die and come back with only the row."""
        self.rig.cut(again_s=self.rig.draw.uniform(0.1, 5))
        if not self.machine.ended:
            self.source.close()
            self._start(accepted=True)

    def close(self) -> None:
        self.source.close()

    def grow(self, available: int) -> None:
        """Set how many chunks of a stream exist."""
        self._available = available
        self.machine.grown(available)
        self._obey()

    def end(self, end: End) -> None:
        """End the stream."""
        self._end = end
        self.machine.finished(self.finish_of(end))
        self._obey()

    def session_up(self) -> None:
        self.machine.session_up()
        self._obey()

    def session_down(self) -> None:
        self.machine.session_down()

    def receive(self, payload: bytes, *, sealed: bool) -> None:
        message = wire.decode(payload)
        assert not sealed
        if isinstance(message, wire.Pull):
            self.machine.on_pull(message, self.rig.clock.now_s)
        elif isinstance(message, wire.Accept):
            self.machine.on_accept()
        elif isinstance(message, wire.Complete):
            self.machine.on_complete()
        elif isinstance(message, wire.Cancel):
            self.machine.on_cancel(message.reason)
        self._obey()

    def _obey(self) -> None:
        for command in self.machine.take(self.rig.clock.now_s):
            match command:
                case commands.SendControl():
                    payload = wire.encode(command.message)
                    self.rig.send(self, Piece(lane=command.lane, payload=payload, sealed=False))
                case commands.SendChunk():
                    self._send_chunk(command)
                case commands.ReadChunks():
                    self._in_thread(lambda c=command: self._read(c))
                case commands.ReadLeaves():
                    self._in_thread(lambda c=command: self._read_leaves(c))
                case commands.FindEnd():
                    self._in_thread(self._find_end)
                case _:
                    self.outcome = command

    def _in_thread(self, work: Callable[[], None]) -> None:
        life = self._life

        def run() -> None:
            if life == self._life and not self.machine.ended:
                try:
                    work()
                except PeerpostError as error:
                    self.machine.source_failed(error.message)
                self._obey()

        self.rig.clock.later(self.rig.draw.uniform(0, 0.01), run)

    def _read(self, command: commands.ReadChunks) -> None:
        piece = self.source.read(command.first, command.count)
        self.machine.chunks_read(piece.first, piece.leaves, piece.sealed)

    def _read_leaves(self, command: commands.ReadLeaves) -> None:
        leaves = self.source.read_leaves(command.first, command.count)
        self.machine.leaves_read(command.first, leaves)

    def _find_end(self) -> None:
        assert isinstance(self.source, ReferenceSource)
        self.machine.finished(self.finish_of(self.source.find_end()))

    def _send_chunk(self, command: commands.SendChunk) -> None:
        self.sent.append(command.index)
        self.in_hand_most = max(self.in_hand_most, len(self.machine._in_hand))
        file_id = self._sealer.file_id
        for frame in Segment.frames(file_id, command.index, command.sealed, SEGMENT_BYTES):
            payload = b"".join(frame)[limits.FRAME_HEADER_BYTES :]
            self.rig.send(self, Piece(lane=wire.Lane.BULK, payload=payload, sealed=True))
        life = self._life

        def left() -> None:
            if life == self._life:
                self.machine.chunk_sent(command.index)
                self._obey()

        self.rig.clock.later(self.rig.draw.uniform(0, 0.002), left)


class HostileSide:
    """A hostile sender."""

    def __init__(self, rig: FileRig, hostile: HostileSender) -> None:
        self.rig, self.hostile = rig, hostile
        rig.sides.append(self)

    def session_up(self) -> None:
        pass

    def session_down(self) -> None:
        pass

    def close(self) -> None:
        pass

    def receive(self, payload: bytes, *, sealed: bool) -> None:
        assert not sealed
        for piece in self.hostile.answer(wire.decode(payload)):
            self.rig.send(self, piece)


class ReceiverSide:
    """A receiver with its part on disk."""

    def __init__(
        self, rig: FileRig, sealer: Sealer, folder: Path, *, size: int | None, policy: ReceivePolicy
    ) -> None:
        self.rig, self._sealer, self._folder = rig, sealer, folder
        self._size, self._policy = size, policy
        self.final = folder / "in"
        self.outcome: object | None = None
        self.stalls = 0
        self.fail_writes = 0
        """Verify jobs that the disk will refuse."""
        self.kills = 0
        self._life = 0
        self._timer_s: float | None = None
        self._recorded: commands.Checkpoint | None = None
        self.part = SealedFile.create(folder / "in.part", sealer)
        rig.sides.append(self)
        self._start(b"", None)

    def _start(self, have: bytes, finish: wire.Finish | None) -> None:
        self._life += 1
        self._timer_s = None
        self.machine = Receiving(
            file_id=self._sealer.file_id,
            chunk_log2=self._sealer.chunk_bytes.bit_length() - 1,
            size=self._size,
            policy=self._policy,
        )
        self._here = (have, finish)
        self.obey()

    @property
    def in_memory(self) -> int:
        """How many chunks are asked for or held in memory."""
        return 0 if self.machine._intake is None else len(self.machine._intake)

    def kill(self) -> None:
        """Die, perhaps in the middle of a write, and come back with the row and the disk."""
        self.kills += 1
        self.rig.cut(again_s=self.rig.draw.uniform(0.1, 5))
        if self.outcome is not None:
            return
        self.part.close()
        if self.final.exists():
            self.outcome = commands.Completed()
            return
        self.part = SealedFile.open(self._folder / "in.part", self._sealer, writable=True)
        finish = self._recorded.finish if self._recorded else None
        have = self.part.rehash(finish.size if finish else self._size)
        recorded = self._recorded.have if self._recorded else b""
        assert all(a & b == a for a, b in zip(recorded, have, strict=False)), "the record leads"
        self._start(have, finish)

    def close(self) -> None:
        self.part.close()

    def session_up(self) -> None:
        self.machine.session_up(self.rig.clock.now_s)
        self.obey()

    def session_down(self) -> None:
        self.machine.session_down()

    def receive(self, payload: bytes, *, sealed: bool) -> None:
        machine, now_s = self.machine, self.rig.clock.now_s
        if sealed:
            machine.on_segment(Segment.decode(payload), now_s)
        else:
            message = wire.decode(payload)
            if isinstance(message, wire.Leaves):
                machine.on_leaves(message)
            elif isinstance(message, wire.Finish):
                machine.on_finish(message)
            elif isinstance(message, wire.Cancel):
                machine.on_cancel(message.reason)
        if machine._intake is not None:
            assert self.in_memory <= machine._intake.window.largest
        self.obey()

    def obey(self) -> None:
        for command in self.machine.take(self.rig.clock.now_s):
            match command:
                case commands.SendControl():
                    payload = wire.encode(command.message)
                    self.rig.send(self, Piece(lane=command.lane, payload=payload, sealed=False))
                case commands.Prepare():
                    self._in_thread(
                        lambda: self.machine.prepared(*self._here, self.rig.clock.now_s)
                    )
                case commands.Verify():
                    self._in_thread(lambda c=command: self._verify(c))
                case commands.Checkpoint():
                    self._recorded = command
                case commands.Finalize():
                    self._in_thread(lambda c=command: self._finalize(c))
                case commands.Stalled():
                    self.stalls += 1
                case commands.HeldUp():
                    pass
                case commands.TryAgain():
                    self.machine.try_again(self.rig.clock.now_s)
                case _:
                    self.outcome = command
        self._arm()

    def _arm(self) -> None:
        due_s = self.machine.next_timer_s
        if due_s is None or (self._timer_s is not None and self._timer_s <= due_s):
            return
        self._timer_s = due_s
        life = self._life

        def fire() -> None:
            if life == self._life:
                self._timer_s = None
                self.machine.on_timer(self.rig.clock.now_s)
                self.obey()

        self.rig.clock.later(max(0.0, due_s - self.rig.clock.now_s), fire)

    def _in_thread(self, work: Callable[[], None]) -> None:
        life = self._life

        def run() -> None:
            if life == self._life:
                work()
                self.obey()

        self.rig.clock.later(self.rig.draw.uniform(0, 0.01), run)

    def _verify(self, command: commands.Verify) -> None:
        if self.fail_writes:
            self.fail_writes -= 1
            self.machine.store_failed([c.index for c in command.chunks], FULL)
            return
        good, bad = self.part.verify(command.chunks)
        self.part.write_verified(good)
        self.machine.verified([chunk.index for chunk in good], bad, self.rig.clock.now_s)

    def _finalize(self, command: commands.Finalize) -> None:
        if self.machine.state is not State.FINISHING:
            return
        finish = command.finish
        try:
            end = End(size=finish.size, count=finish.count, root=finish.root)
            self.part.finish(end, self.final)
        except ProtocolError as error:
            self.machine.finalize_failed(error.message)
        else:
            self.machine.finalized()

"""A sender of files that breaks every rule it is told to break, made from our own wire layer.

It is a contact with keys of its own, so what it sends is sealed and framed as it should be; what is
inside is not. A byte flipped on the wire only ever breaks Noise: this is how the checks behind it
are reached. Without I/O: `answer` takes a message of the receiver and gives what to send. For a real
session, `HostilePeer` is a `Receiver` as peerpost.node.session.session wants one.

    faults = Faults(wrong={3: 1}, missing={5: 2}, duplicate={7}, reordered=True)
    hostile = HostileSender(content, faults=faults)
    offer = hostile.offer("holiday.jpg")          # travels as the body of a Message of kind OFFER
    for piece in hostile.answer(pull): ...        # (lane, payload, sealed)
"""

from __future__ import annotations

import functools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from peerpost.node.session.lane import Frame
from peerpost.store.files.chunks import Sealer
from peerpost.wire import inner as wire
from peerpost.wire.frame import frame
from peerpost.wire.geometry import Geometry
from peerpost.wire.segment import Segment
from tests.support.chunk import root

__all__ = ["ALWAYS", "Faults", "HostilePeer", "HostileSender", "Piece"]

ALWAYS: Final = 1 << 30
"""As a number of times: every time."""

Times = Mapping[int, int]
"""Chunk number to how many times it goes wrong before it is sent right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What it does wrong. Chunks not named are sent as they should be."""

    wrong: Times = field(default_factory=dict)
    """A bit of the sealed chunk is flipped."""
    moved: Times = field(default_factory=dict)
    """Another chunk in its place, rightly sealed for where it belongs."""
    forged: Times = field(default_factory=dict)
    """Other content, sealed under the leaf of the right one: only the hash tells."""
    short: Times = field(default_factory=dict)
    """The last segment is left out."""
    long: Times = field(default_factory=dict)
    """More bytes than a chunk has."""
    gap: Times = field(default_factory=dict)
    """A segment in the middle is left out."""
    shuffled: Times = field(default_factory=dict)
    """Its segments come in another order."""
    missing: Times = field(default_factory=dict)
    """Neither leaf nor chunk."""
    withheld: Times = field(default_factory=dict)
    """The leaf, but not the chunk."""
    wrong_leaf: Times = field(default_factory=dict)
    """A leaf that no content has."""
    no_leaf: Times = field(default_factory=dict)
    """The chunk, but not the leaf."""
    duplicate: AbstractSet[int] = frozenset()
    """Sent twice."""
    reordered: bool = False
    """The chunks of an answer come in a random order, all of their leaves after them."""
    unasked: int = 0
    """Chunks pushed with each answer that nobody asked for."""
    lie: str | None = None
    """About the end: `size`, `count`, `root`, `two ends`, `early`, `leaves beyond`."""
    silent_end: bool = False
    """The end is never told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Something to send."""

    lane: wire.Lane
    payload: bytes
    """Inner bytes for an envelope, or a whole segment frame."""
    sealed: bool
    """Whether it is a segment."""


class HostileSender:
    """The sender's side of one file, with faults."""

    def __init__(
        self,
        content: bytes,
        *,
        faults: Faults | None = None,
        file_id: bytes | None = None,
        key: bytes | None = None,
        chunk_log2: int = 18,
        segment_bytes: int = 65536,
        stream: bool = False,
        seed: int = 1,
    ) -> None:
        """Seal `content` chunk by chunk. With `stream` the offer names no size."""
        self._draw = random.Random(seed)
        self.file_id = file_id or self._draw.randbytes(16)
        self.key = key or self._draw.randbytes(32)
        self.made: Counter[str] = Counter()
        """Faults made so far, by name."""
        self.completed = False
        self.cancelled: str | None = None
        """The receiver's reason, if it gave up."""
        self._faults = faults or Faults()
        self._left: dict[str, dict[int, int]] = {}
        self._stream = stream
        self._segment_bytes = segment_bytes
        self._geometry = Geometry(chunk_log2, len(content))
        self._sealer = Sealer(file_id=self.file_id, key=self.key, chunk_log2=chunk_log2)
        self._leaves = self._sealer.leaves(0, memoryview(content), last=True)
        self._sealed = self._sealer.seal(0, memoryview(content), self._leaves, last=True)
        self._finish_sent = 0

    @property
    def count(self) -> int:
        """Number of chunks."""
        return len(self._sealed)

    @property
    def finish(self) -> wire.Finish:
        """The true end."""
        return wire.Finish(
            file_id=self.file_id,
            size=self._geometry.size or 0,
            count=self.count,
            root=root(self._leaves),
        )

    def offer(self, name: str, *, as_text: bool = False) -> wire.Offer:
        """Return the offer of the file, which is honest."""
        return wire.Offer(
            file_id=self.file_id,
            key=self.key,
            chunk_log2=self._geometry.chunk_log2,
            size=None if self._stream else self._geometry.size,
            name=name,
            as_text=as_text,
        )

    def answer(self, message: wire.Inner) -> list[Piece]:
        """Return what to send when the receiver says this, in order."""
        if isinstance(message, wire.Complete):
            self.completed = True
        elif isinstance(message, wire.Cancel | wire.Refuse):
            self.cancelled = message.reason
        elif isinstance(message, wire.Pull) and message.file_id == self.file_id:
            return list(self._answer_pull(message))
        return []

    def _answer_pull(self, pull: wire.Pull) -> Iterator[Piece]:
        faults = self._faults
        wanted = [
            index
            for first, count in pull.ranges
            for index in range(first, min(first + count, self.count))
        ]
        leaves = list(wanted)
        leaves += range(pull.leaves_first, min(self.count, pull.leaves_first + pull.leaves_count))
        if faults.reordered:
            self._draw.shuffle(wanted)
            self.made["reordered"] += bool(wanted)
        gone = {index for index in wanted if self._fault("missing", index)}
        pages = [self._page(index) for index in leaves if index not in gone]
        chunks: list[Piece] = []
        for index in wanted:
            if index not in gone:
                chunks += self._chunk(index)
        yield from self._end() if self._stream else ()
        yield from (chunks if faults.reordered else ())
        yield from (page for page in pages if page is not None)
        yield from (() if faults.reordered else chunks)
        for _ in range(faults.unasked):
            self.made["unasked"] += 1
            yield from self._segments(self._draw.randrange(self.count), None)
        yield from () if self._stream else self._end()

    def _page(self, index: int) -> Piece | None:
        leaf = self._leaves[32 * index : 32 * index + 32]
        if self._fault("no_leaf", index):
            return None
        if self._fault("wrong_leaf", index):
            leaf = self._draw.randbytes(32)
        return self._control(wire.Leaves(file_id=self.file_id, first=index, leaves=leaf))

    def _chunk(self, index: int) -> list[Piece]:
        if self._fault("withheld", index):
            return []
        sealed = bytearray(self._sealed[index])
        if self._fault("wrong", index):
            sealed[self._draw.randrange(len(sealed))] ^= 1 << self._draw.randrange(8)
        if self._fault("moved", index):
            sealed = bytearray(self._sealed[(index + 1) % self.count])
        if self._fault("forged", index):
            sealed = self._forged(index)
        if self._fault("long", index):
            sealed += b"!"
        pieces = list(self._segments(index, sealed))
        if self._fault("short", index):
            del pieces[-1]
        if self._fault("gap", index):
            del pieces[len(pieces) // 2 - 1]
        if self._fault("shuffled", index):
            self._draw.shuffle(pieces)
        if index in self._faults.duplicate:
            self.made["duplicate"] += 1
            pieces += pieces
        return pieces

    def _forged(self, index: int) -> bytearray:
        plain = self._draw.randbytes(self._geometry.plain_len(index))
        leaf = self._leaves[32 * index : 32 * index + 32]
        last = index == self.count - 1
        return bytearray(self._sealer.seal(index, memoryview(plain), leaf, last=last)[0])

    def _segments(self, index: int, sealed: bytearray | None) -> Iterator[Piece]:
        data = self._sealed[index] if sealed is None else memoryview(sealed)
        for offset in range(0, len(data), self._segment_bytes):
            piece = bytes(data[offset : offset + self._segment_bytes])
            segment = Segment(file_id=self.file_id, index=index, offset=offset, data=piece)
            yield Piece(lane=wire.Lane.BULK, payload=segment.encode(), sealed=True)

    def _end(self) -> Iterator[Piece]:
        if self._faults.silent_end:
            return
        true, lie = self.finish, self._faults.lie
        self._finish_sent += 1
        self.made["lie"] += lie is not None
        chunk = self._geometry.chunk_bytes
        told = {
            "size": wire.Finish(
                file_id=self.file_id, size=true.size + chunk, count=true.count + 1, root=true.root
            ),
            "count": wire.Finish(
                file_id=self.file_id, size=true.size, count=true.count + 1, root=true.root
            ),
            "root": wire.Finish(
                file_id=self.file_id, size=true.size, count=true.count, root=bytes(32)
            ),
            "early": wire.Finish(file_id=self.file_id, size=1, count=1, root=true.root),
        }.get(lie or "", true)
        yield self._control(told)
        if lie == "two ends":
            other = wire.Finish(
                file_id=self.file_id, size=true.size, count=true.count, root=bytes(32)
            )
            yield self._control(other)
        if lie == "leaves beyond":
            leaf = wire.Leaves(file_id=self.file_id, first=true.count, leaves=bytes(32))
            yield self._control(leaf)

    def _control(self, message: wire.Inner) -> Piece:
        return Piece(lane=wire.Lane.BULK, payload=wire.encode(message), sealed=False)

    def _fault(self, name: str, index: int) -> bool:
        left = self._left.setdefault(name, dict(getattr(self._faults, name)))
        if left.get(index, 0) <= 0:
            return False
        left[index] -= 1
        self.made[name] += 1
        return True


class _Session(Protocol):
    def send(self, lane: wire.Lane, inner: bytes) -> None: ...
    async def send_chunk(self, frames: Iterable[Frame]) -> None: ...


class HostilePeer:
    """Drives hostile senders over a session: what peerpost.node.session.session calls a Receiver."""

    def __init__(self, *senders: HostileSender) -> None:
        """Serve these files, each by its id."""
        self.senders = {sender.file_id: sender for sender in senders}
        self.seen: list[wire.Inner] = []
        """All that the receiver said."""

    def on_inner(
        self, session: _Session, _lane: wire.Lane, batch: list[Any]
    ) -> Callable[[], Awaitable[None]]:
        """Answer each message for its file."""
        return functools.partial(self._answer, session, batch)

    async def _answer(self, session: _Session, batch: list[Any]) -> None:
        for received in batch:
            message = received.message
            self.seen.append(message)
            sender = self.senders.get(getattr(message, "file_id", b""))
            if sender is not None:
                await self.send(session, sender.answer(message))

    def on_segments(self, _session: _Session, _segments: list[Segment]) -> None:
        """Take no file in return."""

    async def send(self, session: _Session, pieces: list[Piece]) -> None:
        """Send in order."""
        for piece in pieces:
            if piece.sealed:
                await session.send_chunk([(frame(piece.payload),)])
            else:
                session.send(piece.lane, piece.payload)

"""The chunks of one incoming file: asked for, put together, handed out to be checked, asked for again.

Whatever the peer sends, it costs no more memory than the window. A chunk may be wrong three times and
passed over six times; after that, and on every lie about the file, `failure` is set.

An Intake lasts as long as the part file is open. It knows nothing of sessions, pauses and ends: those are
kept in `receiving`, which lasts as long as the transfer, passes on only what fits its state, and looks at
`failure` and `excess` afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from peerpost.fastpath import LANES
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.geometry import Geometry
from peerpost.wire.segment import Segment

from .assembly import Allocate, Fit
from .chunk_window import ChunkWindow
from .outstanding import Chunk, Outstanding
from .patience import Patience, ReceivePolicy
from .ranges import RangeSet
from .transfer import WholeChunk, runs_of

__all__ = ["Intake"]

UNASKED_WINDOWS: Final = 8
"""How many windows of data that nobody asked for may come between two good chunks before the transfer
fails. Data that was asked for again does not count: it may come twice."""


class Intake:
    """Which chunks of a file are here, which were asked for, and which are missing."""

    def __init__(
        self,
        *,
        file_id: bytes,
        geometry: Geometry,
        have: bytes,
        finish: wire.Finish | None,
        limit_bytes: int,
        policy: ReceivePolicy,
        allocate: Allocate,
    ) -> None:
        """Begin with the chunks in the bitmap `have`."""
        self.geometry = geometry
        self.finish = finish
        """Size, count and root, once the sender has named them."""
        self.window = ChunkWindow(geometry.chunk_bytes, policy.max_window_bytes)
        self.failure: str | None = None
        """Why the transfer must end, if so: the first cause counts."""
        self.excess: str | None = None
        """Set once the file is longer than what was accepted, with the cause in words."""
        self._patience = Patience(policy)
        self._want_end = False
        """Whether to ask for the end of the file."""
        self._file_id = file_id
        self._policy = policy
        self._limit_bytes = limit_bytes
        # For a stream, one chunk more than accepted is asked for: that is how we learn that there is one.
        self._limit_chunks = -(-limit_bytes // geometry.chunk_bytes)
        stop = geometry.count or min(self._limit_chunks + 1, limits.MAX_CHUNKS)
        self.have = RangeSet.from_bitmap(have)
        self.have.remove(stop, 8 * len(have))
        missing = RangeSet([(0, stop)])
        for first, end in self.have.runs():
            missing.remove(first, end)
        self._out = Outstanding(missing, geometry.sealed_bytes, allocate)
        self._unasked_bytes = 0

    def __len__(self) -> int:
        """Return how many chunks are asked for or held in memory."""
        return len(self._out)

    @property
    def progress_bytes(self) -> int:
        """Plaintext bytes that are checked and written."""
        total = len(self.have) << self.geometry.chunk_log2
        count = self.geometry.count
        if count is not None and count - 1 in self.have:
            total += self.geometry.plain_len(count - 1) - self.geometry.chunk_bytes
        return total

    @property
    def is_whole(self) -> bool:
        """Whether the end is known and all chunks are here."""
        return self.finish is not None and len(self.have) == self.finish.count

    @property
    def worth_checking(self) -> bool:
        """Whether to check now, or wait for more chunks that are about to come: many at a time hash faster."""
        ready = len(self._out.ready)
        return ready >= LANES or (ready > 0 and len(self._out.pending) < LANES)

    @property
    def due_s(self) -> float | None:
        """When to call `on_timer`, or None if it is not the sender's turn."""
        if not self._waits:
            return None
        stall_due_s = self._patience.stall_due_s
        ask_due_s = self._patience.ask_due_s
        return ask_due_s if stall_due_s is None else min(ask_due_s, stall_due_s)

    @property
    def _waits(self) -> bool:
        """Whether it is the sender's turn."""
        out = self._out
        if out.pending or out.whole:
            return True
        return self.finish is None and not (out.ready or out.checking or out.missing)

    @property
    def _awaited(self) -> str:
        """What is waited for, in words."""
        first = min((*self._out.pending, *self._out.whole), default=None)
        return "the end of the file" if first is None else f"chunk {first}"

    @property
    def _source_may_be_slow(self) -> bool:
        """Whether everything that is waited for may not exist yet, because the end of the stream is not known."""
        if self.geometry.size is not None:
            return False
        lacking = any(chunk.leaf is None for chunk in self._out.whole.values())
        return not lacking and all(i > self._out.highest_leaf for i in self._out.pending)

    # -- asking

    def begin(self, now_s: float) -> None:
        """Measure the link anew: a session has begun, or a pause is over."""
        self.window.reset()
        self._patience.start(now_s)
        self._unasked_bytes = 0
        self._want_end = self.finish is None and not self._out.missing

    def ask(self, now_s: float) -> list[wire.Pull]:
        """Return the requests that the window has room for."""
        room = self._room
        indexes = self._out.ask(room, now_s)
        first, leaves = self._out.lacking_leaves()
        if not (indexes or leaves or self._want_end):
            return []
        runs = runs_of(indexes)
        pulls = [
            self._pull(ranges=tuple(runs[at : at + limits.MAX_RANGES]))
            for at in range(0, len(runs), limits.MAX_RANGES)
        ]
        if leaves:
            pulls.append(self._pull(leaves_first=first, leaves_count=leaves))
        if self._want_end:
            pulls.append(self._pull())
        self._want_end = False
        self._patience.asked(now_s)
        return pulls

    @property
    def _room(self) -> int:
        """How many chunks to ask for now. Not for a few only: waiting for more room halves the control messages."""
        room = self.window.size - len(self._out)
        return 0 if room < max(1, self.window.size // 4) and self._out.pending else room

    @property
    def wants_to_ask(self) -> bool:
        """Whether `ask` would send a request."""
        out = self._out
        return (
            self._want_end
            or out.asks_again
            or bool(out.missing and self._room > 0)
            or any(chunk.leaf is None and not chunk.leaf_asked for chunk in out.whole.values())
        )

    def on_timer(self, now_s: float) -> str | None:
        """Mark for asking again what has not come, if it is time. Return for what it has stalled, once."""
        if not self._waits:
            return None
        stall_due_s, stalled = self._patience.stall_due_s, None
        if stall_due_s is not None and now_s >= stall_due_s:
            self._patience.stalled = True
            stalled = f"waiting for {self._awaited}"
        if now_s < self._patience.ask_due_s:
            return stalled
        asks = self._patience.ran_out(now_s, counts=not self._source_may_be_slow)
        if asks > self._policy.max_silent_asks:
            self._fail(f"{self._awaited} was asked for {asks} times and never came")
        else:
            self._again()
        return stalled

    def _again(self) -> None:
        """Mark everything that is waited for to be asked for again."""
        self._want_end = self.finish is None
        # Each may come twice now, if the first answer was only late: that must not count as a flood.
        self._unasked_bytes -= len(self._out.pending) * self.geometry.sealed_bytes
        for chunk in self._out.pending.values():
            self._out.again(chunk)
        for chunk in self._out.whole.values():
            chunk.leaf_asked = False

    def drop(self) -> None:
        """Forget what was asked for and the parts that have arrived: nothing is taken until `begin`."""
        self._out.drop()

    def _pull(
        self,
        *,
        leaves_first: int = 0,
        leaves_count: int = 0,
        ranges: tuple[tuple[int, int], ...] = (),
    ) -> wire.Pull:
        """Return a request for chunks, or for leaves alone, or, with neither, for the end of the file."""
        return wire.Pull(
            file_id=self._file_id,
            leaves_first=leaves_first,
            leaves_count=leaves_count,
            ranges=ranges,
            ext={wire.HAVE: self.progress_bytes.to_bytes(wire.HAVE_BYTES, "big")},
        )

    # -- what comes

    def on_segment(self, segment: Segment, now_s: float) -> None:
        """Take a piece of a chunk."""
        chunk = self._out.pending.get(segment.index)
        if chunk is None:
            self.unasked(len(segment.data))
            return
        assembly = chunk.assembly
        reached = assembly.reached
        fit = assembly.put(segment.offset, segment.data, self.geometry.sealed_len(chunk.index))
        if assembly.reached > reached:
            if not reached:
                self.window.answered(now_s - chunk.asked_s)
            self._patience.heard(now_s, self.window.answer_s)
        if fit is Fit.WHOLE:
            self._whole(chunk, now_s)
        elif fit is Fit.GAP_AT_END:
            self._missed(chunk, "came with a gap")
        elif fit is Fit.TOO_LONG:
            self._strike(chunk, "is longer than its place in the file")
        elif fit is Fit.IGNORED:
            self.unasked(len(segment.data))

    def on_leaves(self, page: wire.Leaves) -> None:
        """Take a page of leaves: those of chunks that were asked for."""
        first, stop = page.first, page.first + len(page.leaves) // limits.LEAF_BYTES
        count = self.geometry.count
        if count is not None and stop > count:
            self._fail("the sender sent leaves beyond the end of the file")
        elif count is None and stop > self._limit_chunks:
            self._too_long()
        else:
            self._out.highest_leaf = max(self._out.highest_leaf, stop - 1)
            for index in range(first, stop):
                chunk = self._out.find(index)
                if chunk is not None:
                    at = (index - first) * limits.LEAF_BYTES
                    chunk.leaf = page.leaves[at : at + limits.LEAF_BYTES]
            self._out.promote(end_known=self.geometry.size is not None)

    def on_finish(self, finish: wire.Finish) -> bool:
        """Take size, count and root: believed once, and only if they fit the rest. True if new."""
        if self.finish is not None:
            if (finish.size, finish.root) != (self.finish.size, self.finish.root):
                self._fail("the sender named two different ends of the file")
            return False
        if self.geometry.size is None and finish.size > self._limit_bytes:
            self._too_long()
            return False
        lie = self._lie_in(finish)
        if lie is not None:
            self._fail(lie)
            return False
        self.finish = finish
        self.geometry = Geometry(self.geometry.chunk_log2, finish.size)
        self._want_end = False
        if not self._out.end_at(finish.count):
            self._fail("the sender sent a chunk beyond the end of the file")
            return False
        self._settle_last(finish.count - 1)
        self._out.promote(end_known=self.geometry.size is not None)
        return True

    def _too_long(self) -> None:
        cause = f"the stream is longer than the {self._limit_bytes} bytes accepted"
        if self._limit_bytes < limits.MAX_FILE_BYTES:
            self.excess = cause
        else:
            self._fail(cause)

    def _fail(self, cause: str) -> None:
        self.failure = self.failure or cause

    def _lie_in(self, finish: wire.Finish) -> str | None:
        count = finish.count
        if count != Geometry(self.geometry.chunk_log2, finish.size).count:
            return "the sender named a number of chunks that does not fit the size"
        if self.geometry.size not in (None, finish.size):
            return "the sender named another size than it offered"
        if self.have.stop > count:
            return "the sender named an end before what it had sent"
        went_on = count - 1 in self.have or count - 1 in self._out.checking
        if self.geometry.size is None and went_on:
            # It was checked as a chunk that is not the last. Only a lying sender ends the file there.
            return "the sender named an end where it had gone on"
        return None

    def _whole(self, chunk: Chunk, now_s: float) -> None:
        self._out.come_whole(chunk)
        self.window.arrived(chunk.assembly.received, now_s)
        self._out.promote(end_known=self.geometry.size is not None)
        for passed in self._out.passed_over(chunk.turn):
            self._missed(passed, "was passed over")

    def _settle_last(self, index: int) -> None:
        """Apply the length of the last chunk, known only now, to the part of it that has arrived."""
        chunk = self._out.find(index) or self._out.ready.get(index)
        if chunk is None:
            return
        expected = self.geometry.sealed_len(index)
        if chunk.assembly.received > expected:
            self._strike(chunk, "is longer than its place in the file")
        elif chunk.assembly.received == expected and index in self._out.pending:
            self._out.come_whole(chunk)

    def _missed(self, chunk: Chunk, how: str) -> None:
        chunk.misses += 1
        if chunk.misses > self._policy.max_misses:
            self._fail(f"chunk {chunk.index} {how} {chunk.misses} times")
        else:
            self._out.again(chunk)

    def _strike(self, chunk: Chunk, why: str) -> None:
        strikes = self._out.strike(chunk)
        if strikes >= self._policy.max_strikes:
            self._fail(f"chunk {chunk.index} was wrong {strikes} times: it {why}")

    def unasked(self, size_bytes: int) -> None:
        """Count data that nobody asked for: more than a few windows of it are an attack."""
        self._unasked_bytes += size_bytes
        limit = UNASKED_WINDOWS * self.window.largest * self.geometry.sealed_bytes
        if self._unasked_bytes > limit:
            self._fail("the sender floods the transfer with what was not asked for")

    # -- checking

    def check_batch(self) -> tuple[WholeChunk, ...]:
        """Hand out chunks to be checked, ascending."""
        chunks = []
        for index in sorted(self._out.ready)[:LANES]:
            chunk = self._out.ready.pop(index)
            self._out.checking[index] = chunk
            last = self.geometry.is_last(index)
            assembly = chunk.assembly
            whole = WholeChunk(
                index=index,
                last=last,
                leaf=chunk.leaf or b"",
                sealed=assembly.view(),
                block=assembly.block(),
            )
            chunks.append(whole)
        return tuple(chunks)

    def checked(self, good: Iterable[int], bad: Iterable[int], now_s: float) -> bool:
        """Note which of those handed out are written, and which were wrong. Return whether any is written."""
        news = False
        for index in good:
            chunk = self._out.checking.pop(index, None)
            if chunk is not None:
                self._out.done(chunk)
                self.have.add(index, index + 1)
                self._patience.good(now_s)
                self._unasked_bytes = min(0, self._unasked_bytes)
                news = True
        for index in bad:
            chunk = self._out.checking.get(index)
            if chunk is not None:
                self._strike(chunk, "does not fit its leaf")
        if self.finish is None and not (len(self._out) or self._out.missing):
            self._want_end = True  # Everything else is here.
        return news

    def unwritten(self, indexes: Iterable[int]) -> None:
        """Note which of those handed out could not be written."""
        for index in indexes:
            chunk = self._out.checking.pop(index, None)
            if chunk is not None:
                self._out.give_up(chunk)

"""The chunks a receiver has asked for: the state of each, and which must be asked for again.

    missing --ask--> pending --last byte--> whole --leaf, end known--> ready --> checking --> done
                        ^                                                            |
                        +---------------- passed over, cut or wrong -----------------+

All but `missing` count against the window, so memory is bounded by it. A chunk is passed over when
the sender has gone on to chunks that were asked for later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from peerpost.wire import limits

from .assembly import Allocate, Assembly, BufferPool
from .ranges import RangeSet

__all__ = ["Chunk", "Outstanding"]

PASSED_BY: Final = 8
"""A chunk counts as passed over once so many chunks that were asked for later are whole. Fewer prove
nothing: a sender that reads in batches may reorder that many."""


class Chunk:
    """A chunk that was asked for."""

    __slots__ = ("asked_s", "assembly", "index", "leaf", "leaf_asked", "misses", "turn")

    def __init__(self, index: int, pool: BufferPool) -> None:
        self.index = index
        self.assembly = Assembly(pool)
        self.leaf: bytes | None = None
        self.leaf_asked = False
        """Whether its leaf alone was asked for since the last timer."""
        self.asked_s = 0.0
        self.turn = 0
        """Position in the order of asking."""
        self.misses = 0
        """Times it was passed over or came with a gap."""


class Outstanding:
    """Every chunk that is not on disk."""

    __slots__ = (
        "_again", "_pool", "_turn", "checking", "highest_leaf", "missing", "pending", "ready",
        "strikes", "whole",
    )  # fmt: skip

    def __init__(self, missing: RangeSet, sealed_bytes: int, allocate: Allocate) -> None:
        self._pool = BufferPool(sealed_bytes, allocate)
        self._turn = 0
        self._again: dict[int, Chunk] = {}
        self.highest_leaf = -1
        """The highest chunk that the sender has announced in this session."""
        self.missing = missing
        self.pending: dict[int, Chunk] = {}
        """Asked for and not whole, in the order of asking."""
        self.whole: dict[int, Chunk] = {}
        """Complete, except that the leaf is missing, or that it is not known whether the chunk is the last."""
        self.ready: dict[int, Chunk] = {}
        """To be checked."""
        self.checking: dict[int, Chunk] = {}
        """Being opened and written elsewhere."""
        self.strikes: dict[int, int] = {}
        """Times a chunk was wrong; kept from session to session."""

    def __len__(self) -> int:
        """Return how many chunks hold, or may come to hold, a buffer."""
        return len(self.pending) + len(self.whole) + len(self.ready) + len(self.checking)

    @property
    def chunks(self) -> Iterator[Chunk]:
        """Every chunk that counts against the window."""
        for group in (self.pending, self.whole, self.ready, self.checking):
            yield from group.values()

    def find(self, index: int) -> Chunk | None:
        """Return a chunk that can still take a leaf."""
        return self.pending.get(index) or self.whole.get(index)

    def ask(self, room: int, now_s: float) -> list[int]:
        """Return what to ask for now, ascending: what must come again, and `room` new chunks."""
        asked = sorted(self._again)
        for chunk in self._again.values():
            self._mark(chunk, now_s)
        self._again = {}
        while room > 0 and (run := self.missing.pop_run(room)) is not None:
            first, count = run
            room -= count
            for index in range(first, first + count):
                chunk = Chunk(index, self._pool)
                self._mark(chunk, now_s)
                asked.append(index)
        asked.sort()
        return asked

    def _mark(self, chunk: Chunk, now_s: float) -> None:
        self._turn += 1
        chunk.turn, chunk.asked_s = self._turn, now_s
        # Removed and inserted again, so that the oldest request is always the first.
        self.pending.pop(chunk.index, None)
        self.pending[chunk.index] = chunk

    @property
    def asks_again(self) -> bool:
        """Whether some chunk must be asked for again now."""
        return bool(self._again)

    def again(self, chunk: Chunk) -> None:
        """Mark a pending chunk to be asked for again."""
        self._again[chunk.index] = chunk

    def lacking_leaves(self) -> tuple[int, int]:
        """Return (first, count) of leaves to ask for alone: their chunks are whole."""
        lacking = [c for c in self.whole.values() if c.leaf is None and not c.leaf_asked]
        if not lacking:
            return 0, 0
        for chunk in lacking:
            chunk.leaf_asked = True
        first = min(chunk.index for chunk in lacking)
        last = max(chunk.index for chunk in lacking)
        return first, min(last + 1 - first, limits.LEAVES_PER_PAGE)

    def come_whole(self, chunk: Chunk) -> None:
        """Note that a pending chunk has all its bytes."""
        del self.pending[chunk.index]
        self.whole[chunk.index] = chunk

    def promote(self, *, end_known: bool) -> None:
        """Make ready what is whole and has its leaf.

        Leaf and key of a chunk depend on whether it is the last, so that must be known first: from the
        size, or because a later chunk has been announced.
        """
        for chunk in list(self.whole.values()):
            if chunk.leaf is not None and (end_known or chunk.index < self.highest_leaf):
                self.ready[chunk.index] = self.whole.pop(chunk.index)

    def passed_over(self, turn: int) -> list[Chunk]:
        """Return the pending chunks that the sender skipped, now that the chunk asked for at `turn` is whole."""
        passed = []
        behind = turn if not self.missing else turn - PASSED_BY
        newest = next(reversed(self.pending.values()), None)
        if not self.missing and newest is not None and newest.turn > turn:
            behind = turn - PASSED_BY
        for chunk in self.pending.values():
            if chunk.turn >= behind:
                break
            if chunk.index not in self._again:
                passed.append(chunk)
        return passed

    def strike(self, chunk: Chunk) -> int:
        """Start a wrong chunk over, with its leaf; return how often it was wrong."""
        index = chunk.index
        for group in (self.whole, self.ready, self.checking):
            group.pop(index, None)
        chunk.assembly.drop()
        chunk.leaf, chunk.leaf_asked = None, False
        self.pending[index] = chunk
        self._again[index] = chunk
        self.strikes[index] = self.strikes.get(index, 0) + 1
        return self.strikes[index]

    def done(self, chunk: Chunk) -> None:
        """Forget a chunk that is on disk."""
        chunk.assembly.drop()
        self.strikes.pop(chunk.index, None)

    def give_up(self, chunk: Chunk) -> None:
        """Make one chunk that is being checked missing again."""
        chunk.assembly.drop()
        self.missing.add(chunk.index, chunk.index + 1)

    def drop(self) -> None:
        """Make all chunks missing again, except those being checked elsewhere, and free their memory."""
        for group in (self.pending, self.whole, self.ready):
            for chunk in group.values():
                self.give_up(chunk)
            group.clear()
        self._again.clear()
        self.highest_leaf = -1
        self._pool.clear()

    def end_at(self, count: int) -> bool:
        """Forget what was asked for beyond the end; return False if a chunk beyond it is already whole."""
        self.missing.remove(count, limits.MAX_CHUNKS + 1)
        for index in [index for index in self.pending if index >= count]:
            self.pending.pop(index).assembly.drop()
            self._again.pop(index, None)
        beyond = (*self.whole, *self.ready, *self.checking)
        return all(index < count for index in beyond)

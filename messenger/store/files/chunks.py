"""Many chunks at a time: hashed and sealed, opened and checked.

One call covers a batch, so that all lanes of the hash kernel are used and a thread works without the
GIL for most of the time. A chunk that `Sealer.open` calls good was decrypted under the key that its
leaf gives, and its plaintext has that leaf: the right bytes at the right place of the right file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from peerpost import fastpath
from peerpost.crypto import file as crypto
from peerpost.errors import ProtocolError
from peerpost.wire.limits import LEAF_BYTES, TAG_BYTES

__all__ = ["SealedChunk", "Sealer"]


class SealedChunk(Protocol):
    """A chunk as it lies on disk or came over the wire."""

    @property
    def index(self) -> int:
        """Number of the chunk."""

    @property
    def last(self) -> bool:
        """Whether the file ends with it."""

    @property
    def leaf(self) -> bytes:
        """What its plaintext must hash to."""

    @property
    def sealed(self) -> memoryview:
        """Ciphertext and tag."""

    @property
    def block(self) -> memoryview:
        """Buffer at whose start `sealed` lies."""


class Sealer:
    """The keys of one file."""

    def __init__(self, *, file_id: bytes, key: bytes, chunk_log2: int) -> None:
        """Take the offer's id, key and chunk size."""
        self.file_id = file_id
        self.chunk_bytes = 1 << chunk_log2
        self._key = key
        self._leaf_key = crypto.leaf_key(key)

    def leaves(self, first: int, plain: memoryview, *, last: bool) -> bytes:
        """Return the leaves of consecutive chunks. `last`: the file ends with `plain`."""
        return fastpath.leaves(
            plain,
            self.chunk_bytes,
            key=self._leaf_key,
            person=crypto.LEAF_PERSON,
            first_index=first,
            last=last,
        )

    def seal(self, first: int, plain: memoryview, leaves: bytes, *, last: bool) -> list[memoryview]:
        """Return consecutive chunks sealed, whose leaves are given."""
        sealed = []
        count = len(leaves) // LEAF_BYTES
        for at in range(count):
            chunk = plain[at * self.chunk_bytes : (at + 1) * self.chunk_bytes]
            leaf = leaves[LEAF_BYTES * at : LEAF_BYTES * (at + 1)]
            ends = last and at == count - 1
            sealed.append(
                memoryview(
                    crypto.seal_chunk(self._key, self.file_id, first + at, ends, leaf, chunk)
                )
            )
        return sealed

    def open(self, chunks: Sequence[SealedChunk], out: memoryview) -> list[bool]:
        """Open and check chunks, chunk i into `out` at i times the chunk size.

        Only the last chunk of the file may be short. Returns for each whether it is right.
        """
        opened = [self._decrypt(chunk, self._slot(out, at)) for at, chunk in enumerate(chunks)]
        at = 0
        while at < len(chunks):
            if not opened[at]:
                at += 1
                continue
            stop = at + 1
            while (
                stop < len(chunks)
                and opened[stop]
                and chunks[stop].index == chunks[stop - 1].index + 1
                and not chunks[stop - 1].last
            ):
                stop += 1
            self._check(chunks, at, stop, out, opened)
            at = stop
        return opened

    def _slot(self, out: memoryview, at: int) -> memoryview:
        return out[at * self.chunk_bytes : (at + 1) * self.chunk_bytes]

    def _decrypt(self, chunk: SealedChunk, slot: memoryview) -> bool:
        size = len(chunk.sealed) - TAG_BYTES
        if not 0 <= size <= self.chunk_bytes or (size < self.chunk_bytes and not chunk.last):
            return False
        try:
            crypto.open_chunk_into(
                self._key,
                self.file_id,
                chunk.index,
                chunk.last,
                chunk.leaf,
                chunk.sealed,
                slot[:size],
            )
        except ProtocolError:
            return False
        return True

    def _check(
        self,
        chunks: Sequence[SealedChunk],
        at: int,
        stop: int,
        out: memoryview,
        opened: list[bool],
    ) -> None:
        """Compare the consecutive chunks from `at` with their leaves; mark those that differ."""
        while at < stop:
            end = (stop - 1) * self.chunk_bytes + len(chunks[stop - 1].sealed) - TAG_BYTES
            bad = fastpath.verify(
                out[at * self.chunk_bytes : end],
                self.chunk_bytes,
                b"".join(chunk.leaf for chunk in chunks[at:stop]),
                key=self._leaf_key,
                person=crypto.LEAF_PERSON,
                first_index=chunks[at].index,
                last=chunks[stop - 1].last,
            )
            if bad < 0:
                return
            opened[at + bad] = False
            at += bad + 1

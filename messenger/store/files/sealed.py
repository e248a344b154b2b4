"""A sealed file on disk: the same layout for what is to be sent and for what was received.

    <id>.part or <id>    chunk i, ciphertext and tag, at i * (chunk size + 16, in whole blocks of 4 KiB)
    <id>.leaves          leaf i at 32 * i

Nothing on disk is plain, so a stolen disk shows sizes and times. A leaf stands there if and only if
its chunk was written, or was being written when the machine died: `rehash` tells which.

Received chunks are written past the page cache if the file system can do that. They are written once
and read much later, if ever, so they need no copy in memory; and many dirty pages would delay every
commit of the database.

Everything here blocks; the node runs it in threads. Reading is safe from several threads at once, and so is
checking and writing different chunks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from peerpost.crypto.labels import PERSON_ROOT
from peerpost.errors import ProtocolError, StorageError
from peerpost.fastpath import LANES
from peerpost.store import disk
from peerpost.system import open_private
from peerpost.wire.geometry import Geometry
from peerpost.wire.limits import CHUNK_LOG2, LEAF_BYTES

from .chunks import SealedChunk, Sealer

__all__ = ["End", "SealedFile", "root_of"]

BATCH_BYTES: Final = LANES << CHUNK_LOG2
"""Chunks of the usual size that are read, checked or written at a time: one for each lane of the hash kernel."""
PAGE_LEAVES: Final = 1 << 15
"""How many leaves are read at a time to compute a root: 1 MiB."""
_NO_LEAF: Final = bytes(LEAF_BYTES)
"""A hole in the leaves file: no chunk was written there. A real leaf has this value once in 2^256."""
LEAVES_SUFFIX: Final = ".leaves"


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Size, count and root of a file, as in Finish."""

    size: int
    count: int
    root: bytes


@dataclass(frozen=True, slots=True)
class _Stored:
    index: int
    last: bool
    leaf: bytes
    sealed: memoryview

    @property
    def block(self) -> memoryview:
        return self.sealed


class SealedFile:
    """One file of sealed chunks and its leaves, both open."""

    def __init__(self, path: Path, sealer: Sealer, *, data_fd: int, leaves_fd: int) -> None:
        """Take ownership of two open files; `create` and `open` are what callers use."""
        self.path = path
        self.sealer = sealer
        self._data_fd = data_fd
        self._leaves_fd = leaves_fd
        self._direct_fd: int | None = None
        self._direct = True
        """Whether the file system takes direct writes, as far as is known."""
        self._batch = max(1, BATCH_BYTES // sealer.chunk_bytes)
        self._scratches: list[memoryview] = []
        self._flushing = threading.Lock()
        self.flush_failed = False
        """Whether written data may be lost, because an fsync failed. The system reports that once; the next fsync
        reports success although the data is not on the disk.

        Nothing of the file may be trusted then until it was opened again and re-hashed.
        """

    @classmethod
    def create(cls, path: Path, sealer: Sealer) -> SealedFile:
        """Create both files, private to their owner. Raises StorageError if one exists."""
        return cls._open(path, sealer, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    @classmethod
    def open(cls, path: Path, sealer: Sealer, *, writable: bool = False) -> SealedFile:
        """Open both files. Raises StorageError if one is missing."""
        return cls._open(path, sealer, os.O_RDWR if writable else os.O_RDONLY)

    @classmethod
    def _open(cls, path: Path, sealer: Sealer, flags: int) -> SealedFile:
        with disk.errors(f"cannot open the sealed file {path.name}"):
            data_fd = open_private(path, flags)
            try:
                leaves_fd = open_private(path.with_suffix(LEAVES_SUFFIX), flags)
            except OSError:
                os.close(data_fd)
                if flags & os.O_CREAT:
                    path.unlink()
                raise
        sealed = cls(path, sealer, data_fd=data_fd, leaves_fd=leaves_fd)
        if flags & os.O_RDWR:
            sealed._direct_fd = disk.open_direct(path)
        return sealed

    def close(self) -> None:
        """Close both files. Closing twice is harmless."""
        for fd in (self._data_fd, self._leaves_fd):
            if fd >= 0:
                os.close(fd)
        self._data_fd = self._leaves_fd = -1
        if self._direct_fd is not None:
            os.close(self._direct_fd)
            self._direct_fd = None
        self._scratches.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def geometry(self, size: int | None) -> Geometry:
        """Return where the chunks lie."""
        return Geometry(self.sealer.chunk_bytes.bit_length() - 1, size)

    # -- raw

    def read_chunks(self, first: int, count: int, size: int | None) -> list[memoryview]:
        """Return `count` sealed chunks from `first` in one read; chunks that are not there are short or empty."""
        geometry = self.geometry(size)
        step, sealed_bytes = self._step, geometry.sealed_bytes
        total = (count - 1) * step + geometry.sealed_len(first + count - 1)
        with disk.errors("cannot read a sealed file"):
            data = memoryview(disk.read_at(self._data_fd, total, first * step))
        return [data[at * step :][:sealed_bytes] for at in range(count)]

    @property
    def _step(self) -> int:
        """Bytes from the position of one chunk to that of the next."""
        sealed_bytes = self.geometry(None).sealed_bytes
        return -(-sealed_bytes // disk.BLOCK_BYTES) * disk.BLOCK_BYTES

    def read_leaves(self, first: int, count: int) -> bytes:
        """Return the leaves from `first` on: up to `count`, fewer at the end of the file."""
        with disk.errors("cannot read a leaf list"):
            return disk.read_at(self._leaves_fd, LEAF_BYTES * count, LEAF_BYTES * first)

    def write_chunks(self, first: int, sealed: Sequence[memoryview], leaves: bytes) -> None:
        """Write consecutive sealed chunks, all but the file's last of full size, and their leaves.

        Raises StoreFullError or StorageError.
        """
        step = self._step
        gap = memoryview(bytes(step - self.geometry(None).sealed_bytes))
        buffers = [part for chunk in sealed for part in (chunk, gap)]
        with disk.errors("cannot write a sealed file"):
            disk.write_at(self._data_fd, buffers[:-1], first * step)
            disk.write_at(self._leaves_fd, [memoryview(leaves)], first * LEAF_BYTES)

    def sync(self) -> None:
        """Make everything written survive a power cut. Raises StorageError; after a failure, every time."""
        self._flush(self._data_fd, self._leaves_fd)

    def flush_chunks(self) -> None:
        """Make the chunks, not yet their leaves, survive a power cut, so that `sync` takes less time."""
        self._flush(self._data_fd)

    def _flush(self, *fds: int) -> None:
        # One thread at a time: of two that flush at once, only one would get the error.
        with self._flushing, disk.errors("cannot flush a sealed file"):
            if self.flush_failed:
                raise StorageError("cannot flush a sealed file: it has failed before")
            self.flush_failed = True
            for fd in fds:
                disk.sync_data(fd)
            self.flush_failed = False

    # -- checked

    def verify(self, chunks: Sequence[SealedChunk]) -> tuple[list[SealedChunk], list[int]]:
        """Open and check chunks in ascending order; return those that are right, and the indexes of the others.

        This does no I/O.
        """
        count = min(len(chunks), self._batch)
        scratch = self._scratches.pop() if self._scratches else memoryview(b"")
        if len(scratch) < count * self.sealer.chunk_bytes:
            scratch = memoryview(bytearray(count * self.sealer.chunk_bytes))
        right: list[bool] = []
        for at in range(0, len(chunks), self._batch):
            right += self.sealer.open(chunks[at : at + self._batch], scratch)
        self._scratches.append(scratch)
        good = [chunk for chunk, fine in zip(chunks, right, strict=True) if fine]
        return good, [chunk.index for chunk, fine in zip(chunks, right, strict=True) if not fine]

    def write_verified(self, chunks: Sequence[SealedChunk]) -> None:
        """Write chunks that `verify` found right, and their leaves.

        Raises StoreFullError or StorageError: then none of them counts as written.
        """
        for run in _consecutive(chunks):
            self._write_run(run)

    def _write_run(self, run: Sequence[SealedChunk]) -> None:
        """Write consecutive right chunks, past the page cache if that is possible."""
        leaves = b"".join(chunk.leaf for chunk in run)
        step = self._step
        whole = [chunk.block for chunk in run if len(chunk.block) == step]
        # The last chunk of a file may be short. The rest of its block is undefined and must not be written.
        direct_fd = self._direct_fd if self._direct else None
        if direct_fd is None or len(whole) != len(run) or run[-1].last:
            self.write_chunks(run[0].index, [chunk.sealed for chunk in run], leaves)
            return
        try:
            disk.write_at(direct_fd, whole, run[0].index * step)
        except OSError as error:
            if error.errno != errno.EINVAL:
                with disk.errors("cannot write a sealed file"):
                    raise
            # Some file systems report only now that they do not support direct writes. Do not close the descriptor:
            # another thread may be using it.
            self._direct = False
            self._write_run(run)
            return
        with disk.errors("cannot write a sealed file"):
            disk.write_at(self._leaves_fd, [memoryview(leaves)], run[0].index * LEAF_BYTES)

    def rehash(self, size: int | None) -> bytes:
        """Open and check all that is on disk; return the bitmap of the chunks that are right.

        `size` is None if the end is not known. A wrong chunk is no error: it was being written.
        """
        geometry = self.geometry(size)
        with disk.errors("cannot read a sealed file"):
            for fd in (self._data_fd, self._leaves_fd):
                disk.forget_cached(fd)
            stored = -(-os.fstat(self._data_fd).st_size // self._step)
        count = geometry.count or stored
        bitmap = bytearray((count + 7) // 8)
        scratch = memoryview(bytearray(self._batch * self.sealer.chunk_bytes))
        for batch in self._stored(min(count, stored), geometry):
            for chunk, right in zip(batch, self.sealer.open(batch, scratch), strict=True):
                if right:
                    bitmap[chunk.index // 8] |= 1 << chunk.index % 8
        return bytes(bitmap)

    def root(self, count: int) -> bytes:
        """Return the root over the first `count` leaves."""
        return root_of(self._leaves_fd, count)

    def plain(self, end: End) -> Iterator[memoryview]:
        """Yield the plaintext in order, each piece checked; a piece is valid until the next.

        Raises StorageError naming the chunk that is damaged.
        """
        geometry = self.geometry(end.size)
        if geometry.count != end.count or self.root(end.count) != end.root:
            raise StorageError("the leaf list of the stored file is damaged")
        scratch = memoryview(bytearray(min(self._batch, end.count) * self.sealer.chunk_bytes))
        done = 0
        for batch in self._stored(end.count, geometry):
            right = self.sealer.open(batch, scratch)
            for at, chunk in enumerate(batch):
                if chunk.index != done + at or not right[at]:
                    raise StorageError(f"chunk {done + at} of the stored file is damaged")
            done += len(batch)
            yield scratch[: geometry.plain_total(batch[0].index, len(batch))]
        if done != end.count:
            raise StorageError(f"chunk {done} of the stored file is damaged")

    def read_plain(self, first: int, count: int, size: int | None) -> memoryview:
        """Return the plaintext of `count` chunks from `first`, checked.

        `size` is None while the file still grows. Raises StorageError naming the chunk that is
        damaged.
        """
        geometry = self.geometry(size)
        leaves = self.read_leaves(first, count).ljust(LEAF_BYTES * count, b"\0")
        sealed = self.read_chunks(first, count, size)
        chunks = [
            _Stored(
                first + at,
                geometry.is_last(first + at),
                leaves[LEAF_BYTES * at : LEAF_BYTES * (at + 1)],
                sealed[at],
            )
            for at in range(count)
        ]
        plain = memoryview(bytearray(geometry.plain_total(first, count)))
        right = self.sealer.open(chunks, plain)
        if not all(right):
            raise StorageError(f"chunk {first + right.index(False)} of the stored file is damaged")
        return plain

    def read_out(self, end: End, take: Callable[[memoryview], object]) -> bytes:
        """Hand the plaintext over piece by piece, each checked before; return its BLAKE2b-256 (as b2sum -l 256).

        Raises StorageError naming the chunk that is damaged; what was handed over before it is right.
        """
        digest = hashlib.blake2b(digest_size=32)
        for piece in self.plain(end):
            take(piece)
            digest.update(piece)
        return digest.digest()

    def finish(self, end: End, final: Path) -> None:
        """Check the root, flush, and move the file to its final name in the same folder.

        After a crash it can be called again, and does the rest. Raises ProtocolError if the leaves do
        not give the root, StorageError if the disk fails.
        """
        if self.root(end.count) != end.root:
            raise ProtocolError("the leaves do not add up to the root that the sender named")
        with disk.errors("cannot finish a received file"):
            geometry = self.geometry(end.size)
            last = geometry.sealed_len(end.count - 1)
            os.ftruncate(self._data_fd, (end.count - 1) * self._step + last)
            os.ftruncate(self._leaves_fd, LEAF_BYTES * end.count)
            self.sync()
            if self.path != final:
                self.path.replace(final)
                self.path = final
            disk.sync_folder(final.parent)

    def _stored(self, count: int, geometry: Geometry) -> Iterator[list[_Stored]]:
        """Yield those of the first `count` chunks that are on disk, in consecutive runs of at most a batch."""
        for first in range(0, count, self._batch):
            leaves = self.read_leaves(first, min(self._batch, count - first))
            leaves += bytes(-len(leaves) % LEAF_BYTES)
            there = [
                index
                for index in range(first, first + len(leaves) // LEAF_BYTES)
                if leaves[LEAF_BYTES * (index - first) :][:LEAF_BYTES] != _NO_LEAF
            ]
            if not there:
                continue
            sealed = self.read_chunks(there[0], there[-1] + 1 - there[0], geometry.size)
            batch = [
                _Stored(
                    index,
                    geometry.is_last(index),
                    leaves[LEAF_BYTES * (index - first) :][:LEAF_BYTES],
                    sealed[index - there[0]],
                )
                for index in there
            ]
            yield batch


def root_of(leaves_fd: int, count: int) -> bytes:
    """Return the root over the first `count` leaves of an open leaves file. Raises StorageError."""
    digest = hashlib.blake2b(digest_size=32, person=PERSON_ROOT)
    with disk.errors("cannot read a leaf list"):
        for first in range(0, count, PAGE_LEAVES):
            size = LEAF_BYTES * min(PAGE_LEAVES, count - first)
            digest.update(disk.read_at(leaves_fd, size, LEAF_BYTES * first))
    return digest.digest()


def _consecutive(chunks: Sequence[SealedChunk]) -> Iterator[Sequence[SealedChunk]]:
    start = 0
    for at in range(1, len(chunks) + 1):
        if at == len(chunks) or chunks[at].index != chunks[at - 1].index + 1:
            yield chunks[start:at]
            start = at

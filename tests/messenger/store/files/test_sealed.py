"""Sealed files: what goes in comes out, and nothing else does."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from pathlib import Path

import pytest

from peerpost import system
from peerpost.errors import ProtocolError, StorageError
from peerpost.store import disk
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import End, SealedFile
from peerpost.store.files.spool import SpoolSource, spool
from tests.support.chunk import root

LOG2 = 14
CHUNK = 1 << LOG2
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 8 * CHUNK, 9 * CHUNK, 9 * CHUNK + 5, 300 * CHUNK + 77]


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def sealer(seed: int = 1) -> Sealer:
    draw = random.Random(seed)
    return Sealer(file_id=draw.randbytes(16), key=draw.randbytes(32), chunk_log2=LOG2)


def spooled(folder: Path, data: bytes, keys: Sealer) -> tuple[SealedFile, End]:
    source = folder / "source"
    source.write_bytes(data)
    sealed = SealedFile.create(folder / "out", keys)
    with source.open("rb") as file:
        return sealed, spool(file.fileno(), sealed)


def saved(sealed: SealedFile, end: End, folder: Path) -> bytes:
    target = folder / "saved"
    with target.open("wb") as file:
        sealed.read_out(end, file.write)
    return target.read_bytes()


def received(folder: Path, source: SealedFile, end: End) -> SealedFile:
    """Return a part into which every chunk of `source` was written, in a random order."""
    part = SealedFile.create(folder / "in.part", source.sealer)
    chunks = stored_chunks(source, end)
    random.Random(2).shuffle(chunks)
    for at in range(0, len(chunks), 40):
        batch = sorted(chunks[at : at + 40], key=lambda chunk: chunk.index)
        good, bad = part.verify(batch)
        assert (good, bad) == (batch, [])
        part.write_verified(good)
    return part


class Chunk:
    def __init__(self, index: int, last: bool, leaf: bytes, sealed: memoryview) -> None:
        self.index, self.last, self.leaf, self.sealed = index, last, leaf, sealed
        self.block = disk.aligned_buffer(len(sealed))  # as of a transfer: written directly
        self.block[: len(sealed)] = sealed


def stored_chunks(source: SealedFile, end: End) -> list[Chunk]:
    sealed = source.read_chunks(0, end.count, end.size)
    leaves = source.read_leaves(0, end.count)
    return [
        Chunk(i, i == end.count - 1, leaves[32 * i : 32 * i + 32], sealed[i])
        for i in range(end.count)
    ]


@pytest.mark.parametrize("size", SIZES)
def test_spool_receive_save(tmp_path: Path, size: int) -> None:
    data = content(size)
    source, end = spooled(tmp_path, data, sealer())
    assert (end.size, end.count) == (size, max(1, -(-size // CHUNK)))
    assert end.root == root(source.read_leaves(0, end.count))
    assert saved(source, end, tmp_path) == data
    part = received(tmp_path, source, end)
    assert part.rehash(size) == _all_set(end.count)
    part.finish(end, tmp_path / "in")
    assert not (tmp_path / "in.part").exists()
    part.finish(end, tmp_path / "in")
    part.close()
    with SealedFile.open(tmp_path / "in", sealer()) as again:
        assert saved(again, end, tmp_path) == data
        assert again.read_out(end, len) == hashlib.blake2b(data, digest_size=32).digest()
    source.close()
    source.close()


def test_two_sides_have_the_same_bytes_on_disk(tmp_path: Path) -> None:
    source, end = spooled(tmp_path, content(40 * CHUNK + 9), sealer())
    received(tmp_path, source, end).close()
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in.part").read_bytes()
    assert (tmp_path / "out.leaves").read_bytes() == (tmp_path / "in.leaves").read_bytes()
    assert content(40 * CHUNK)[:64] not in (tmp_path / "out").read_bytes()


@pytest.mark.parametrize("what", ["flip", "leaf", "moved", "cut", "last", "foreign", "other leaf"])
def test_a_wrong_chunk_is_not_written(tmp_path: Path, what: str) -> None:
    source, end = spooled(tmp_path, content(9 * CHUNK + 100), sealer())
    chunks = stored_chunks(source, end)
    victim = chunks[4]
    if what == "flip":
        data = bytearray(victim.sealed)
        data[1234] ^= 1
        victim.sealed = memoryview(data)
    elif what == "leaf":
        victim.leaf = bytes(32)
    elif what == "moved":
        victim.sealed, victim.leaf = chunks[5].sealed, chunks[5].leaf
    elif what == "cut":
        victim.sealed = victim.sealed[:-1]
    elif what == "last":
        victim.last = True
    elif what == "foreign":
        plain = memoryview(content(CHUNK, 9))
        other = sealer(2)
        victim.leaf = other.leaves(4, plain, last=False)
        victim.sealed = other.seal(4, plain, victim.leaf, last=False)[0]
    else:
        # A sender that seals one thing and announces the leaf of another: only the hash tells.
        plain = memoryview(content(CHUNK, 9))
        victim.sealed = source.sealer.seal(4, plain, victim.leaf, last=False)[0]
    part = SealedFile.create(tmp_path / "in.part", source.sealer)
    good, bad = part.verify(chunks)
    assert bad == [4]
    assert [chunk.index for chunk in good] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    part.write_verified(good)
    assert part.rehash(end.size) == bytes([0b11101111, 0b11])
    with pytest.raises(ProtocolError):
        part.finish(end, tmp_path / "in")
    assert (tmp_path / "in.part").exists()
    with pytest.raises(StorageError):
        list(part.plain(end))


@pytest.mark.parametrize("index", [0, 3, 17, 39, 40])
@pytest.mark.parametrize("where", ["data", "leaf", "gone"])
def test_damage_on_disk_is_found_and_named(tmp_path: Path, index: int, where: str) -> None:
    source, end = spooled(tmp_path, content(40 * CHUNK + 9), sealer())
    path = tmp_path / ("out" if where == "data" else "out.leaves")
    step = CHUNK + disk.BLOCK_BYTES if where == "data" else 32
    raw = bytearray(path.read_bytes())
    if where == "gone":
        raw[step * index : step * index + 32] = bytes(32)
    else:
        raw[step * index + 5] ^= 0x40
    path.write_bytes(raw)
    bitmap = source.rehash(end.size)
    assert [i for i in range(end.count) if not bitmap[i // 8] >> i % 8 & 1] == [index]
    with pytest.raises(StorageError, match=f"chunk {index}|leaf list"):
        saved(source, end, tmp_path)
    end_of_damaged = End(size=end.size, count=end.count, root=source.root(end.count))
    with pytest.raises(StorageError, match=f"chunk {index} "):
        saved(source, end_of_damaged, tmp_path)
    assert content(end.size).startswith((tmp_path / "saved").read_bytes())


def test_rehash_finds_what_a_killed_receiver_had_written(tmp_path: Path) -> None:
    source, end = spooled(tmp_path, content(100 * CHUNK + 9), sealer())
    part = SealedFile.create(tmp_path / "in.part", source.sealer)
    chunks = stored_chunks(source, end)
    part.write_verified(part.verify(chunks[3:11] + chunks[60:61])[0])
    part.write_chunks(70, [memoryview(bytes(CHUNK // 2))], b"")  # torn: data without a leaf
    os.pwrite(os.open(tmp_path / "in.leaves", os.O_WRONLY), chunks[71].leaf, 32 * 71)
    part.close()
    with SealedFile.open(tmp_path / "in.part", source.sealer, writable=True) as again:
        for size in (end.size, None):
            bitmap = again.rehash(size)
            there = [i for i in range(8 * len(bitmap)) if bitmap[i // 8] >> i % 8 & 1]
            assert there == [*range(3, 11), 60]


def test_of_a_stream_the_last_chunk_counts_only_once_the_end_is_known(tmp_path: Path) -> None:
    source, end = spooled(tmp_path, content(3 * CHUNK), sealer())
    part = received(tmp_path, source, end)
    assert part.rehash(None) == bytes([0b011])
    assert part.rehash(end.size) == bytes([0b111])


def test_a_pipe_is_spooled_as_it_comes(tmp_path: Path) -> None:
    data = content(5 * CHUNK + 3)
    seen: list[tuple[int, int]] = []
    reading, writing = os.pipe()
    sealed = SealedFile.create(tmp_path / "out", sealer())
    parts = [data[: CHUNK + 1], data[CHUNK + 1 : 3 * CHUNK], data[3 * CHUNK :]]

    def feed(available: int, size: int) -> None:
        seen.append((available, size))
        if parts:
            os.write(writing, parts.pop(0))
        else:
            os.close(writing)

    os.write(writing, parts.pop(0))
    os.set_inheritable(writing, False)
    end = spool(reading, sealed, on_chunks=feed)
    os.close(reading)
    assert [available for available, _ in seen] == [1, 2, 5]
    assert saved(sealed, end, tmp_path) == data
    grown = SpoolSource(sealed, size=None)
    assert [len(c) for c in grown.read(0, 2).sealed] == [CHUNK + 16] * 2
    grown.ended(end)
    assert [len(c) for c in grown.read(4, 2).sealed] == [CHUNK + 16, 3 + 16]
    assert grown.read_leaves(4, 99) == sealed.read_leaves(4, 2)
    grown.close()


def test_files_are_private_and_never_replaced(tmp_path: Path) -> None:
    SealedFile.create(tmp_path / "a", sealer()).close()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "a.leaves").stat().st_mode & 0o777 == 0o600
    with pytest.raises(StorageError):
        SealedFile.create(tmp_path / "a", sealer())
    (tmp_path / "b.leaves").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        SealedFile.create(tmp_path / "b", sealer())
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(StorageError):
        SealedFile.open(tmp_path / "nothing", sealer())


def _all_set(count: int) -> bytes:
    return ((1 << count) - 1).to_bytes((count + 7) // 8, "little")


def test_a_flush_that_has_failed_is_never_a_success_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system tells of what was lost once, to whoever asks first: here the chunks, and then the whole."""
    source, end = spooled(tmp_path, content(9 * CHUNK), sealer())
    part = received(tmp_path, source, end)
    told: list[int] = []
    flush = system.fdatasync

    def once(fd: int) -> None:
        if not told:
            told.append(fd)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(fd)

    monkeypatch.setattr(system, "fdatasync", once)
    with pytest.raises(StorageError, match="Input/output error"):
        part.flush_chunks()
    for again in (part.flush_chunks, part.sync, lambda: part.finish(end, tmp_path / "in")):
        with pytest.raises(StorageError, match="failed before"):
            again()
    assert part.flush_failed
    assert not (tmp_path / "in").exists()
    part.close()
    with SealedFile.open(tmp_path / "in.part", source.sealer, writable=True) as anew:
        assert anew.rehash(end.size) == _all_set(end.count)
        anew.finish(end, tmp_path / "in")

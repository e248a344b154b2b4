"""Files sent from where they lie: what was queued is what is sent, or nothing is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace as replace_fields
from pathlib import Path

import pytest

from peerpost.errors import NoInputError, SourceChangedError
from peerpost.store.files import resealed
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.reference import Reference, ReferenceSource, describe
from peerpost.store.files.resealed import Piece
from peerpost.store.files.sealed import SealedFile
from peerpost.store.files.spool import spool

LOG2 = 14
CHUNK = 1 << LOG2
SIZE = 20 * CHUNK + 5
KEYS = Sealer(file_id=b"f" * 16, key=b"k" * 32, chunk_log2=LOG2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(os.urandom(SIZE))
    return path


def queue(path: Path) -> Reference:
    with path.open("rb") as file:
        return describe(file.fileno(), str(path))


def open_source(path: Path, reference: Reference | None = None) -> ReferenceSource:
    return ReferenceSource(reference or queue(path), KEYS, path.with_name("leaves"))


def test_it_seals_what_a_spool_would(path: Path, tmp_path: Path) -> None:
    with SealedFile.create(tmp_path / "spool", KEYS) as sealed, path.open("rb") as file:
        end = spool(file.fileno(), sealed)
        chunks = [bytes(chunk) for chunk in sealed.read_chunks(0, end.count, end.size)]
        leaves = sealed.read_leaves(0, end.count)
    source = open_source(path)
    piece = source.read(18, 3)
    assert [bytes(chunk) for chunk in piece.sealed] == chunks[18:]
    assert piece.leaves == leaves[32 * 18 :]
    assert source.read_leaves(3, 1000) == leaves[32 * 3 :]
    assert source.find_end() == end
    source.close()
    again = open_source(path)  # The leaves of an earlier run are there, and not trusted.
    path.with_name("leaves").write_bytes(bytes(32 * 21))
    assert again.find_end() == end
    again.close()


@pytest.mark.parametrize("size", [0, 1, CHUNK, 9 * CHUNK])
def test_sizes_at_the_edges(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)
    source = open_source(path)
    end = source.find_end()
    assert (end.size, end.count) == (size, max(1, -(-size // CHUNK)))
    assert len(source.read(0, end.count).sealed) == end.count
    source.close()


def cached(source: ReferenceSource, first: int, count: int) -> Piece:
    piece = source.read_cached(first, count)
    if piece is None:
        pytest.skip("this file system tells nothing of what is in memory")
    return piece


def test_what_is_in_memory_is_read_the_same_without_waiting(path: Path) -> None:
    source, other = open_source(path), open_source(path)
    for first, count in ((0, 8), (8, 4), (20, 1)):
        piece, usual = cached(source, first, count), other.read(first, count)
        assert (piece.first, piece.leaves) == (usual.first, usual.leaves)
        assert list(map(bytes, piece.sealed)) == list(map(bytes, usual.sealed))
    touch(path)
    with pytest.raises(SourceChangedError):
        source.read_cached(12, 2)
    os.truncate(path, CHUNK)
    assert source.read_cached(12, 2) is None
    source.close()
    other.close()


def test_a_system_without_such_reads_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "RWF_NOWAIT", raising=False)
    source = open_source(path)
    assert source.read_cached(0, 2) is None
    source.close()


def test_leaves_that_are_noted_count_as_kept(path: Path) -> None:
    source, other = open_source(path), open_source(path)
    pieces = [other.seal(first, other.load(first, 2)) for first in range(0, 20, 2)]
    assert all(source.note(piece) for piece in pieces[:5])
    assert not source.note(pieces[7]), "it does not follow"
    assert not source.note(pieces[4]), "it is known already"
    source.keep(pieces[4])
    assert source.note(pieces[7])
    lying = Piece(first=14, leaves=bytes(64), sealed=pieces[7].sealed)
    with pytest.raises(SourceChangedError):
        source.keep(lying)
    assert source.read_leaves(0, 21) == other.read_leaves(0, 21)
    assert source.find_end() == other.find_end()
    source.close()
    other.close()


def test_few_leaves_are_held_in_memory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealed, "_NOTED_BYTES", 128)
    source = open_source(path)
    pieces = [source.seal(first, source.load(first, 2)) for first in range(0, 8, 2)]
    assert [source.note(piece) for piece in pieces] == [True, True, False, False]
    source.keep(pieces[2])
    assert source.note(pieces[3])
    source.close()


def open_fds() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def touch(path: Path) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def replace(path: Path) -> None:
    status = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def rewrite_unseen(path: Path) -> None:
    """Change a byte and put the time back: only the time of the last change of any kind tells."""
    status = path.stat()
    with path.open("r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES: list[Callable[[Path], object]] = [
    touch,
    replace,
    Path.unlink,
    lambda path: os.truncate(path, SIZE - 1),
    lambda path: os.truncate(path, SIZE + 1),
    lambda path: (path.unlink(), path.mkdir()),
    lambda path: (path.unlink(), os.mkfifo(path)),
]
NAMES = ["touched", "replaced", "gone", "shorter", "longer", "a folder", "a pipe"]


@pytest.mark.parametrize("change", CHANGES, ids=NAMES)
def test_a_file_that_changed_before_it_was_opened_is_not_sent(
    path: Path, change: Callable[[Path], object]
) -> None:
    reference = queue(path)
    change(path)
    before = open_fds()
    with pytest.raises(SourceChangedError):
        open_source(path, reference)
    assert open_fds() == before


@pytest.mark.parametrize(
    "change", [touch, CHANGES[3], CHANGES[4]], ids=["touched", "shorter", "longer"]
)
def test_a_file_that_changes_while_it_is_sent_ends_it(
    path: Path, change: Callable[[Path], object]
) -> None:
    source = open_source(path)
    source.read(0, 2)
    change(path)
    for read in (lambda: source.read(18, 3), lambda: source.read_leaves(4, 1), source.find_end):
        with pytest.raises(SourceChangedError, match="changed after it was queued") as raised:
            read()
        # The contact reads it, and is not told where the file lies.
        assert str(path.parent) not in raised.value.message
        assert path.name in raised.value.message
    source.close()


def test_a_change_whose_time_was_put_back_is_noticed(path: Path) -> None:
    source = open_source(path)
    source.read(0, 2)
    rewrite_unseen(path)
    with pytest.raises(SourceChangedError):
        source.read(2, 1)
    source.close()


def test_a_chunk_that_reads_otherwise_the_second_time_is_noticed(path: Path) -> None:
    # As a version before this one has queued it.
    source = open_source(path, replace_fields(queue(path), ctime_ns=None))
    source.read(0, 2)
    rewrite_unseen(path)
    source.read(1, 2)
    with pytest.raises(SourceChangedError):
        source.read(0, 1)
    source.close()


def test_a_file_that_is_replaced_while_it_is_open_is_sent_as_it_was(path: Path) -> None:
    source = open_source(path)
    end = source.find_end()
    replace(path)
    path.write_bytes(b"other")
    assert source.find_end() == end
    source.close()


def test_only_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    fd = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(NoInputError):
        describe(fd, "pipe")
    os.close(fd)


def test_closing_waits_for_who_still_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(path)
    reading, go_on = threading.Event(), threading.Event()
    leaves = Sealer.leaves

    def slow(self: Sealer, first: int, plain: memoryview, *, last: bool) -> bytes:
        reading.set()
        assert go_on.wait(30)
        return leaves(self, first, plain, last=last)

    monkeypatch.setattr(Sealer, "leaves", slow)
    outcome: list[object] = []

    def find_end() -> None:
        try:
            outcome.append(source.find_end())
        except NoInputError as error:
            outcome.append(error)

    thread = threading.Thread(target=find_end, daemon=True)
    thread.start()
    assert reading.wait(30)
    source.close()
    source.close()
    os.fstat(source._fd)
    go_on.set()
    thread.join(30)
    assert isinstance(outcome[0], NoInputError)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(source._fd)
    with pytest.raises(NoInputError):
        source.read(0, 1)

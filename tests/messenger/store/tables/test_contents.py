"""Contents of the spool: known again by their bytes, kept as long as a transfer needs them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from peerpost.errors import StorageError
from peerpost.store.db import engine
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.sealed import SealedFile
from peerpost.store.files.spool import SharedSource, SpoolSource, digest_of, spool
from peerpost.store.tables import contacts, contents, transfers
from peerpost.store.tables.contents import Content
from tests.support.store_rig import NOW_MS, Rig

LOG2 = 14
CHUNK = 1 << LOG2
DIGEST = bytes([9]) * 32


def content(number: int, digest: bytes | None = DIGEST, chunk_log2: int = LOG2) -> Content:
    return Content(
        id=bytes([number]) * 16, key=bytes(32), chunk_log2=chunk_log2, size=5, digest=digest
    )


def send(rig: Rig, contact_id: str, number: int, content_id: bytes) -> transfers.Transfer:
    """Note a transfer of a content."""
    file_id = bytes([number]) * 16
    rig.write(
        transfers.add_outgoing,
        contact_id=contact_id,
        file_id=file_id,
        key=bytes(32),
        chunk_log2=LOG2,
        name="a",
        as_text=False,
        size=5,
        finish=None,
        source=None,
        now_ms=NOW_MS,
        content_id=content_id,
    )
    row = rig.read(transfers.get, contact_id, file_id, incoming=False)
    assert row is not None
    return row


# -- rows


def test_the_same_bytes_are_kept_once(rig: Rig) -> None:
    first = rig.write(contents.add, content(1))
    assert rig.write(contents.add, content(2)) == first
    assert rig.read(contents.by_digest, DIGEST, LOG2) == first
    assert rig.read(contents.by_digest, DIGEST, LOG2 + 1) is None
    assert rig.write(contents.add, content(3, chunk_log2=LOG2 + 1)).id == bytes([3]) * 16
    assert rig.read(contents.missing, [bytes([n]) * 16 for n in (1, 2, 3)]) == [bytes([2]) * 16]
    assert rig.read(contents.has_size, 5)
    assert not rig.read(contents.has_size, 6)


def test_what_has_no_digest_is_not_shared(rig: Rig) -> None:
    for number in (1, 2):
        assert rig.write(contents.add, content(number, None)).id == bytes([number]) * 16
    assert not rig.read(contents.has_size, 5)


def test_a_digest_tells_nothing_to_another_home(tmp_path: Path, rig: Rig) -> None:
    key = rig.write(contents.digest_key)
    assert rig.write(contents.digest_key) == key
    (tmp_path / "other").mkdir()
    with Rig(tmp_path / "other") as other:
        assert other.write(contents.digest_key) != key


@pytest.mark.parametrize("end", ["done", "failed", "cancelled", "removed"])
def test_a_content_goes_with_the_last_transfer_that_needs_it(rig: Rig, end: str) -> None:
    bob, carol = rig.make_contact("bob").id, rig.make_contact("carol").id
    kept = rig.write(contents.add, content(1))
    first, second = send(rig, bob, 1, kept.id), send(rig, carol, 2, kept.id)
    rig.write(transfers.set_state, first.id, "active")
    rig.write(transfers.set_state, first.id, "done")
    assert rig.read(contents.get, kept.id) == kept
    assert rig.read(contents.unneeded, [first.file_id, second.file_id]) == []
    if end == "removed":
        rig.write(contacts.remove, carol)
    else:
        rig.write(transfers.set_state, second.id, end)
    assert rig.read(contents.get, kept.id) is None
    both = [first.file_id, second.file_id]
    assert rig.read(contents.unneeded, both) == both


def test_a_spool_of_an_earlier_version_goes_on(rig: Rig) -> None:
    """Until then a spooled file was named by its transfer, and sealed under its keys."""
    bob = rig.make_contact("bob").id
    row = send(rig, bob, 1, bytes(16))
    sql = (Path(engine.__file__).parent / "schema" / "0003.sql").read_text()
    undo = (
        "DROP TRIGGER transfers_ended; DROP TRIGGER transfers_removed; DROP TABLE contents;"
        " DROP TABLE contents_key; DROP INDEX transfers_content; DROP INDEX transfers_outgoing;"
        " ALTER TABLE transfers DROP COLUMN content_id;"
        " UPDATE transfers SET finish_size = 5, finish_count = 1, finish_root = zeroblob(32);"
    )
    rig.write(lambda db: db.execute(undo))
    rig.write(lambda db: db.execute(sql))
    found = rig.read(transfers.find, row.id)
    assert found.content_id == row.file_id
    kept = rig.read(contents.get, row.file_id)
    assert kept is not None
    assert (kept.key, kept.size, kept.digest) == (row.key, 5, None)


# -- files


def spooled(folder: Path, data: bytes, keys: Sealer) -> Path:
    with SealedFile.create(folder / "content.sealed", keys) as sealed:
        spool(io.BytesIO(data), sealed)
    return folder / "content.sealed"


def keys(number: int) -> Sealer:
    return Sealer(file_id=bytes([number]) * 16, key=bytes([number]) * 32, chunk_log2=LOG2)


@pytest.mark.parametrize("size", [0, 1, CHUNK, 8 * CHUNK, 9 * CHUNK + 5])
def test_another_transfer_sends_it_under_keys_of_its_own(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = spooled(tmp_path, data, keys(1))
    source = SharedSource(SealedFile.open(path, keys(1)), size, keys(2), tmp_path / "own.leaves")
    with SealedFile.create(tmp_path / "expected", keys(2)) as expected:
        end = spool(io.BytesIO(data), expected)
        piece = source.read(0, end.count)
        assert piece.leaves == expected.read_leaves(0, end.count)
        chunks = expected.read_chunks(0, end.count, size)
        assert [bytes(c) for c in piece.sealed] == [bytes(c) for c in chunks]
    assert source.find_end() == end
    source.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(source._leaves_fd)


def spoil(path: Path, chunk: int) -> None:
    step = (CHUNK + 16 + 4095) // 4096 * 4096
    with path.open("r+b") as file:
        file.seek(step * chunk + 7)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def test_damage_on_disk_is_found_and_said(tmp_path: Path) -> None:
    path = spooled(tmp_path, os.urandom(5 * CHUNK), keys(1))
    spoil(path, 3)
    sealed = SealedFile.open(path, keys(1))
    shared = SharedSource(sealed, 5 * CHUNK, keys(2), tmp_path / "own.leaves")
    assert len(shared.read(0, 3).sealed) == 3
    with pytest.raises(StorageError, match=r"copy of it: chunk 3 .* damaged; send it again"):
        shared.read(2, 3)
    shared.close()
    # As it lies there a chunk leaves unchecked once; its receiver finds it and asks again.
    plain = SpoolSource(SealedFile.open(path, keys(1)), size=5 * CHUNK)
    assert len(plain.read(2, 3).sealed) == 3
    assert len(plain.read(0, 3).sealed) == 3
    with pytest.raises(StorageError, match=r"chunk 3 .* damaged"):
        plain.read(3, 1)
    plain.close()


def test_a_content_that_was_cut_short_is_found(tmp_path: Path) -> None:
    path = spooled(tmp_path, os.urandom(5 * CHUNK), keys(1))
    os.truncate(path, 4 * (CHUNK + 4096))
    os.truncate(path.with_suffix(".leaves"), 40)
    shared = SharedSource(
        SealedFile.open(path, keys(1)), 5 * CHUNK, keys(2), tmp_path / "own.leaves"
    )
    with pytest.raises(StorageError, match="chunk 1 "):
        shared.read(0, 5)
    shared.close()


def test_the_digest_of_a_file_is_that_of_what_was_spooled(tmp_path: Path) -> None:
    data = os.urandom(9 * CHUNK + 5)
    (tmp_path / "source").write_bytes(b"skipped" + data)
    seen = contents.hasher(bytes(32))
    with (tmp_path / "source").open("rb", buffering=0) as file:
        file.seek(7)
        digest = digest_of(file.fileno(), len(data), contents.hasher(bytes(32)), int)
        assert file.tell() == 7
        assert digest_of(file.fileno(), len(data) + 1, contents.hasher(bytes(32)), int) is None
        with SealedFile.create(tmp_path / "spool", keys(1)) as sealed:
            spool(file.fileno(), sealed, hasher=seen)
    assert seen.digest() == digest != contents.hasher(bytes([1]) * 32).digest()

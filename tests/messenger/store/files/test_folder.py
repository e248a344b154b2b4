"""A folder as an archive that is made while it is read: any part, any name, and what changed is noticed."""

from __future__ import annotations

import io
import os
import random
import struct
import tarfile
from pathlib import Path

import pytest

from peerpost.errors import BadInputError, NoInputError, SourceChangedError
from peerpost.store.files import manifest
from peerpost.store.files.chunks import Sealer
from peerpost.store.files.folder import Archive, ArchiveStream, FolderSource
from peerpost.store.files.manifest import Scan, scan
from peerpost.store.files.names import stays_within
from peerpost.store.files.sealed import SealedFile
from peerpost.store.files.spool import spool


def scanned(folder: Path) -> Scan:
    fd = os.open(folder, os.O_RDONLY)
    try:
        return scan(fd)
    finally:
        os.close(fd)


def archive(folder: Path) -> Archive:
    return Archive.open(os.fsencode(folder), scanned(folder).manifest, "photos")


def whole(made: Archive) -> bytes:
    return b"".join(made.read(at, 70_000) for at in range(0, made.size, 70_000))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "sub" / "deeper").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "a.txt").write_bytes(b"hello")
    (top / "none").touch()
    (top / "sub" / "block").write_bytes(bytes(range(256)) * 2)
    (top / "sub" / "deeper" / ("long " * 40)).write_bytes(b"x" * 513)
    (top / "grüße").write_bytes(b"umlaut")
    (top / "big").write_bytes(random.Random(1).randbytes(300_000))
    (top / "run").write_text("#!")
    (top / "run").chmod(0o4755)
    (top / "link").symlink_to("sub/block")
    (top / "sub" / "up").symlink_to("../a.txt")
    try:
        (top / os.fsdecode(b"odd\xff\n\x1b[2J")).write_bytes(b"odd")
    except OSError:  # a disk that takes only UTF-8
        (top / "odd").write_bytes(b"odd")
    return top


def test_it_is_the_archive_of_the_folder(folder: Path, tmp_path: Path) -> None:
    made = archive(folder)
    data = whole(made)
    assert len(data) == made.size
    assert made.size % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        members = packed.getmembers()
        packed.extractall(tmp_path / "out", filter="data")
    assert {member.name.split("/")[0] for member in members} == {"photos"}
    assert {(m.uid, m.gid, m.uname, m.gname, m.mode & 0o7000) for m in members} == {
        (0, 0, "", "", 0)
    }
    out = tmp_path / "out" / "photos"
    assert tree(out) == tree(folder)
    assert int((out / "big").stat().st_mtime) == int((folder / "big").stat().st_mtime)
    made.close()


def tree(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))  # noqa: PTH115
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def test_any_part_can_be_read_again(folder: Path) -> None:
    made = archive(folder)
    data = whole(made)
    draw = random.Random(7)
    for _ in range(500):
        at, size = draw.randrange(made.size), draw.randrange(1, 5000)
        assert made.read(at, size) == data[at : at + size]
    assert made.read(made.size, 10) == b""
    assert made.read(made.size - 5, 10) == bytes(5)
    again = archive(folder)  # after a restart
    assert whole(again) == data


def test_an_empty_folder(tmp_path: Path) -> None:
    made = archive(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(whole(made))) as packed:
        assert [(m.name, m.isdir()) for m in packed.getmembers()] == [("photos", True)]
    assert scanned(tmp_path).files == 0


def test_what_is_not_sent_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "up").symlink_to("../x")
    (tmp_path / "kept").symlink_to("nowhere")
    found = scanned(tmp_path)
    assert found.files == 1
    assert sorted(line.partition(" ")[0] for line in found.skipped) == ["fifo", "out", "up"]
    (packed,) = [node for _, node in manifest.nodes(found.manifest) if node.path]
    assert (packed.path, packed.kind, packed.link) == (b"kept", manifest.LINK, b"nowhere")


@pytest.mark.parametrize(
    ("path", "link", "inside"),
    [
        (b"a", b"b", True),
        (b"a", b"b/c", True),
        (b"a", b"./b", True),
        (b"d/a", b"../b", True),
        (b"d/e/a", b"../../b", True),
        (b"a", b"../b", False),
        (b"d/a", b"../../b", False),
        (b"d/a", b"../d/../../b", False),
        (b"a", b"b/..", False),
        (b"a", b"/b", False),
        (b"a", b"", False),
        (b"a", b"b\0c", False),
    ],
)
def test_which_links_stay_within(path: bytes, link: bytes, inside: bool) -> None:
    assert stays_within(os.fsdecode(link), path.count(b"/")) is inside


@pytest.mark.parametrize("how", ["longer", "touched", "gone", "replaced", "linked", "pipe"])
def test_a_file_that_changed_ends_it_with_its_name(folder: Path, how: str) -> None:
    made = archive(folder)
    path = folder / "sub" / "block"
    if how == "longer":
        path.write_bytes(b"x" * 1000)
    elif how == "touched":
        os.utime(path, ns=(1, 1))
    elif how == "gone":
        path.unlink()
    elif how == "pipe":
        path.unlink()
        os.mkfifo(path)
    else:
        status = path.stat()
        other = folder.parent / "other"
        other.write_bytes(path.read_bytes())
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        if how == "replaced":
            other.replace(path)
        else:
            path.unlink()
            path.symlink_to(other)
    with pytest.raises(SourceChangedError, match="sub/block"):
        whole(made)
    made.close()


@pytest.mark.parametrize("name", [b"put back", b"put-\xff"])
def test_a_change_whose_time_was_put_back_is_noticed(folder: Path, name: bytes) -> None:
    path = folder / "sub" / os.fsdecode(name)
    path.write_bytes(b"before")
    made = archive(folder)
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"behind")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(SourceChangedError) as caught:
        whole(made)
    assert caught.value.message.encode().startswith(b"sub/" + name.replace(b"\xff", b"\\xff"))
    made.close()


def test_what_cannot_be_read_is_named_also_where_that_is_no_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/shut-\xff")).touch()
    # Root may read everything.
    monkeypatch.setattr(os, "access", lambda path, *_, **__: path != b"shut-\xff")
    with pytest.raises(NoInputError, match="cannot be read") as caught:
        scanned(folder)
    assert caught.value.message.encode().startswith(rb"shut-\xff ")


def test_a_list_of_an_earlier_version_is_read(folder: Path) -> None:
    found = scanned(folder).manifest
    old = bytearray(b"peerpost folder 1\n")
    for _, node in manifest.nodes(found):
        fields = (node.kind, len(node.path), len(node.link), node.mode, node.size)
        old += struct.pack("<BHHIQqQ", *fields, node.mtime_ns, node.inode) + node.path + node.link
    made, now = Archive.open(os.fsencode(folder), bytes(old), "photos"), archive(folder)
    assert whole(made) == whole(now)
    made.close()
    now.close()


def test_what_is_left_out_is_named_also_where_that_is_no_text(folder: Path) -> None:
    os.mkfifo(os.fsencode(folder) + b"/pipe-\xff")
    assert r"pipe-\xff (neither a file, a folder nor a link)" in scanned(folder).skipped


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(SourceChangedError):
        Archive.open(os.fsencode(tmp_path / "gone"), b"", "x")


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_MANIFEST_BYTES", 200)
    with pytest.raises(BadInputError, match="too many"):
        scanned(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_sends_nothing(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0)
    with pytest.raises(NoInputError, match="secret"):
        scanned(tmp_path)


def test_large_sizes_and_times_have_their_headers(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate((8 << 30) + 5)
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (-5, -5))
    made = archive(tmp_path)
    end = made.size - made.size % 512
    with tarfile.open(fileobj=_Sparse(made)) as packed:
        sizes = {m.name: (m.size, m.mtime) for m in packed.getmembers()}
    assert sizes["photos/sparse"][0] == (8 << 30) + 5
    assert sizes["photos/old"][1] == -5
    assert end > 8 << 30


class _Sparse(io.RawIOBase):
    """An archive as a file that is read only where tarfile looks."""

    def __init__(self, made: Archive) -> None:
        self._made, self._at = made, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        assert whence == 0
        self._at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        data = self._made.read(self._at, size)
        self._at += len(data)
        return data


def test_as_a_source_it_gives_what_a_copy_gives(folder: Path, tmp_path: Path) -> None:
    sealer = Sealer(file_id=bytes(16), key=bytes(32), chunk_log2=14)
    with SealedFile.create(tmp_path / "copy.sealed", sealer) as copy:
        end = spool(ArchiveStream(archive(folder)), copy)
        source = FolderSource(archive(folder), sealer, tmp_path / "live.leaves")
        assert source.find_end() == end
        piece = source.read(3, 4)
        assert piece.sealed == copy.read_chunks(3, 4, end.size)
        assert piece.leaves == copy.read_leaves(3, 4)
    (folder / "big").write_bytes(b"")
    with pytest.raises(SourceChangedError, match="big"):
        source.read(0, 8)
    source.close()

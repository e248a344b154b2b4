"""A folder that was received: unpacked whole, or refused with nothing left; never anything outside it."""

from __future__ import annotations

import json
import os
import stat
import tarfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from peerpost.cli.unpack import unpack
from peerpost.client.rpc import Request
from peerpost.errors import BadInputError, ExistsError, PeerpostError, StorageError
from tests.support.archives import Member, file, folder, link, packed, writer

from .conftest import FakeNode, Shell


def test_a_folder(tmp_path: Path) -> None:
    made = packed(
        folder(),
        folder("top/sub"),
        file("top/a.txt", b"hello"),
        file("top/sub/run", b"#!", mode=0o4755),
        link("top/link", "sub/run"),
        link("top/sub/up", "../a.txt"),
        file("top/grüße/".rstrip("/"), b""),
        folder("top/empty"),
    )
    out = tmp_path / "out"
    assert unpack(str(out), writer(made), force=False) == 5
    assert (out / "a.txt").read_bytes() == b"hello"
    assert (out / "a.txt").stat().st_mtime == 1_700_000_000
    assert (out / "link").read_bytes() == b"#!"
    assert (out / "sub" / "up").read_bytes() == b"hello"
    assert (out / "empty").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# fmt: off
EVIL = {
    "absolute": [folder(), file("/top/x")],
    "absolute below": [folder(), file("top//etc/x")],
    "up": [folder(), file("top/../x")],
    "up at the top": [file("../x")],
    "dot": [folder(), file("top/./x")],
    "another top": [folder(), file("top/x"), file("other/x")],
    "no folder at all": [file("top")],
    "twice": [folder(), file("top/x"), file("top/x", b"again")],
    "folder twice": [folder(), folder("top/x"), folder("top/x")],
    "file where a folder is": [folder(), file("top/x"), file("top/x/y")],
    "before its folder": [folder(), file("top/x/y")],
    "link out": [folder(), link("top/x", "/etc")],
    "link up": [folder(), link("top/x", "../x")],
    "link through a link": [folder(), folder("top/a"), link("top/a/x", "../a/../../y")],
    "link in a file's place": [folder(), file("top/x"), link("top/x", "y")],
    "write through a link": [folder(), link("top/x", "."), file("top/x/y")],
    "hard link": [folder(), ("top/x", {"type": tarfile.LNKTYPE, "linkname": "top/y"}, b"")],
    "device": [folder(), ("top/x", {"type": tarfile.CHRTYPE, "devmajor": 1}, b"")],
    "fifo": [folder(), ("top/x", {"type": tarfile.FIFOTYPE}, b"")],
    "unknown type": [folder(), ("top/x", {"type": b"Z"}, b"")],
    "deep": [folder(), file("top/" + "a/" * 300 + "x")],
    "link made through links": [
        folder(), link("top/a", "."), link("top/a/a/a/up", "../.."), link("top/up/evil", "x"),
    ],
    "folder made through links": [
        folder(), link("top/a", "."), link("top/a/a/a/up", "../.."), folder("top/up/evil"),
    ],
    "file made through links": [
        folder(), link("top/a", "."), link("top/a/a/a/up", "../.."), file("top/up/evil"),
    ],
    "link over a link": [folder(), link("top/a", "."), link("top/a", "b")],
    "folder over a file, then a link through it": [
        folder(), file("top/a"), link("top/a/b", "x"),
    ],
    "link with content": [folder(), ("top/x", {"type": tarfile.SYMTYPE, "linkname": "y"}, b"1")],
    "header that is not read": [
        folder(), file("top/x", pax_headers={"SCHILY.xattr.user.a": "1"}),
    ],
}
# fmt: on


@pytest.mark.parametrize("members", [pytest.param(m, id=name) for name, m in EVIL.items()])
def test_an_evil_archive_leaves_nothing(tmp_path: Path, members: list[Member]) -> None:
    (tmp_path / "precious").write_text("precious")
    inside = tmp_path / "in"
    inside.mkdir()
    with pytest.raises(BadInputError):
        unpack(str(inside / "out"), writer(packed(*members)), force=True)
    assert list(inside.iterdir()) == []
    assert (tmp_path / "precious").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "precious"]


def with_pax(records: bytes, size: int | None = None) -> bytes:
    """An archive with a pax header of these bytes."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, len(records) if size is None else size
    head = info.tobuf(tarfile.USTAR_FORMAT)
    return (
        packed(folder())[:512] + head + records + bytes(-len(records) % 512) + packed(file("top/x"))
    )


def sparse_of_gnu() -> bytes:
    """An archive with a sparse map that goes on for 32 MiB."""
    info = tarfile.TarInfo("top/x")
    info.type = tarfile.GNUTYPE_SPARSE
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    head[482] = 1
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    more = (b"%011o\0" % 1) * 42 + b"\1" + bytes(7)
    return packed(folder())[:512] + bytes(head) + more * (1 << 16)


def header(**fields: Any) -> bytes:
    info = tarfile.TarInfo("top/x")
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive" * 100,
        bytes(10240),
        packed(folder(), file("top/x", b"x" * 5000))[:3000],
        packed(folder()) [:512] + header(size=1 << 40, type=tarfile.XHDTYPE) + bytes(1 << 21),
        packed(folder())[:512] + header(size=1 << 40, type=tarfile.GNUTYPE_LONGNAME) + bytes(1 << 21),
        packed(folder())[:512] + header(size=512, type=tarfile.XHDTYPE) * 5000,
        packed(folder())[:512] + header(size=-600),
        packed(folder())[:512] + header(size=3000) + bytes(1000),
        with_pax(b"7 aaaa\n" * 11_000),
        with_pax(b"9 path=a\n" * 7_000),
        with_pax(b"11 mtime=1\n" + b"9" * 60_000),
        with_pax(b"12 path=abc\n"),
        with_pax(b"09 path=a\n"),
        with_pax(b"9 path=\0\n"),
        with_pax(b"12 mtime=inf\n"),
        with_pax(b"11 size=-12\n"),
        with_pax(b"10 path=" + b"a" * 70_000),
        with_pax(b"22 GNU.sparse.major=1\n" + b"22 GNU.sparse.minor=0\n"),
        sparse_of_gnu(),
        packed(folder(), file("top/x")) + b"more",
        packed(folder(), file("top/x"))[:2048],
    ],
    ids=[
        *("empty", "garbage", "zeros", "cut", "long header", "long name", "chain of headers"),
        *("negative", "short", "many records", "a record again", "a record without end"),
        *("length wrong", "length with zero", "NUL", "time", "size", "long pax", "sparse of pax"),
        *("sparse of GNU", "goes on", "no end"),
    ],
)  # fmt: skip
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadInputError):
        unpack(str(tmp_path / "out"), writer(data), force=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data", [with_pax(b"7 aaaa\n" * 9_000), sparse_of_gnu()], ids=["pax", "sparse"]
)
def test_a_header_costs_little(tmp_path: Path, data: bytes) -> None:
    tracemalloc.start()
    began_s = time.process_time()
    with pytest.raises(BadInputError):
        unpack(str(tmp_path / "out"), writer(data), force=False)
    assert time.process_time() - began_s < 1
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Every form that a name, a target and a time take in the archives that we make."""
    long, odd = "n" * 150, os.fsdecode(b"caf\xe9")
    made = packed(
        folder(),
        file(f"top/{long}", b"1"),
        file(f"top/{odd}", b"2"),
        file("top/old", b"3", mtime=-5),
        file("top/late", b"4", mtime=9 << 30),
        folder("top/" + "d" * 120),
        link("top/to", long),
    )
    out = tmp_path / "out"
    assert unpack(str(out), writer(made), force=False) == 5
    assert (out / long).read_bytes() == (out / "to").read_bytes() == b"1"
    assert (out / odd).read_bytes() == b"2"
    assert (out / "old").stat().st_mtime == -5
    assert (out / "late").stat().st_mtime == 9 << 30
    assert (out / ("d" * 120)).is_dir()


def test_an_interrupt_is_heard(tmp_path: Path) -> None:
    """Also while whoever writes keeps the pipe open, and writes nothing."""
    kept: list[int] = []

    def write(fd: int) -> None:
        kept.append(os.dup(fd))
        os.write(fd, packed(folder())[:512])
        raise KeyboardInterrupt

    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        unpack(str(tmp_path / "out"), write, force=False)
    os.close(kept[0])
    assert time.monotonic() - began_s < 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_link_in_the_folders_place(tmp_path: Path, force: bool, slash: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to("real")
    with pytest.raises(ExistsError, match="is a link"):
        unpack(f"{tmp_path}/out{slash}", writer(packed(folder(), file("top/a"))), force=force)
    assert list((tmp_path / "real").iterdir()) == []


def test_force_replaces_no_pipe_and_changes_nothing_then(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "sub").mkdir(parents=True)
    os.mkfifo(out / "sub" / "b")
    made = packed(folder(), file("top/a"), folder("top/sub"), file("top/sub/b"))
    with pytest.raises(ExistsError, match="pipe"):
        unpack(str(out), writer(made), force=True)
    assert [path.name for path in out.iterdir()] == ["sub"]
    assert stat.S_ISFIFO((out / "sub" / "b").lstat().st_mode)


def test_a_folder_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    """Somebody puts a link in the place of the folder while it is unpacked."""
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    made = packed(folder(), file("top/a"))

    def write(fd: int) -> None:
        out.rename(tmp_path / "moved")
        out.symlink_to(outside)
        writer(made)(fd)

    unpack(str(out), write, force=True)
    assert list(outside.iterdir()) == []
    assert (tmp_path / "moved" / "a").read_bytes() == b"data"


def test_nothing_is_replaced_without_force(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    made = packed(folder(), file("top/a", b"new"), folder("top/sub"), file("top/sub/b", b"new"))
    unpack(str(out), writer(made), force=False)  # an empty one will do
    (out / "a").write_bytes(b"old")
    (out / "mine").write_bytes(b"mine")
    with pytest.raises(ExistsError):
        unpack(str(out), writer(made), force=False)
    assert (out / "a").read_bytes() == b"old"
    unpack(str(out), writer(made), force=True)
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.is_file()} == {
        "a": b"new",
        "mine": b"mine",
    }
    (out / "a").unlink()
    (out / "a").mkdir()
    (out / "sub" / "b").write_bytes(b"old")
    with pytest.raises(ExistsError, match="would have to become a file"):
        unpack(str(out), writer(made), force=True)
    assert (out / "sub" / "b").read_bytes() == b"old"
    (tmp_path / "file").touch()
    with pytest.raises(ExistsError, match="no folder"):
        unpack(str(tmp_path / "file"), writer(made), force=True)


def test_force_does_not_write_through_a_link(tmp_path: Path) -> None:
    out, outside = tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / "sub").symlink_to(outside)
    (outside / "b").write_bytes(b"old")
    (out / "a").symlink_to(outside / "b")
    with pytest.raises(ExistsError):
        unpack(str(out), writer(packed(folder(), folder("top/sub"), file("top/sub/b"))), force=True)
    unpack(str(out), writer(packed(folder(), file("top/a", b"new"))), force=True)
    assert (outside / "b").read_bytes() == b"old"
    assert (out / "a").read_bytes() == b"new"


def test_the_senders_trouble_is_told_first(tmp_path: Path) -> None:
    def write(fd: int) -> None:
        os.write(fd, packed(folder(), file("top/x", b"x" * 5000))[:3000])
        raise StorageError("chunk 7 of the stored file is damaged")

    with pytest.raises(PeerpostError, match="chunk 7"):
        unpack(str(tmp_path / "out"), write, force=False)
    assert list(tmp_path.iterdir()) == []


def test_save_a_folder(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    row = {"id": "k3f9", "name": "photos", "size": 10240, "directory": True, "files": 1}

    def save(request: Request) -> Any:
        os.write(request.fd(0), packed(folder("photos"), file("photos/a.jpg")))
        return row

    node.answers |= {"inbox.save": save, "inbox.peek": row}
    out = tmp_path / "photos"
    ran = shell("inbox", "save", "k3", "--out", str(out), "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {**row, "path": str(out)}
    assert (out / "a.jpg").read_bytes() == b"data"
    assert shell("inbox", "save", "k3", "--out", f"{out}.tar").code == 0
    assert tarfile.is_tarfile(f"{out}.tar")
    ran = shell("inbox", "save", "k3", "--out", str(out))
    assert ran.code == 73
    assert "--force" in ran.err

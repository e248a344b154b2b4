"""What a file is besides its bytes: rights that are never wider than they were, holes, and a place on the disk."""

from __future__ import annotations

import os
import stat
import tarfile
from pathlib import Path

import pytest

from peerpost.cli.unpack import unpack
from peerpost.errors import StorageError
from tests.support.archives import file, folder, packed, writer


def mask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def modes(top: Path) -> dict[str, int]:
    """The rights of all that is there, but links, by its path below the top."""
    there = [top, *(path for path in top.rglob("*") if not path.is_symlink())]
    return {
        "" if path == top else str(path.relative_to(top)): stat.S_IMODE(path.stat().st_mode)
        for path in there
    }


def test_usual_rights(tmp_path: Path) -> None:
    made = packed(
        folder(), folder("top/sub"), file("top/a.txt"), file("top/sub/run", b"#!", mode=0o4755)
    )
    out = tmp_path / "out"
    unpack(str(out), writer(made), force=False)
    assert modes(out) == {
        "": 0o755 & ~mask(),
        "sub": 0o755 & ~mask(),
        "sub/run": 0o755 & ~mask(),
        "a.txt": 0o644 & ~mask(),
    }


PRIVATE = packed(
    folder("top"),
    *(file(f"top/{mode:04o}", mode=mode) for mode in (0o600, 0o640, 0o666, 0o700, 0o777, 0o4711)),
    *(file(f"top/{mode:04o}", mode=mode) for mode in (0o400, 0o000, 0o2070, 0o1777, 0o7777)),
    *(
        (f"top/d{mode:04o}", {"type": tarfile.DIRTYPE, "mode": mode}, b"")
        for mode in (0o700, 0o7777)
    ),
    ("top/key", {"type": tarfile.DIRTYPE, "mode": 0o500, "mtime": 1_600_000_000}, b""),
    ("top/key/in", {"type": tarfile.DIRTYPE, "mode": 0o000}, b""),
    file("top/key/in/id", mode=0o600),
)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o037])
@pytest.mark.parametrize("there", [False, True])
def test_rights_are_those_that_were_sent_and_never_wider(
    tmp_path: Path, umask: int, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        (out / "key").mkdir(parents=True, mode=0o751)
    before = os.umask(umask)
    try:
        unpack(str(out), writer(PRIVATE), force=there)
    finally:
        os.umask(before)
    found = {}
    for path, mode in (("", 0o755), ("key", 0o500), ("key/in", 0o000)):
        found[path] = stat.S_IMODE((out / path).stat().st_mode)
        if not (there and path != "key/in"):
            assert found[path] == mode & ~umask, path
        (out / path).chmod(0o700)
    if there:
        # What was there before is its owner's to say.
        assert found["key"] == 0o751 & ~before
    for path, mode in modes(out).items():
        if path not in ("", "key", "key/in"):
            sent = 0o600 if path.endswith("id") else int(path.removeprefix("d"), 8) & 0o777
            assert mode == sent & ~umask, path
    if not there and umask == 0o022:
        assert (out / "key").stat().st_mtime == 1_600_000_000


def test_while_it_is_unpacked_nobody_else_can_look_in(tmp_path: Path) -> None:
    data, seen = packed(folder("top"), file("top/id", mode=0o777)), set()

    def write(fd: int) -> None:
        writer(data[:1024])(fd)
        for path in tmp_path.rglob("*"):
            seen.add(stat.S_IMODE(path.stat().st_mode) & 0o077 if path.is_dir() else 0)
        writer(data[1024:])(fd)

    unpack(str(tmp_path / "out"), write, force=False)
    assert seen == {0}


@pytest.mark.parametrize("there", [False, True])
def test_its_own_files_are_flushed_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """Each file and folder by itself, and the folder that it got its name in after it got it."""
    flushed: list[tuple[int, bool]] = []
    out, fsync = tmp_path / "out", os.fsync
    if there:
        (out / "sub").mkdir(parents=True)

    def noted(fd: int) -> None:
        flushed.append((os.fstat(fd).st_ino, (out / "a").exists()))
        fsync(fd)

    monkeypatch.setattr("os.fsync", noted)
    monkeypatch.setattr("os.sync", lambda: pytest.fail("it waits for all that others write"))
    made = packed(folder(), file("top/a"), folder("top/sub"), file("top/sub/b"), folder("top/e"))
    unpack(str(out), writer(made), force=there)
    inodes = {path.stat().st_ino for path in (out, *out.rglob("*"))}
    assert inodes <= {inode for inode, _ in flushed}
    named_in = {out, out / "sub"} if there else {tmp_path}
    assert {path.stat().st_ino for path in named_in} <= {ino for ino, named in flushed if named}
    if not there:
        assert inodes <= {inode for inode, named in flushed if not named}


def test_a_disk_that_does_not_flush_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", fsync)
    made = packed(folder(), *(file(f"top/{number}") for number in range(300)))
    with pytest.raises(StorageError, match="Input/output"):
        unpack(str(tmp_path / "out"), writer(made), force=False)
    assert list(tmp_path.iterdir()) == []


def test_holes_stay_holes(tmp_path: Path) -> None:
    size = 24 << 20
    sparse = bytearray(size)
    sparse[1 << 20 : (1 << 20) + 5] = b"begin"
    sparse[-(9 << 20)] = 1
    made = packed(folder(), file("top/x", b"y" * 700), file("top/sparse", bytes(sparse)))
    out = tmp_path / "out"
    unpack(str(out), writer(made), force=False)
    assert (out / "sparse").read_bytes() == sparse
    assert (out / "sparse").stat().st_blocks * 512 < 1 << 20

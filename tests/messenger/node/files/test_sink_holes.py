"""A file that a command has us write to: holes are left in what is new, and nothing old shows through them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from peerpost.node.files.sink import Sink

DATA = b"begin" + bytes(1 << 20) + b"end" + bytes(1 << 20)


def written(path: Path, flags: int, at: int = 0) -> bytes:
    fd = os.open(path, flags | os.O_CREAT, 0o600)
    try:
        os.lseek(fd, at, os.SEEK_SET)
        sink = Sink(fd)
        sink.write(memoryview(DATA))
        sink.end()
        sink.close()
        # Who shares the descriptor goes on behind it.
        os.write(fd, b"next")
    finally:
        os.close(fd)
    return path.read_bytes()


def test_a_new_file_has_holes(tmp_path: Path) -> None:
    assert written(tmp_path / "new", os.O_RDWR) == DATA + b"next"
    assert (tmp_path / "new").stat().st_blocks * 512 < 1 << 18


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_WRONLY | os.O_APPEND])
def test_nothing_old_shows_through(tmp_path: Path, flags: int) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"o" * (3 << 20))
    found = written(old, flags)
    if flags & os.O_APPEND:
        assert found == b"o" * (3 << 20) + DATA + b"next"
    else:
        whole = DATA + b"next"
        assert found == whole + b"o" * ((3 << 20) - len(whole))


def test_behind_what_is_there(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(b"old")
    assert written(old, os.O_WRONLY, 3) == b"old" + DATA + b"next"

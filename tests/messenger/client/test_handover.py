"""Files handed to a node by their path: the same file, or none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.handover import handed_over, taken_over
from peerpost.errors import NoInputError, StorageError, UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / os.fsdecode(b"odd \xff name")
    path.write_bytes(b"0123456789")
    return path


def said_of(path: Path, flags: int = os.O_RDONLY, at: int = 0) -> dict[str, Any]:
    fd = os.open(path, flags)
    try:
        os.lseek(fd, at, os.SEEK_SET)
        return handed_over(fd)
    finally:
        os.close(fd)


def test_a_file_is_read_on_from_where_the_command_is(file: Path) -> None:
    fd = taken_over(said_of(file, at=4), writes=False)
    assert os.read(fd, 100) == b"456789"
    with pytest.raises(OSError, match="Bad file"):
        os.write(fd, b"x")
    os.close(fd)


def test_a_file_that_is_appended_to_is_written_at_its_end(file: Path) -> None:
    fd = taken_over(said_of(file, os.O_WRONLY | os.O_APPEND), writes=True)
    os.write(fd, b"ab")
    os.close(fd)
    assert file.read_bytes() == b"0123456789ab"


def test_a_pipe_a_device_and_a_deleted_file_have_no_path(file: Path) -> None:
    read_end, write_end = os.pipe()
    null = os.open(os.devnull, os.O_RDONLY)
    deleted = os.open(file, os.O_RDONLY)
    file.unlink()
    for fd in (read_end, write_end, null, deleted):
        with pytest.raises(UsageError, match="cannot be handed"):
            handed_over(fd)
        os.close(fd)


@pytest.mark.parametrize("kind", ["file", "link", "fifo", "gone"])
@pytest.mark.parametrize("writes", [False, True])
def test_what_has_taken_its_place_is_not_opened(
    file: Path, tmp_path: Path, kind: str, writes: bool
) -> None:
    said = said_of(file)
    file.rename(tmp_path / "moved")
    if kind == "file":
        file.write_bytes(b"another")
    elif kind == "link":
        file.symlink_to(tmp_path / "moved")
    elif kind == "fifo":
        os.mkfifo(file)
    with pytest.raises(StorageError if writes else NoInputError):
        taken_over(said, writes=writes)
    assert (tmp_path / "moved").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    "change",
    [
        {"path_hex": "zz"}, {"path_hex": ""}, {"path_hex": None}, {"path_hex": "61" * (1 << 17)},
        {"path_hex": "610062"}, {"offset": -1}, {"offset": True}, {"offset": 1 << 70},
        {"offset": "1"}, {"inode": 7}, {"inode": None},
    ],
)  # fmt: skip
def test_what_no_command_says_is_refused(file: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        taken_over(said_of(file) | change, writes=False)


def test_another_inode_is_another_file(file: Path) -> None:
    for inode in ([], [1], [1, 2], ["a", "b"], [None, None]):
        with pytest.raises(NoInputError, match="replaced"):
            taken_over(said_of(file) | {"inode": inode}, writes=False)

"""The log of a node in the background: bounded while it runs, and never in the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peerpost.client import logfile
from peerpost.client.logfile import LogFile

LIMIT_BYTES = 1000
LINE = "x" * 99


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.log"


@pytest.fixture
def fd(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    yield fd
    os.close(fd)


def log_of(path: Path, fd: int, kept: int = 3) -> LogFile:
    return LogFile(path, fd, limit_bytes=LIMIT_BYTES, kept=kept)


def lengths(path: Path) -> dict[str, int]:
    return {found.name: found.stat().st_size for found in path.parent.iterdir()}


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_it_is_bounded_and_the_newest_stays(path: Path, fd: int, kept: int) -> None:
    log = log_of(path, fd, kept)
    for number in range(200):
        log.write(f"{number:04} {LINE[5:]}")
    names = ["node.log", *(f"node.log.{number}" for number in range(1, kept + 1))]
    assert lengths(path) == dict.fromkeys(names, LIMIT_BYTES)
    lines = [line for name in reversed(names) for line in path.with_name(name).read_text().split()]
    assert [int(line) for line in lines[::2]] == list(range(200 - 10 * (kept + 1), 200))
    assert all(found.stat().st_mode & 0o777 == 0o600 for found in path.parent.iterdir())


@pytest.mark.parametrize("fails", ["open", "replace"])
def test_a_full_disk_at_that_moment_costs_nothing_and_it_is_tried_again(
    path: Path, fd: int, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    now_s = 0.0
    monkeypatch.setattr(logfile.time, "monotonic", lambda: now_s)
    log = log_of(path, fd)

    def full(*_args: Any, **_kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(*((os, "open") if fails == "open" else (Path, "replace")), full)
        for _ in range(30):
            log.write(LINE)
    assert lengths(path) == {"node.log": 3000}
    now_s += logfile.RETRY_S
    log.write(LINE)
    assert lengths(path) == {"node.log": 100, "node.log.1": 3000}


def test_what_the_disk_has_no_room_for_is_counted(
    path: Path, fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(path, fd)

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        for _ in range(7):
            log.write("lost")
    log.write("kept")
    assert path.read_text() == "7 lines of the log could not be written\nkept\n"


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_log_that_is_taken_away_is_begun_anew(
    path: Path, fd: int, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    now_s = 0.0
    monkeypatch.setattr(logfile.time, "monotonic", lambda: now_s)
    log = log_of(path, fd)
    log.write("before")
    if how == "deleted":
        path.unlink()
    else:
        path.rename(path.with_name("elsewhere"))
    now_s += logfile.LOOK_S
    log.write("after")
    assert path.read_text() == "after\n"


def test_stderr_that_is_something_else_is_left_alone(path: Path) -> None:
    path.touch()
    assert LogFile.of_stderr(path, limit_bytes=LIMIT_BYTES, kept=1) is None

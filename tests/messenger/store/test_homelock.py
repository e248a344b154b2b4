"""The lock on a home: one node, and none that a dead one left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from peerpost.errors import AlreadyRunningError, PeerpostError
from peerpost.store.homelock import HomeLock

HOLDER = """
import sys
from pathlib import Path
from peerpost.store.homelock import HomeLock
with HomeLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def take(home: Path) -> None:
    with HomeLock(home):
        pass


@pytest.mark.slow
def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(AlreadyRunningError) as caught:
            take(tmp_path)
        assert f"process {process.pid}" in caught.value.message
        assert "node stop" in str(caught.value.hint)
        assert caught.value.exit_code == 71


@pytest.mark.slow
def test_free_after_kill_9(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait(60)
        take(tmp_path)


@pytest.mark.slow
def test_free_after_an_ordinary_end(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.communicate(timeout=60)
        assert process.returncode == 0
        take(tmp_path)


def test_within_one_process_too(tmp_path: Path) -> None:
    with HomeLock(tmp_path), pytest.raises(AlreadyRunningError, match=str(os.getpid())):
        take(tmp_path)
    take(tmp_path)
    take(tmp_path)


def test_homes_are_apart(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    with HomeLock(tmp_path / "a"), HomeLock(tmp_path / "b"):
        pass


def test_an_error_inside_lets_it_go(tmp_path: Path) -> None:
    def fail() -> None:
        with HomeLock(tmp_path):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    take(tmp_path)


@pytest.mark.slow
def test_a_child_does_not_keep_it(tmp_path: Path) -> None:
    with HomeLock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        take(tmp_path)
    finally:
        child.communicate(timeout=60)


def test_what_an_older_holder_wrote_does_not_matter(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_bytes(b"\xff" * 1000)
    with HomeLock(tmp_path):
        assert lock.read_text().splitlines()[0] == str(os.getpid())
        lock.write_bytes(b"")
        with pytest.raises(AlreadyRunningError, match="unknown"):
            take(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("kind", ["link", "folder", "no home"])
def test_a_lock_that_cannot_be_had_says_why(tmp_path: Path, kind: str) -> None:
    home = tmp_path / "home"
    if kind != "no home":
        home.mkdir()
    target = tmp_path / "target"
    target.write_text("content")
    if kind == "link":
        (home / "lock").symlink_to(target)
    elif kind == "folder":
        (home / "lock").mkdir()
    with pytest.raises(PeerpostError, match="lock"):
        take(home)
    assert target.read_text() == "content"

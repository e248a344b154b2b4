"""A full disk: a clear error, nothing lost, and on it goes once there is room.

Each scenario (tests/support/full_disk.py) runs on a file system of 4 MiB that only its own process
sees. Where no such can be made, these tests are skipped and say so.
"""

from __future__ import annotations

import errno
import functools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from peerpost.errors import StoreFullError
from peerpost.store.db.ballast import Ballast
from tests.support.store_rig import Rig

ROOT = Path(__file__).parents[4]
MOUNT = "mount -t tmpfs -o size=4m,mode=700 tmpfs"


@functools.cache
def small_disk() -> list[str] | None:
    """Return what runs a shell that may mount for itself, or None."""
    if sys.platform != "linux":
        return None
    for options in (["-m"], ["-r", "-m"]):
        command = ["unshare", *options, "sh", "-c"]
        try:
            done = subprocess.run(
                [*command, f"{MOUNT} /tmp"], capture_output=True, timeout=60, check=False
            )
        except FileNotFoundError:
            return None
        if done.returncode == 0:
            return command
    return None


def run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "scenario", ["goes_on", "batches", "reserve", "deleting", "opening", "every_page"]
)
def test_on_a_small_disk(tmp_path: Path, scenario: str) -> None:
    shell = small_disk()
    if shell is None:
        pytest.skip("no file system of our own can be mounted here")
    program = [sys.executable, "-m", "tests.support.full_disk", scenario, str(tmp_path)]
    run([*shell, f"{MOUNT} {shlex.quote(str(tmp_path))} && exec {shlex.join(program)}"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_with_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    run([sys.executable, "-m", "tests.support.full_disk", "limited", str(tmp_path)])


# -- the reserve itself


SIZE_BYTES = 3 << 20


def made(folder: Path) -> Path:
    return folder / "ballast"


def test_a_reserve_takes_its_blocks_and_gives_them_back(tmp_path: Path) -> None:
    reserve = Ballast(made(tmp_path), SIZE_BYTES)
    assert reserve.restore()
    assert not reserve.released
    assert made(tmp_path).stat().st_size == SIZE_BYTES
    if sys.platform != "win32":
        assert made(tmp_path).stat().st_blocks * 512 >= SIZE_BYTES
    reserve.release()
    assert reserve.released
    assert not made(tmp_path).exists()
    assert reserve.regain()
    assert not reserve.released


def test_a_reserve_leaves_a_small_disk_room_for_itself_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that took half of the disk could never be made again: there is no room for it twice."""
    disk = shutil.disk_usage(tmp_path)
    small = disk._replace(total=8 << 20, free=7 << 20, used=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: small)
    reserve = Ballast(made(tmp_path), 64 << 20)
    assert reserve.restore()
    assert made(tmp_path).stat().st_size == 1 << 20
    reserve.release()
    assert "until 2 MiB are free" in (reserve.shortage() or "")
    assert reserve.regain()
    assert reserve.shortage() is None


def test_a_reserve_of_another_size_is_made_to_fit(tmp_path: Path) -> None:
    for size_bytes in (SIZE_BYTES, 1 << 20, SIZE_BYTES + 1, 0):
        reserve = Ballast(made(tmp_path), size_bytes)
        assert reserve.restore()
        assert (made(tmp_path).stat().st_size if size_bytes else 0) == size_bytes
    assert not made(tmp_path).exists()
    reserve.release()
    assert not reserve.released


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call")
def test_a_file_system_that_cannot_set_space_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, errno.EOPNOTSUPP)
    assert Ballast(made(tmp_path), SIZE_BYTES).restore()
    assert made(tmp_path).stat().st_blocks * 512 >= SIZE_BYTES


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call")
def test_a_disk_that_takes_no_reserve_is_not_called_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, errno.EPERM)
    with Rig(tmp_path, ballast_bytes=SIZE_BYTES) as rig:
        rig.make_identity()
        assert rig.queue(rig.make_contact("bob").id).seq == 1


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no such call")
def test_a_reserve_that_did_not_fit_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, errno.ENOSPC)
    with Rig(tmp_path, ballast_bytes=SIZE_BYTES) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        assert not made(tmp_path).exists()
        with pytest.raises(StoreFullError, match="nothing new"):
            rig.queue(bob)
        monkeypatch.undo()
        assert rig.queue(bob).seq == 1


@pytest.mark.parametrize("is_full", [True, False])
def test_the_log_stays_when_the_store_of_a_full_disk_closes(tmp_path: Path, is_full: bool) -> None:
    """Otherwise its space is lost to whatever has filled the disk, and the next start takes it out of the reserve."""
    with Rig(tmp_path, ballast_bytes=SIZE_BYTES) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        rig.queue(bob)
        log = Path(f"{rig.path}-wal")
        size_bytes = log.stat().st_size
        if is_full:
            rig.store._ballast.release()
        rig.close()
        assert (log.stat().st_size if log.exists() else 0) == (size_bytes if is_full else 0)
    with Rig(tmp_path, ballast_bytes=SIZE_BYTES) as rig:
        assert len(rig.unsettled(bob)) == 1


def fail_with(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail(_fd: int, _offset: int, _size: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", fail)

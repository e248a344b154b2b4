"""What differs between operating systems is known in `peerpost.system` alone, and is right for each of them; and the
node reads the time in one place.
"""

from __future__ import annotations

import ast
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from peerpost import system
from peerpost.errors import AlreadyRunningError
from peerpost.store import disk
from peerpost.store.homelock import HomeLock
from peerpost.system import processes

ROOT = Path(__file__).parents[1]
MODULES = {"fcntl", "msvcrt", "posix", "pwd", "resource", "select", "termios", "winreg"}
ASKED = {("sys", "platform"), ("os", "name"), ("platform", "system"), ("os", "uname")}
ASKED |= {("os", "fsync"), ("os", "fdatasync")}  # On macOS they do not reach the disk.
VARYING = {"os", "socket", "signal", "select"}
"""Modules that have other names on other systems."""
EXEMPT = {
    # It is loaded before anything else, so that a signal is heeded from the first moment on.
    "messenger/stopping.py",
}


def knowledge(source: str) -> Iterator[str]:
    """Yield what a module knows of the system it runs on."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if node.module in MODULES:
                yield node.module
            for alias in node.names:
                if (node.module, alias.name) in ASKED:
                    yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in ASKED:
                yield f"{node.value.id}.{node.attr}"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"getattr", "hasattr"}
            and isinstance(node.args[0], ast.Name)
            and node.args[0].id in VARYING
            and isinstance(node.args[1], ast.Constant)
        ):
            yield f"{node.func.id}({node.args[0].id}, ...)"


def test_only_one_place_asks_which_system_it_runs_on() -> None:
    found = {
        place: known
        for folder in ("messenger", "cli", "fastpath")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not (place := path.relative_to(ROOT).as_posix()).startswith("messenger/system/")
        and place not in EXEMPT
        and (known := sorted(set(knowledge(path.read_text(encoding="utf-8")))))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "def f():\n    import pwd",
        "from select import poll",
        "import sys\nif sys.platform == 'win32': pass",
        "from sys import platform",
        "import os\nos.name",
        "import os\nos.fsync(3)",
        "import os\nhasattr(os, 'pread')",
        "import signal\ngetattr(signal, 'SIGHUP', None)",
    ],
)
def test_a_module_that_asks_is_found(source: str) -> None:
    assert list(knowledge(source))


TIMED = {"time", "datetime"}
"""Modules that read a clock; `asyncio` has only that of its loop."""
ON_REAL_TIME = {
    "messenger/node/clock.py": "it is the clock",
    "messenger/node/watchdog.py": "its threads look at a loop whose time may stand still",
    "messenger/node/takeover.py": "it waits, before there is a loop, for another process",
}


def clocks(source: str) -> set[str]:
    """Return what a module imports to read a clock by itself."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module is not None:
            imported.add(node.module.partition(".")[0])
    return imported & TIMED


def test_whoever_needs_the_time_in_the_node_is_handed_the_clock() -> None:
    found = {
        place
        for path in (ROOT / "messenger" / "node").rglob("*.py")
        if clocks(path.read_text(encoding="utf-8")) and (place := path.relative_to(ROOT).as_posix())
    }
    assert found == ON_REAL_TIME.keys()


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import os, time as t",
        "def f():\n    from time import monotonic",
        "from datetime import datetime",
    ],
)
def test_a_module_that_reads_a_clock_by_itself_is_found(source: str) -> None:
    assert clocks(source)


class FakeMsvcrt(ModuleType):
    """Locks of bytes as Windows has them: of one handle each, and refused with EACCES."""

    LK_UNLCK, LK_LOCK, LK_NBLCK, LK_RLCK, LK_NBRLCK = range(5)

    def __init__(self) -> None:
        super().__init__("msvcrt")
        self.locked: dict[tuple[int, int], int] = {}

    def locking(self, fd: int, mode: int, size_bytes: int) -> None:
        """Lock or unlock bytes from the position of the descriptor."""
        assert size_bytes == 1
        byte = (os.fstat(fd).st_ino, os.lseek(fd, 0, os.SEEK_CUR))
        if mode == self.LK_UNLCK:
            assert self.locked.pop(byte) == fd
        elif mode not in (self.LK_NBLCK, self.LK_NBRLCK):
            raise OSError(errno.EDEADLK, "would have waited")
        elif byte in self.locked:
            raise PermissionError(errno.EACCES, "Permission denied")
        else:
            self.locked[byte] = fd


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> FakeMsvcrt:
    """Make what asks for the system believe that this is Windows."""
    fake = FakeMsvcrt()
    monkeypatch.setitem(sys.modules, "msvcrt", fake)
    monkeypatch.setattr(sys, "platform", "win32")
    return fake


def test_locks_on_windows_keep_others_out_and_let_them_read(
    windows: FakeMsvcrt, tmp_path: Path
) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"1234\n")
    first, second = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    try:
        assert not system.is_locked(second)
        assert windows.locked == {}
        assert system.try_lock(first)
        assert not system.try_lock(second)
        assert system.is_locked(second)
        # What the holder wrote can be read, for a byte that is locked could not.
        assert os.read(second, 10) == b"1234\n"
        ((_, at),) = windows.locked
        assert at > 1 << 20
        assert path.stat().st_size == 5
    finally:
        os.close(first)
        os.close(second)


def test_a_file_that_can_have_no_lock_is_an_error_on_windows_too(
    windows: FakeMsvcrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(windows, "locking", broken)
    with (tmp_path / "lock").open("w+b") as file, pytest.raises(OSError, match="broken"):
        system.try_lock(file.fileno())


def test_a_home_is_locked_once_on_windows(
    windows: FakeMsvcrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_created", lambda _: "133000000000000000")
    with HomeLock(tmp_path), pytest.raises(AlreadyRunningError), HomeLock(tmp_path):
        pass
    assert len(windows.locked) == 1


def test_files_are_read_and_written_in_place_without_positioned_io(
    windows: FakeMsvcrt, tmp_path: Path
) -> None:
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        disk.write_at(fd, [memoryview(b"abc"), memoryview(b"defg")], 2)
        assert disk.read_at(fd, 10, 3) == b"bcdefg"
        assert not disk.read_cached(fd, memoryview(bytearray(2)), 0)
        os.lseek(fd, 4, os.SEEK_SET)
        room = bytearray(2)
        assert system.readinto(fd, memoryview(room)) == 2
        assert room == b"cd"
    finally:
        os.close(fd)


AWAITS = """
import signal, sys, threading
sys.platform = "win32"
from peerpost.system import signals
wait = signals.awaited([signal.SIGINT, signal.SIGTERM])
came = []
waiting = threading.Thread(target=lambda: came.append(wait()))
waiting.start()
print("ready", flush=True)
while waiting.is_alive():
    pass
print(came)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_waiting_thread_without_being_blocked(number: signal.Signals) -> None:
    """The main thread is busy, as with a blocked loop."""
    command = [sys.executable, "-c", AWAITS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(number)
        assert child.communicate(timeout=10)[0] == f"[{int(number)}]\n"


def test_a_file_is_written_through_the_cache_of_the_drive_on_macos(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There, fsync leaves the data in that cache, where a power cut takes it (fsync(2), Darwin)."""
    fcntl = pytest.importorskip("fcntl")
    flushed: list[tuple[int, int]] = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(
        fcntl, "fcntl", lambda fd, command: flushed.append((command, os.fstat(fd).st_size))
    )
    monkeypatch.setattr(sys, "platform", "darwin")
    system.write_file_durably(tmp_path / "keyfile", b"12345")
    (file, folder) = flushed
    assert (file, folder[0]) == ((51, 5), 51)

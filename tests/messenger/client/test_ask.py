"""The client and the start of a node, with real processes: a small node stands in for all of it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peerpost.client import ask, connection, logfile, spawn
from peerpost.client.paths import HomePaths
from peerpost.errors import (
    AlreadyRunningError,
    BadInputError,
    CannotCreateError,
    ConfigError,
    LockedError,
    NoIdentityError,
    PeerpostError,
    UnavailableError,
    UsageError,
)

NODE = """
import asyncio, fcntl, os, sys
from pathlib import Path
from peerpost.node.control.server import ControlServer
home = Path(sys.argv[sys.argv.index("--home") + 1])
mode = os.environ.get("NODE_MODE", "")
with (home / "starts").open("a") as starts:
    starts.write(f"{os.getpid()}\\n")
if mode == "broken":
    print("2026-01-01 info starting", file=sys.stderr)
    print("error: config.toml: unknown key 'x'\\nhint:  did you mean 'y'?", file=sys.stderr)
    sys.exit(78)
if mode == "crash":
    raise RuntimeError("it broke")
if mode == "killed":
    os.kill(os.getpid(), 9)
lock = open(home / "lock", "a")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("error: another node runs", file=sys.stderr)
    sys.exit(71)

async def main():
    async def handler(request):
        match request.method:
            case "node.status":
                return os.getpid()
            case "fds":
                return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2, 3, 4, 5)
                              if os.path.exists(f"/proc/self/fd/{fd}"))
            case "session":
                return [os.getsid(0), os.getcwd(), sys.argv[1:]]
            case "die" | "contacts.invites" | "inbox.read":
                if mode == "mortal":
                    os._exit(3)
                return "alive"
            case "stop":
                stopped.set()
    stopped = asyncio.Event()
    server = ControlServer(home / "control.sock", handler)
    await server.start()
    try:
        await asyncio.wait_for(stopped.wait(), 60)
    finally:
        await server.stop()

asyncio.run(main())
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    script = tmp_path / "node.py"
    script.write_text(NODE)
    home = tmp_path / "home"
    home.mkdir(0o700)
    HomePaths(home).keyfile.touch()

    def arguments(paths: HomePaths, idle_exit: bool, extra: tuple[str, ...]) -> list[str]:
        return [sys.executable, str(script), "--home", str(paths.home), "--idle-exit", *extra]

    monkeypatch.setattr(spawn, "_arguments", arguments)
    yield home
    with contextlib.suppress(PeerpostError):
        ask.call(home, "stop", spawn=False)


def starts(home: Path) -> list[int]:
    return [int(line) for line in (home / "starts").read_text().split()]


@pytest.mark.slow
def test_first_command_starts_the_node_and_the_next_finds_it(home: Path) -> None:
    first = ask.call(home, "node.status")
    assert first == ask.call(home, "node.status", spawn=False)
    assert starts(home) == [first]


@pytest.mark.slow
def test_node_is_detached(home: Path) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    session, folder, _ = ask.call(home, "session")
    assert session not in (os.getsid(0), 0)
    assert folder == str(home)
    files = ask.call(home, "fds")
    assert files[0] == "/dev/null"
    assert f"{home}/node.log" in files
    # Nobody but us holds the pipe, so it ends with us.
    os.close(write_end)
    os.set_blocking(read_end, False)
    assert os.read(read_end, 1) == b""
    os.close(read_end)


COMMAND = """
import sys
from peerpost.client import ask, spawn
spawn._arguments = lambda paths, *_: [sys.executable, sys.argv[1], "--home", str(paths.home)]
print(ask.call(sys.argv[2], "node.status"))
"""


@pytest.mark.slow
def test_twenty_commands_at_once_start_one_node(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "node.py"
    commands = [
        subprocess.Popen([sys.executable, "-c", COMMAND, script, home], stdout=subprocess.PIPE)
        for _ in range(20)
    ]
    pids = {int(command.communicate(timeout=60)[0]) for command in commands}
    assert [command.returncode for command in commands] == [0] * 20
    assert len(pids) == 1
    assert starts(home) == list(pids)


def test_no_spawn(home: Path) -> None:
    with pytest.raises(UnavailableError, match="not running") as raised:
        ask.call(home, "node.status", spawn=False)
    assert "node start" in str(raised.value.hint)


def test_no_identity_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoIdentityError, match="no identity") as raised:
        ask.call(tmp_path / "nowhere", "contacts.list")
    assert "identity new" in str(raised.value.hint)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.slow
def test_new_identity_makes_the_home(home: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "a" / "b"
    with ask.connect(fresh, identity=False) as node:
        assert node.call("node.status")
        node.call("stop")
    assert fresh.stat().st_mode & 0o777 == 0o700
    assert HomePaths(fresh).node_log.stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_reason_of_a_node_that_does_not_start(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HomePaths(home).node_log.write_text("error: an old one\n")
    monkeypatch.setenv("NODE_MODE", "broken")
    with pytest.raises(ConfigError, match="unknown key 'x'") as raised:
        ask.call(home, "node.status")
    assert raised.value.hint == "did you mean 'y'?"
    monkeypatch.setenv("NODE_MODE", "crash")
    with pytest.raises(PeerpostError, match=r"exit code 1 .*RuntimeError: it broke") as crashed:
        ask.call(home, "node.status")
    assert crashed.value.exit_code == 1
    assert "node.log" in str(crashed.value.hint)
    monkeypatch.setenv("NODE_MODE", "killed")
    with pytest.raises(UnavailableError, match="signal 9"):
        ask.call(home, "node.status")


@pytest.mark.slow
def test_home_held_by_a_node_that_leaves(home: Path) -> None:
    with (home / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        timer = threading.Timer(1, fcntl.flock, (lock, fcntl.LOCK_UN))
        timer.start()
        assert ask.call(home, "node.status")
        timer.join()
    assert len(starts(home)) > 1


@pytest.mark.slow
def test_home_held_for_good(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = HomePaths(home)
    with (home / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError):
            spawn.start(paths, dial=lambda: connection.dial(home), timeout_s=3.0)


@pytest.mark.slow
def test_node_that_never_answers_is_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(spawn, "_arguments", lambda *_: sleeper)
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=r"did not answer within 0\.3 seconds"):
        spawn.start(HomePaths(home), dial=lambda: connection.dial(home), timeout_s=0.3)
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_node_that_dies_over_a_request(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_MODE", "mortal")
    with pytest.raises(UnavailableError, match="ended before it answered"):
        ask.call(home, "die")
    # A request that only reads is sent again, to a new node.
    ask.call(home, "node.status")
    monkeypatch.setenv("NODE_MODE", "")
    assert ask.call(home, "contacts.invites") == "alive"


@pytest.mark.slow
def test_text_that_was_printed_in_part_is_not_asked_for_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_MODE", "mortal")
    with pytest.raises(UnavailableError, match="ended before it answered"):
        ask.call(home, "inbox.read")
    assert len(starts(home)) == 1


@pytest.mark.slow
def test_request_that_no_node_read_is_asked_again(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(HomePaths(home).socket))
        listener.listen(1)

        def leave() -> None:
            sock, _ = listener.accept()
            HomePaths(home).socket.unlink()
            while not sock.recv(1, socket.MSG_PEEK):
                pass
            sock.close()

        leaving = threading.Thread(target=leave, daemon=True)
        leaving.start()
        assert ask.call(home, "node.status") == starts(home)[0]
        leaving.join(30)


def test_request_that_was_read_is_never_asked_again(home: Path) -> None:
    """Also by a node that is gone before the sending side looks again."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(HomePaths(home).socket))
        listener.listen(1)
        with ask.connect(home) as node:
            node._socket = AnsweredAtOnce(node._socket, listener)  # type: ignore[assignment]
            assert node.call("node.status") == 7


class AnsweredAtOnce:
    """The client's socket, to a node that has read, answered and left when `send` returns."""

    def __init__(self, sock: socket.socket, listener: socket.socket) -> None:
        self._socket, self._node = sock, listener.accept()[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def send(self, data: bytes) -> int:
        sent = self._socket.send(data)
        if b"\n" in self._node.recv(1 << 16):
            self._node.sendall(b'{"jsonrpc": "2.0", "id": 1, "result": 7}\n')
            self._node.close()
        return sent


def test_what_answers_is_no_node(home: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(HomePaths(home).socket))
        listener.listen(1)

        def babble() -> None:
            sock, _ = listener.accept()
            sock.recv(1 << 16)
            sock.sendall(b"220 smtp.example.org ready\r\n")
            sock.close()

        babbling = threading.Thread(target=babble, daemon=True)
        babbling.start()
        with pytest.raises(UnavailableError, match="no Peerpost node"):
            ask.call(home, "node.status", spawn=False)
        babbling.join(30)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"unix": 7}', '{"unix": "/nowhere/x"}', '{"unix": "a\\u0000b"}'],
)
def test_damaged_control_file_means_no_node(home: Path, content: str) -> None:
    HomePaths(home).control_file.write_text(content)
    assert connection.dial(home) is None


@pytest.mark.slow
def test_socket_of_another_user(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ask.connect(home):
        monkeypatch.setattr(connection, "peer_uid", lambda _: os.geteuid() + 1)
        with pytest.raises(LockedError, match="another user"):
            ask.call(home, "node.status")
        monkeypatch.undo()


def test_home_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreateError, match="cannot make the folder"):
        ask.connect(tmp_path / "file" / "home", identity=False)


@pytest.mark.slow
def test_text_that_is_no_utf8_is_refused_before_it_is_sent(home: Path) -> None:
    with ask.connect(home) as node:
        with pytest.raises(BadInputError, match="UTF-8"):
            node.call("node.status", {"text": b"\xff".decode(errors="surrogateescape")})
        with pytest.raises(UsageError, match="too long"):
            node.call("node.status", {"text": "x" * (1 << 20)})
        assert node.call("node.status")


@pytest.mark.slow
def test_log_is_rotated(home: Path) -> None:
    with HomePaths(home).node_log.open("wb") as log:
        log.truncate(logfile.LIMIT_BYTES + 1)
    ask.call(home, "node.status")
    assert HomePaths(home).node_log.stat().st_size < 1000
    assert (home / "node.log.1").exists()


@pytest.mark.slow
def test_import_is_light() -> None:
    code = "import sys, peerpost.client.ask; print(json.dumps(list(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", "import json;" + code], capture_output=True, check=True
    )
    heavy = {"asyncio", "orjson", "msgspec", "subprocess", "dataclasses", "logging", "click"}
    assert not heavy & set(json.loads(done.stdout))

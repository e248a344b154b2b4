"""The control socket against real clients: framing, files, streams, limits, and who may speak."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from peerpost.client import connection
from peerpost.client.paths import HomePaths
from peerpost.client.rpc import MAX_FDS, MAX_REQUEST_BYTES, Final, MethodNotFoundError, Request
from peerpost.errors import (
    NotFoundError,
    PeerpostError,
    TimedOutError,
    UnavailableError,
    UsageError,
)
from peerpost.node.control import caller
from peerpost.node.control.caller import MAX_REQUESTS, Caller
from peerpost.node.control.server import ControlServer


class Fake:
    """Methods that show what a server can do, and what became of them."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.started = threading.Event()
        self.kept: list[int] = []

    async def __call__(self, request: Request) -> object:
        match request.method:
            case "echo":
                return request.params
            case "read":
                return os.pread(request.fd(0), 100, 0).decode()
            case "keep":
                self.kept.append(os.dup(request.fd(0)))
                return None
            case "missing":
                raise NotFoundError("no contact named 'alic'", hint="did you mean 'alice'?")
            case "other":
                error = PeerpostError("an error of a class of its own")
                error.code, error.exit_code = "special", 69
                raise error
            case "bug":
                raise ZeroDivisionError("a secret detail")
            case "unjsonable":
                return object()
            case "forever":
                return await self._forever()
            case "count":
                return self._count(request.params["to"])
            case "late":
                return self._late()
        raise MethodNotFoundError(request.method)

    async def _forever(self) -> None:
        self.started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            self.cancelled.set()

    async def _count(self, to: int) -> AsyncIterator[object]:
        for n in range(to):
            yield n
        yield Final("done")

    async def _late(self) -> AsyncIterator[object]:
        yield {"state": "queued"}
        raise TimedOutError("not delivered within 0 s")


class Served:
    """A control server on a loop of its own thread."""

    def __init__(self, home: Path, *, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.home = home
        self.fake = Fake()
        self.server = ControlServer(HomePaths(home).socket, self.fake)
        self.loop = loop or asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.do(self.server.start)

    def do(self, coroutine: Callable[..., Any], *args: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine(*args), self.loop).result(20)

    def close(self) -> None:
        self.do(self.server.stop, 0.2)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        assert not self._thread.is_alive()
        self.loop.close()

    def connect(self) -> connection.NodeConnection:
        node = connection.dial(self.home)
        assert node is not None
        return node

    def raw(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(os.fspath(self.server.path))
        return sock


@pytest.fixture(params=["asyncio", "uvloop"])
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    loops = pytest.importorskip(request.param)
    home = tmp_path / "home"
    home.mkdir(0o700)
    with closing(Served(home, loop=loops.new_event_loop())) as served:
        yield served


def answers(sock: socket.socket, count: int) -> list[dict[str, Any]]:
    with sock.makefile("rb") as file:
        return [json.loads(file.readline()) for _ in range(count)]


def eventually(true: Callable[[], bool]) -> None:
    """Wait until something is so that follows from what was done."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def open_fds() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_result_and_exact_text(served: Served) -> None:
    params = {"text": "é\x1b[31m\u202e🎈\0", "n": [1, None]}
    with served.connect() as node:
        assert node.call("echo", params) == params
        assert node.call("echo") == {}


def test_socket_is_private(served: Served) -> None:
    mode = served.server.path.lstat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_error_keeps_class_code_exit_code_and_hint(served: Served) -> None:
    with served.connect() as node:
        with pytest.raises(NotFoundError) as raised:
            node.call("missing")
        assert raised.value.message == "no contact named 'alic'"
        assert raised.value.hint == "did you mean 'alice'?"
        with pytest.raises(PeerpostError) as raised:
            node.call("other")
        assert (raised.value.code, raised.value.exit_code) == ("special", 69)


@pytest.mark.parametrize("method", ["bug", "unjsonable"])
def test_bug_in_a_handler_shows_no_detail_and_stops_nothing(
    served: Served, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    with served.connect() as node:
        with pytest.raises(PeerpostError) as raised:
            node.call(method)
        assert (raised.value.code, raised.value.exit_code) == ("internal", 1)
        assert "secret" not in raised.value.message
        assert node.call("echo", {"still": "here"}) == {"still": "here"}
    assert f"{method} failed" in caplog.text


def test_unknown_method_hints_at_another_version(served: Served) -> None:
    with served.connect() as node, pytest.raises(UnavailableError) as raised:
        node.call("nonsense")
    assert "another version" in str(raised.value.hint)


def test_file_goes_along_and_is_closed(served: Served, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("in the file")
    before = open_fds()
    with served.connect() as node, (tmp_path / "f").open() as file:
        assert node.call("read", fds=[file.fileno()]) == "in the file"
        with pytest.raises(UsageError, match="no file 0"):
            node.call("read")
    eventually(lambda: open_fds() == before)


def test_taken_file_outlives_its_request(served: Served, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("kept")
    with served.connect() as node, (tmp_path / "f").open() as file:
        node.call("keep", fds=[file.fileno()])
    (fd,) = served.fake.kept
    assert os.read(fd, 10) == b"kept"
    os.close(fd)


def test_stream_comes_before_the_result(served: Served) -> None:
    events: list[object] = []
    with served.connect() as node:
        assert node.call("count", {"to": 500}, on_event=events.append) == "done"
        assert events == list(range(500))
        events.clear()
        with pytest.raises(TimedOutError):
            node.call("late", on_event=events.append)
    assert events == [{"state": "queued"}]


def test_stream_on_the_wire(served: Served) -> None:
    with served.raw() as sock:
        sock.sendall(b'{"jsonrpc":"2.0","id":"x","method":"count","params":{"to":1}}\n')
        event, result = answers(sock, 2)
    assert event == {"jsonrpc": "2.0", "method": "count.event", "params": {"id": "x", "event": 0}}
    assert result == {"jsonrpc": "2.0", "id": "x", "result": "done"}


def test_disconnect_cancels(served: Served) -> None:
    with served.raw() as sock:
        sock.sendall(b'{"id":1,"method":"forever"}\n')
        assert served.fake.started.wait(20)
    assert served.fake.cancelled.wait(20)


def test_a_client_that_reads_late_gets_all_its_answers_whole(served: Served) -> None:
    with served.raw() as sock:
        for id_ in range(40):
            params = {"text": f"{id_}" + "x" * 100_000}
            request = {"jsonrpc": "2.0", "id": id_, "method": "echo", "params": params}
            sock.sendall(json.dumps(request).encode() + b"\n")
        time.sleep(0.3)  # More than the socket takes: the node must wait, and lose nothing.
        found = {answer["id"]: answer["result"]["text"] for answer in answers(sock, 40)}
        assert found == {id_: f"{id_}" + "x" * 100_000 for id_ in range(40)}


def test_half_closed_client_gets_its_answers(served: Served) -> None:
    with served.raw() as sock:
        sock.sendall(b'{"id":1,"method":"count","params":{"to":2}}\n{"id":2,"method":"echo"}\n')
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            assert len(file.readlines()) == 4


def test_half_closed_client_that_leaves_is_noticed(served: Served) -> None:
    with served.raw() as sock:
        sock.sendall(b'{"id":1,"method":"forever"}\n')
        sock.shutdown(socket.SHUT_WR)
        assert served.fake.started.wait(20)
        assert not served.fake.cancelled.wait(0.7)
    assert served.fake.cancelled.wait(20)


@pytest.mark.parametrize("how", ["leaves", "says no more"])
def test_on_the_loopback_either_is_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """TCP does not say whether a client has left or only has nothing more to say."""
    monkeypatch.setenv("PEERPOST_CONTROL", "tcp")
    home = tmp_path / "home"
    home.mkdir(0o700)
    with closing(Served(home)) as served:
        where = json.loads(served.server.path.read_text())
        with socket.create_connection(("127.0.0.1", where["port"]), timeout=20) as sock:
            sock.sendall(where["token"].encode() + b'\n{"id":1,"method":"forever"}\n')
            # With bytes left unread, its end would be a reset.
            assert (
                sock.recv(len(where["proof"]) + 1, socket.MSG_WAITALL).decode()
                == where["proof"] + "\n"
            )
            assert served.fake.started.wait(20)
            assert not served.fake.cancelled.is_set()
            if how == "leaves":
                sock.close()
            else:
                sock.shutdown(socket.SHUT_WR)
            assert served.fake.cancelled.wait(20)


def test_many_requests_pipelined(served: Served) -> None:
    count = MAX_REQUESTS * 5
    with served.raw() as sock:
        lines = [b'{"id":%d,"method":"echo"}\n' % n for n in range(count)]
        sock.sendall(b"".join(lines))
        assert {answer["id"] for answer in answers(sock, count)} == set(range(count))


def test_notification_is_run_and_not_answered(served: Served) -> None:
    with served.raw() as sock:
        sock.sendall(b'{"method":"missing"}\n{"id":2,"method":"echo"}\n')
        assert answers(sock, 1)[0]["id"] == 2


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b"garbage", -32700),
        (b"\xff\xfe\x00", -32700),
        (b'{"a":"\\ud800"}', -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b'[{"id":1,"method":"echo"}]', -32600),
        (b'{"id":1}', -32600),
        (b'{"id":1,"method":7}', -32600),
        (b'{"id":{},"method":"echo"}', -32600),
        (b'{"id":1,"method":"echo","fds":1}', -32600),
        (b'{"id":1,"method":"echo","fds":-1}', -32600),
        (b'{"id":1,"method":"echo","fds":true}', -32600),
        (b"x" * (MAX_REQUEST_BYTES + 1), -32600),
    ],
)
def test_garbage_is_answered_and_stops_nothing(served: Served, line: bytes, number: int) -> None:
    with served.raw() as sock:
        try:
            sock.sendall(line + b"\n" + b'{"id":9,"method":"echo"}\n')
        except (BrokenPipeError, ConnectionResetError):
            assert len(line) > MAX_REQUEST_BYTES
        with sock.makefile("rb") as file:
            (answer,) = [json.loads(line) for line in read_lines(file)]
    assert answer["error"]["code"] == number
    with served.connect() as node:
        assert node.call("echo") == {}


def read_lines(file: Any) -> list[bytes]:
    lines = []
    try:
        while line := file.readline():
            lines.append(line)
    except ConnectionResetError:
        pass
    return lines


def test_params_that_are_no_object(served: Served) -> None:
    with served.raw() as sock:
        sock.sendall(b'{"id":1,"method":"echo","params":[1]}\n{"id":2,"method":"echo"}\n')
        refused, served_next = answers(sock, 2)
    assert refused["error"]["code"] == -32602
    assert served_next["result"] == {}


def test_too_many_files_are_closed_and_refused(served: Served) -> None:
    before = open_fds()
    with served.raw() as sock, open(os.devnull) as null:  # noqa: PTH123
        for _ in range(MAX_FDS + 1):
            socket.send_fds(sock, [b" "], [null.fileno()])
        with sock.makefile("rb") as file:
            (answer,) = [json.loads(line) for line in read_lines(file)]
        assert answer["error"]["code"] == -32600
    eventually(lambda: open_fds() == before)


def test_files_of_a_client_that_left_are_closed(served: Served) -> None:
    before = open_fds()
    with served.raw() as sock, open(os.devnull) as null:  # noqa: PTH123
        socket.send_fds(sock, [b'{"id":1,'], [null.fileno()])
    eventually(lambda: open_fds() == before and not served.server._connections)


def test_client_that_reads_nothing_holds_up_nobody(served: Served) -> None:
    with served.raw() as sock:
        sock.sendall(b'{"id":1,"method":"count","params":{"to":1000000}}\n')
        with served.connect() as node:
            assert node.call("echo") == {}
    eventually(lambda: served.server.requests == 0)


def test_connections_are_bounded(tmp_path: Path) -> None:
    with closing(Served(tmp_path)) as served:
        served.server._max_connections = 3
        held = [served.connect() for _ in range(3)]
        for node in held:
            node.call("echo")
        with pytest.raises(PeerpostError), served.connect() as fourth:
            fourth.call("missing")
        for node in held:
            assert node.call("echo") == {}
            node.close()


def test_stale_socket_and_symlink_are_replaced(tmp_path: Path) -> None:
    path = HomePaths(tmp_path).socket
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(path))
    with closing(Served(tmp_path)) as served, served.connect() as node:
        assert node.call("echo") == {}
    assert not path.exists()
    precious = tmp_path / "precious"
    precious.write_text("untouched")
    path.symlink_to(precious)
    with closing(Served(tmp_path)) as served, served.connect() as node:
        assert node.call("echo") == {}
    assert precious.read_text() == "untouched"


def test_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    with closing(Served(tmp_path)) as first, closing(Served(tmp_path)) as second:
        first.do(first.server.stop)
        with second.connect() as node:
            assert node.call("echo") == {}


def test_long_home_goes_through_control_json(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    home.mkdir(0o700)
    with closing(Served(home)) as served:
        folder = served.server.path.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(HomePaths(home).control_file.stat().st_mode) == 0o600
        with served.connect() as node:
            assert node.call("echo") == {}
    assert not folder.exists()
    assert not HomePaths(home).control_file.exists()
    assert connection.dial(home) is None


def test_stop_lets_running_requests_end_and_cancels_the_rest(served: Served) -> None:
    with served.connect() as node:
        outcome: list[object] = []

        def ask() -> None:
            try:
                node.call("forever")
            except PeerpostError as error:
                outcome.append(error)

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        assert served.fake.started.wait(20)
        served.do(served.server.stop, 0.1)
        asking.join(20)
    assert isinstance(outcome[0], UnavailableError)
    assert served.fake.cancelled.is_set()


def test_another_user_is_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr("peerpost.node.control.unix_door.peer_uid", lambda _: other)
    with pytest.raises(UnavailableError), served.connect() as node:
        node.call("echo")


def test_files_wait_for_descriptors_and_nothing_else_does(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = threading.Event()
    short.set()
    monkeypatch.setattr(Caller, "_short_of_descriptors", lambda _: short.is_set())
    (tmp_path / "a").write_text("inside")
    with served.connect() as plain:
        assert plain.call("echo", {"a": 1}) == {"a": 1}
    with served.connect() as node, (tmp_path / "a").open() as file:
        asking = threading.Thread(target=node.call, args=("keep",), kwargs={"fds": [file.fileno()]})
        asking.start()
        with served.connect() as plain:
            assert plain.call("echo", {"a": 2}) == {"a": 2}
        assert served.fake.kept == []
        short.clear()
        asking.join(20)
    (kept,) = served.fake.kept
    assert os.pread(kept, 100, 0) == b"inside"
    os.close(kept)


def test_files_that_the_system_dropped_are_no_mistake_of_the_client(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = caller.receive_with_files

    def dropped(*args: Any) -> Any:
        data, fds, _ = really(*args)
        for fd in fds:
            os.close(fd)
        return data, [], bool(fds)

    monkeypatch.setattr(caller, "receive_with_files", dropped)
    (tmp_path / "a").write_text("inside")
    with (
        served.connect() as node,
        (tmp_path / "a").open() as file,
        pytest.raises(UnavailableError, match="as many files open as it may") as raised,
    ):
        node.call("read", fds=[file.fileno()])
    assert "ulimit -n" in str(raised.value.hint)


def test_a_method_that_finds_no_descriptor_is_no_bug(served: Served) -> None:
    async def lacks(_request: Request) -> object:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    served.server._handler = lacks  # type: ignore[assignment]
    with served.connect() as node, pytest.raises(UnavailableError, match="as many files open"):
        node.call("echo")


@pytest.mark.parametrize("method", ["forever", "promised"])
def test_requests_are_ended_with_an_error_and_the_connection_stays(
    served: Served, method: str
) -> None:
    error = UnavailableError("the home was locked", hint="unlock it")

    def handle(request: Request) -> Any:
        """Answer some by a future, which has no task."""
        if request.method != "promised":
            return served.fake(request)
        served.fake.started.set()
        return served.loop.create_future()

    served.server._handler = handle
    with served.connect() as node:
        first = node.begin(method)
        eventually(served.fake.started.is_set)
        others = {"echo", "count"}
        served.do(served.server.end_requests, others, error, 5.0)  # It waits for none of these.
        assert served.server.runs({method})
        assert not served.server.runs(others)
        served.do(served.server.end_requests, {method, *others}, error, 0.1)
        id_, kind, value = next(node.answers())
        assert (id_, kind) == (first, "error")
        assert (value["message"], value["data"]["hint"]) == ("the home was locked", "unlock it")
        assert not served.server.runs({method})
        assert node.call("echo", {"still": "here"}) == {"still": "here"}


def test_a_request_that_ends_in_time_is_answered_as_usual(served: Served) -> None:
    with served.connect() as node:
        node.begin("count", {"to": 3})
        served.do(served.server.end_requests, {"count"}, UnavailableError("late"), 20.0)
        kinds = [kind for _, kind, _ in itertools.islice(node.answers(), 4)]
        assert kinds == ["event", "event", "event", "result"]

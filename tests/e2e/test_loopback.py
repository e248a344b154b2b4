"""The control socket on the loopback, as where there are no Unix sockets: real nodes, real commands, strangers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.support.nodes import Friend, content, meet, until

pytestmark = pytest.mark.asyncio

HOST = "127.0.0.1"
STATUS = b'{"jsonrpc": "2.0", "id": 1, "method": "node.status"}\n'


@pytest.fixture(autouse=True)
def on_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every node of this module listen there; commands find it by the file."""
    monkeypatch.setenv("PEERPOST_CONTROL", "tcp")


@pytest_asyncio.fixture
async def alice(friend: Callable[..., Friend]) -> Friend:
    """Alice, whose node a command has started."""
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    return alice


def where(one: Friend) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((one.home / "control.json").read_text())
    return found


@contextmanager
def dialled(port: int) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, port), timeout=20) as sock:
        yield sock


def heard(sock: socket.socket) -> bytes:
    """Return all that comes until the node hangs up."""
    said = b""
    try:
        while part := sock.recv(4096):
            said += part
    except ConnectionResetError:
        pass
    return said


async def test_texts_and_files_arrive_and_are_saved(
    friend: Callable[..., Friend], folder: Path
) -> None:
    alice, bob = friend("alice"), friend("bob")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    for one in (alice, bob):
        assert not (one.home / "control.sock").exists()
        assert stat.S_IMODE((one.home / "control.json").stat().st_mode) == 0o600
    given = ("--contact", "bob", "--wait", "--timeout", "60s")
    await alice.cli("send-net", *given, "hello")
    assert await bob.texts() == ["hello"]

    source = folder / "some file"
    source.write_bytes(content(300_000, seed=4))
    await alice.cli("send-net", *given, "--file", str(source))
    row = (await bob.cli("inbox", "list", "--limit", "1")).row
    target = folder / "saved"
    saved = (await bob.cli("inbox", "save", row["id"], "--out", str(target))).row
    assert target.read_bytes() == source.read_bytes()
    assert saved["size"] == 300_000


async def test_a_pipe_is_refused_with_what_to_do(alice: Friend) -> None:
    """Its bytes are nowhere that the node could open."""
    await alice.cli("contacts", "invite", "bob")
    done = await alice.cli("send-net", "--contact", "bob", "--file", "-", code=2, stdin=b"x" * 10)
    assert "file" in str(done.error["hint"])


@pytest.mark.parametrize(
    "first",
    [
        STATUS,
        b"\n" * 65,
        b"0" * 64 + b"\n" + STATUS,
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 70\r\n\r\n" + STATUS,
    ],
    ids=["no token", "empty", "wrong token", "a browser"],
)
async def test_whoever_does_not_say_the_token_hears_nothing(alice: Friend, first: bytes) -> None:
    with dialled(where(alice)["port"]) as sock:
        sock.sendall(first + b" " * 65)
        assert await asyncio.to_thread(heard, sock) == b""
    assert await alice.node_pid() == where(alice)["pid"]


@pytest.mark.parametrize("change", ["case", "one digit", "proof", "line"])
async def test_what_is_nearly_the_token_is_not(alice: Friend, change: str) -> None:
    there = where(alice)
    token = there["token"]
    said = {
        "case": token.upper() + "\n",
        "one digit": token[:-1] + ("0" if token[-1] != "0" else "1") + "\n",
        "proof": there["proof"] + "\n",
        "line": token + "\r",
    }[change]
    if said == token + "\n":
        pytest.skip("a token without letters")
    with dialled(there["port"]) as sock:
        sock.sendall(said.encode())
        assert await asyncio.to_thread(heard, sock) == b""


async def test_the_token_in_pieces_is_let_in_and_a_request_after_it_is_answered(
    alice: Friend,
) -> None:
    there = where(alice)
    with dialled(there["port"]) as sock:
        for part in (there["token"][:10], there["token"][10:], "\n"):
            sock.sendall(part.encode())
            await asyncio.sleep(0.05)
        sock.sendall(STATUS)
        with sock.makefile("rb") as lines:
            assert lines.readline().decode() == there["proof"] + "\n"
            assert json.loads(lines.readline())["result"]["pid"] == there["pid"]


async def test_silent_strangers_keep_no_command_out(alice: Friend) -> None:
    """More of them than the node serves connections."""
    port = where(alice)["port"]
    strangers = [socket.create_connection((HOST, port)) for _ in range(200)]
    try:
        assert await alice.node_pid() == where(alice)["pid"]
        await alice.cli("contacts", "list")
        # They are cut off also where nobody else comes.
        strangers[-1].settimeout(20)
        assert await asyncio.to_thread(heard, strangers[-1]) == b""
    finally:
        for sock in strangers:
            sock.close()


async def test_a_program_at_the_port_of_a_killed_node_is_told_nothing(alice: Friend) -> None:
    there = where(alice)
    os.kill(there["pid"], signal.SIGKILL)

    async def gone() -> bool:
        return await alice.node_pid() is None

    await until(gone)
    said: list[bytes] = []

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        # All that it can know: what it was told.
        writer.write(line + b'{"jsonrpc": "2.0", "id": 1, "result": []}\n')
        rest = b""
        with suppress(ConnectionResetError):
            rest = await reader.read()
        said.append(line + rest)
        writer.close()

    async with await asyncio.start_server(impostor, HOST, there["port"]):
        rows = (await alice.cli("contacts", "invite", "a-secret-name")).rows
        assert rows[0]["ticket"]
    assert set(said) == {there["token"].encode() + b"\n"}
    assert where(alice)["token"] != there["token"]
    with dialled(where(alice)["port"]) as sock:
        sock.sendall(there["token"].encode() + b"\n")
        assert await asyncio.to_thread(heard, sock) == b""


async def test_a_file_that_others_may_read_is_not_believed(alice: Friend) -> None:
    file = alice.home / "control.json"
    file.chmod(0o644)
    done = await alice.cli("contacts", "list", code=77)
    assert "control.json" in done.error["message"]
    file.chmod(0o600)
    await alice.cli("contacts", "list")


async def test_a_deleted_file_is_made_anew_and_a_node_that_stops_takes_it_along(
    alice: Friend,
) -> None:
    before = where(alice)
    (alice.home / "control.json").unlink()

    async def made() -> bool:
        return (alice.home / "control.json").exists()

    await until(made)
    assert where(alice)["pid"] == before["pid"]
    assert where(alice)["token"] != before["token"]
    assert (await alice.cli("node", "stop")).row["pid"] == before["pid"]
    assert not await made()


async def test_a_folder_is_read_by_its_path(friend: Callable[..., Friend], folder: Path) -> None:
    alice, bob = friend("alice"), friend("bob")
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    await meet(bob, alice)
    (folder / "tree").mkdir()
    (folder / "tree" / "leaf").write_bytes(content(70_000, seed=5))
    given = ("--contact", "bob", "--wait", "--timeout", "60s")
    await alice.cli("send-net", *given, "--file", str(folder / "tree"))
    row = (await bob.cli("inbox", "list", "--limit", "1")).row
    assert (row["name"], row["directory"]) == ("tree", True)


async def test_history_is_exported_and_imported(
    friend: Callable[..., Friend], folder: Path
) -> None:
    alice, bob, new = friend("alice"), friend("bob"), friend("new")
    for one in (alice, bob, new):
        await one.cli("identity", "new", "--name", one.name, "--no-passphrase")
    await meet(bob, alice)
    data = content(600_000)
    await bob.queue_file("alice", "a.bin", data)
    await bob.ask("send-net", {"contact": "alice", "text": "hello"})

    async def arrived() -> bool:
        return len((await alice.cli("inbox", "list")).rows) == 2

    await until(arrived)
    path = folder / "x.zip"
    assert (await alice.cli("inbox", "export", "--all", "--out", str(path))).row["files"] == 1
    assert (await new.cli("inbox", "import", str(path))).row["imported"] == 2
    (file,) = [row for row in (await new.cli("inbox", "list")).rows if row["kind"] == "file"]
    await new.cli("inbox", "save", file["id"], "--out", str(folder / "a.bin"))
    assert (folder / "a.bin").read_bytes() == data
    assert not list(new.home.glob(".peerpost-*"))
    assert not list(alice.home.glob(".peerpost-*"))

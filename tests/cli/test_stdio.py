"""Standard streams are whatever the caller has: closed, the wrong way round, not waiting, left, full."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Request
from peerpost.errors import ReaderLeftError

from .conftest import ENTRY, Events, FakeNode, Shell

PEERPOST = f"{sys.executable} -m peerpost.cli"


def sh(home: Path, line: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell in which `peerpost` is the command line on a home."""
    return subprocess.run(
        ["sh", "-c", f'peerpost() {{ {PEERPOST} --home "$PP" "$@"; }}; {line}'],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, **env, "PP": str(home)},
    )


def sent(node: FakeNode) -> list[dict[str, Any]]:
    return [params for method, params in node.asked if method == "send-net"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("streams", "code"),
    [
        (">&-", 79),
        (">&- 2>&-", 79),
        (">&- 2>&- <&-", 79),
        ("1</dev/null", 79),
        (">/dev/full", 79),
        ("2>&-", 0),
        ("2</dev/null", 0),
        ("2>/dev/full", 0),
        ("<&-", 0),
        ("<&- 2>&-", 0),
        ("0>/dev/null", 0),
    ],
)
@pytest.mark.parametrize("json_", ["", "--json"])
def test_what_is_sent_is_said_to_be(node: FakeNode, streams: str, code: int, json_: str) -> None:
    node.answers["send-net"] = Events([], ENTRY)
    done = sh(node.home, f"peerpost send --contact bob hi {json_} {streams}")
    assert done.returncode == code, done
    assert len(sent(node)) == 1
    if code and "2>" not in streams:
        assert b"it was done" in done.stderr
        assert b"7hq2m" in done.stderr
    if code and json_ and "2>" not in streams:
        assert json.loads(done.stderr)["error"]["code"] == "unprinted"
    if not code:
        assert b"7hq2m" in done.stdout


@pytest.mark.slow
def test_a_reader_who_leaves_a_command_that_acts(node: FakeNode) -> None:
    node.answers["send-net"] = Events([], ENTRY)
    done = sh(node.home, "{ sleep 1; peerpost send -c bob hi; echo code $? >&2; } | true")
    assert b"it was done" in done.stderr
    assert done.stderr.endswith(b"code 141\n")


@pytest.mark.slow
def test_all_is_sent_though_nothing_can_be_printed(node: FakeNode, tmp_path: Path) -> None:
    node.answers["send-net"] = lambda request: Events(
        [], ENTRY | {"id": request.params["file"]["name"]}
    )
    for name in "abc":
        (tmp_path / name).touch()
    done = sh(node.home, f"cd {tmp_path}; peerpost send -c bob --file a b c >/dev/full")
    assert done.returncode == 79
    assert [params["file"]["name"] for params in sent(node)] == ["a", "b", "c"]
    assert [name for name in "abc" if f": {name}  queued".encode() in done.stderr] == list("abc")


@pytest.mark.slow
def test_all_is_deleted_though_nothing_can_be_printed(node: FakeNode) -> None:
    pages = [[{"id": f"p{page}n{n}"} for n in range(size)] for page, size in ((0, 1000), (1, 3))]
    node.answers["inbox.older"] = {"count": 1003, "size": 1}
    node.answers["inbox.delete"] = lambda _: pages.pop(0)
    done = sh(node.home, "peerpost inbox delete --older-than 1d --yes >/dev/full")
    assert (done.returncode, pages) == (79, [])
    assert done.stderr.count(b"error: it was done") == 2


@pytest.mark.slow
def test_what_was_saved_is_said_to_be(node: FakeNode, tmp_path: Path) -> None:
    node.answers["inbox.save"] = {"id": "k3f9", "name": None, "size": 0, "blake2b": None}
    done = sh(node.home, f"peerpost inbox save k3f9 --out {tmp_path}/new >&-")
    assert done.returncode == 79
    assert (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize("json_", ["", "--json"])
def test_what_was_made_is_said_whole(node: FakeNode, json_: str) -> None:
    node.answers["identity.new"] = {"id": "x", "name": "alice", "fingerprint": "abc def"}
    done = sh(node.home, f"peerpost identity new --no-passphrase {json_} >&-")
    assert done.returncode == 79
    assert b"abc def" in done.stderr
    assert (b"{" in done.stderr) == (json_ == "--json")


@pytest.mark.slow
@pytest.mark.parametrize("streams", [">&-", "1</dev/null", ">/dev/full"])
@pytest.mark.parametrize("command", ["contacts list", "--help", "--version", "config path"])
def test_what_only_looks_fails_plainly(node: FakeNode, command: str, streams: str) -> None:
    node.answers["contacts.list"] = [{"id": "x", "name": "bob"}]
    done = sh(node.home, f"peerpost {command} {streams}")
    assert done.returncode == 74
    assert re.fullmatch(rb"error: cannot write: [\w ]+\n", done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["<&-", "0>/dev/null"])
@pytest.mark.parametrize(
    "command", ["send -c bob -", "send -c bob --name x -", "contacts add bob -"]
)
def test_input_that_cannot_be_read(node: FakeNode, command: str, streams: str) -> None:
    def read(request: Request) -> Any:
        os.read(request.fd(0), 1)

    node.answers["send-net"] = read  # What the node says of it, it says itself.
    done = sh(node.home, f"peerpost {command} {streams}")
    assert done.returncode in ((1, 66) if "--name" in command else (66,))
    assert b"Traceback" not in done.stderr


def nonblocking(kind: str) -> tuple[int, int]:
    """Return two ends of a pipe or socket, the second of which does not wait."""
    if kind == "pipe":
        ends = os.pipe()
    else:
        one, other = socket.socketpair()
        ends = (one.detach(), other.detach())
    os.set_blocking(ends[1], False)
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "socket"])
@pytest.mark.parametrize("env", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("json_", [(), ("--json",)], ids=["table", "json"])
def test_no_row_is_lost_in_what_does_not_wait(
    node: FakeNode, kind: str, env: dict[str, str], json_: tuple[str, ...]
) -> None:
    node.answers["contacts.list"] = [{"id": f"n{n}", "name": "x" * 150} for n in range(3000)]
    read_end, write_end = nonblocking(kind)
    command = [*PEERPOST.split(), "--home", str(node.home), *json_, "contacts", "list"]
    with subprocess.Popen(command, stdout=write_end, env={**os.environ, **env}) as process:
        os.close(write_end)
        time.sleep(1)  # Until it is full.
        with os.fdopen(read_end, "rb") as reader:
            found = reader.read()
    assert process.returncode == 0
    assert re.findall(rb"\bn\d+\b", found) == [b"n%d" % n for n in range(3000)]


@pytest.mark.slow
def test_a_long_text_into_what_does_not_wait(node: FakeNode) -> None:
    pieces = [f"{n:0>9}\n" * 1000 for n in range(50)]
    item = {"id": "k3f9", "kind": "text"}
    node.answers["inbox.read"] = Events([{"item": item}, *({"text": p} for p in pieces)], item)
    read_end, write_end = nonblocking("pipe")
    command = [*PEERPOST.split(), "--home", str(node.home), "inbox", "show", "k3f9"]
    with subprocess.Popen(command, stdout=write_end) as process:
        os.close(write_end)
        time.sleep(1)
        with os.fdopen(read_end, "rb") as reader:
            found = reader.read()
    assert process.returncode == 0
    assert found.endswith("".join(pieces).encode())


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 200_000])
def test_input_that_does_not_wait(node: FakeNode, size: int) -> None:
    def received(request: Request) -> Any:
        if "text" in request.params:
            return Events([], ENTRY | {"got": len(request.params["text"])})
        with os.fdopen(os.dup(request.fd(0)), "rb") as file:
            return Events([], ENTRY | {"got": len(file.read())})

    node.answers["send-net"] = received
    write_end, read_end = nonblocking("socket")
    command = [*PEERPOST.split(), "--home", str(node.home), "--json", "send", "-c", "bob", "-"]
    with subprocess.Popen(command, stdin=read_end, stdout=subprocess.PIPE) as process:
        os.close(read_end)
        with os.fdopen(write_end, "wb") as writer:
            for _ in range(5):
                time.sleep(0.2)
                writer.write(b"x" * (size // 5))
                writer.flush()
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["got"] == size
    assert process.returncode == 0


@pytest.mark.slow
def test_no_file_gets_the_number_of_a_closed_stream(shell: Shell) -> None:
    program = (
        "import os, sys\nfrom peerpost import stdio\nstdio.take_over()\n"
        "assert os.open('/dev/null', os.O_RDWR) > 2\nprint('to nobody', file=sys.stderr)\n"
    )
    for closed in ((0,), (1,), (2,), (0, 1, 2)):
        done = subprocess.run(
            [sys.executable, "-c", program],
            check=False,
            preexec_fn=lambda closed=closed: [os.close(fd) for fd in closed],
        )
        assert done.returncode == 0, closed


@pytest.mark.slow
def test_save_whose_reader_leaves_ends_as_any_program_does(node: FakeNode) -> None:
    node.answers["inbox.save"] = ReaderLeftError("it has left")
    done = sh(node.home, "peerpost inbox save k3f9 --out -")
    assert (done.returncode, done.stdout, done.stderr) == (141, b"", b"")

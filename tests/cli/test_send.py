"""`send-net`: texts, files and streams, from arguments, standard input and pipes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Request
from peerpost.errors import NotFoundError, RefusedError, StoreFullError, TimedOutError

from .conftest import ENTRY, Events, FakeNode, Shell


@pytest.mark.parametrize("command", ["send-net", "send"])
def test_send_text(node: FakeNode, shell: Shell, command: str) -> None:
    node.answers["send-net"] = Events([], ENTRY)
    ran = shell(command, "--contact", "bob", "hi")
    assert node.params == {"contact": "bob", "text": "hi"}
    assert ran.out == "7hq2m  queued  text  to bob\n"
    assert json.loads(shell(command, "--contact", "bob", "hi", "--json").out) == ENTRY


def test_send_text_that_looks_like_an_option(node: FakeNode, shell: Shell) -> None:
    node.answers["send-net"] = Events([], ENTRY)
    assert shell("send", "--contact", "bob", "--", "--wait").code == 0
    assert node.params["text"] == "--wait"


def test_send_options(node: FakeNode, shell: Shell) -> None:
    node.answers["send-net"] = Events([ENTRY], ENTRY | {"state": "delivered"})
    options = ["--lane", "bulk", "--expires", "14d", "--wait", "--timeout", "1.5"]
    ran = shell("send", "--contact", "bob", "hi", *options)
    assert node.params == {
        "contact": "bob",
        "text": "hi",
        "lane": "bulk",
        "expires_s": 14 * 86400,
        "wait": True,
        "timeout_s": 1.5,
    }
    assert ran.out == "7hq2m  queued  text  to bob\n7hq2m  delivered  text  to bob\n"
    shell("send", "--contact", "bob", "hi", "--wait")
    assert "timeout_s" not in node.params  # The node waits for as long as something moves.


@pytest.mark.parametrize(("error", "code"), [(TimedOutError("late"), 75), (RefusedError("no"), 76)])
def test_wait_in_vain(node: FakeNode, shell: Shell, error: Exception, code: int) -> None:
    sent = ENTRY | {"state": "sent"}
    node.answers["send-net"] = Events([ENTRY, sent], error)
    ran = shell("send", "--contact", "bob", "hi", "--wait", "--json")
    assert ran.code == code
    assert [json.loads(line) for line in ran.out.splitlines()] == [ENTRY]
    assert json.loads(ran.err)["error"]["message"] == str(error)


def received(request: Request) -> Any:
    """Answer with the bytes that came, and remember them."""
    with os.fdopen(os.dup(request.fd(0)), "rb") as file:
        what = request.params.get("file") or request.params["stream"]
        entry = ENTRY | {
            "name": what["name"],
            "kind": "file",
            "data": file.read().decode("latin-1"),
        }
    return Events([], entry)


def test_send_files(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    node.answers["send-net"] = received
    paths = [tmp_path / f"{n}.bin" for n in range(12)]
    for path in paths:
        path.write_text(path.name)
    ran = shell("send", "--contact", "bob", "--file", *map(str, paths), "--json")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["name"] for row in rows] == [path.name for path in paths]
    assert [row["data"] for row in rows] == [path.name for path in paths]
    assert node.params["file"] == {
        "name": "11.bin",
        "fd_index": 0,
        "path_hex": os.fsencode(paths[11]).hex(),
        "size": 6,
    }
    shell("send", "--contact", "bob", "--file", str(paths[0]), "--name", "other")
    assert node.params["file"]["name"] == "other"


@pytest.mark.slow
def test_more_files_than_may_be_open(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    node.answers["send-net"] = received
    for number in range(300):
        (tmp_path / f"{number:03}.jpg").write_text(str(number))
    line = f'ulimit -n 64; exec "$@" {tmp_path}/*.jpg'
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(shell.home), "--json"]
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command, "send", "-c", "bob", "--file"],
        capture_output=True,
        check=True,
        timeout=60,
    )
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert [row["data"] for row in rows] == [str(number) for number in range(300)]


def test_a_file_that_goes_before_its_turn(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    def answer(request: Request) -> Any:
        (tmp_path / "b").unlink(missing_ok=True)
        return Events([], ENTRY | {"name": request.params["file"]["name"]})

    node.answers["send-net"] = answer
    for name in "abc":
        (tmp_path / name).touch()
    ran = shell("send", "-c", "bob", "--file", *(str(tmp_path / name) for name in "abc"))
    assert ran.code == 66
    assert [line.split()[2] for line in ran.out.splitlines()] == ["a", "c"]
    assert "there is no file" in ran.err


@pytest.mark.slow
def test_a_stream_among_files_is_read_once(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    node.answers["send-net"] = received
    (tmp_path / "a").write_text("file")
    command = f"{sys.executable} -m peerpost.cli --home {shell.home} --json send -c bob"
    line = f"printf one | {command} --file /dev/stdin {tmp_path}/a /dev/fd/7 7<{tmp_path}/a"
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=60)
    assert [json.loads(row)["data"] for row in done.stdout.splitlines()] == ["one", "file", "file"]


@pytest.mark.parametrize(
    "name", [b"a\xff", b"\xff\xfe", b"\xed\xa0\x80.txt", "ü".encode("latin-1")]
)
def test_a_name_that_is_no_text(node: FakeNode, shell: Shell, tmp_path: Path, name: bytes) -> None:
    node.answers["send-net"] = received
    path = os.fsencode(tmp_path) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(b"content")
    ran = shell("send", "-c", "bob", "--file", os.fsdecode(path), "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["data"] == "content"
    assert bytes.fromhex(node.params["file"]["path_hex"]) == path
    ran = shell("send", "-c", "bob", "--file", os.fsdecode(path + b"\xfd"), "--json")
    assert ran.code == 66
    assert "\\xfd" in json.loads(ran.err)["error"]["message"]


def test_send_a_folder(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    def answer(request: Request) -> Any:
        assert os.listdir(request.fd(0)) == ["a"]  # noqa: PTH208 - of a descriptor
        skipped = ["b\x1b (links to outside the folder)"]
        return Events([], ENTRY | {"kind": "file", "name": "photos", "skipped": skipped})

    node.answers["send-net"] = answer
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a").touch()
    ran = shell("send", "--contact", "bob", "--file", f"{tmp_path}/photos/")
    assert ran.code == 0
    assert "not sent: b<U+001B> (links to outside the folder)" in ran.err
    assert node.params["folder"] == {
        "name": "photos",
        "fd_index": 0,
        "path_hex": os.fsencode(tmp_path / "photos").hex(),
    }


def test_one_of_several_fails(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    def answer(request: Request) -> Any:
        if request.params["file"]["name"] in ("b", "c"):
            return StoreFullError(f"no room for {request.params['file']['name']}")
        return Events([], ENTRY | {"name": request.params["file"]["name"]})

    node.answers["send-net"] = answer
    for name in "abcd":
        (tmp_path / name).touch()
    ran = shell("send", "--contact", "bob", "--file", *(str(tmp_path / name) for name in "abcd"))
    assert ran.code == 74
    assert [line.split()[2] for line in ran.out.splitlines()] == ["a", "d"]
    assert "no room for b" in ran.err
    assert "no room for c" in ran.err


def test_unreadable_files_send_nothing(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").touch()

    def send(path: object) -> Any:
        return shell("send", "--contact", "bob", "--file", str(tmp_path / "report.pdf"), str(path))

    ran = send(tmp_path / "reprot.pdf")
    assert ran.code == 66
    assert "did you mean" in ran.err
    assert "report.pdf" in ran.err
    assert send(tmp_path / "no" / "such").code == 66
    assert send("nul\0byte").code == 66
    assert not node.asked


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0)
    assert shell("send", "--contact", "bob", "--file", str(tmp_path / "secret")).code == 66


@pytest.mark.slow
def test_send_short_text_from_stdin(node: FakeNode, shell: Shell) -> None:
    node.answers["send-net"] = Events([], ENTRY)
    done = shell.process("send", "--contact", "bob", "-", stdin="grüße\n".encode())
    assert done.returncode == 0
    assert node.params == {"contact": "bob", "text": "grüße\n"}
    done = shell.process("send", "--contact", "bob", "-")
    assert done.returncode == 65


@pytest.mark.slow
@pytest.mark.parametrize(
    "data", [b"\xff\x00binary", b"x" * (60 << 10) + b"y", b"long" * 300_000], ids=len
)
@pytest.mark.parametrize("way", ["pipe", "file"])
def test_send_stream_from_stdin(
    node: FakeNode, shell: Shell, tmp_path: Path, data: bytes, way: str
) -> None:
    node.answers["send-net"] = received
    arguments = ["send", "--contact", "bob", "-", "--json"]
    if way == "pipe":
        done = shell.process(*arguments, stdin=data)
    else:
        (tmp_path / "in").write_bytes(b"skipped" + data)
        with (tmp_path / "in").open("rb") as file:
            os.lseek(file.fileno(), len(b"skipped"), os.SEEK_SET)
            done = subprocess.run(
                [sys.executable, "-m", "peerpost.cli", "--home", str(shell.home), *arguments],
                stdin=file,
                capture_output=True,
                check=False,
                timeout=20,
            )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"].encode("latin-1") == data
    assert node.params == {
        "contact": "bob",
        "stream": {"name": "stdin", "fd_index": 0},
        "confirm_end": True,
    }


@pytest.mark.slow
def test_send_named_stdin_is_a_stream_however_short(node: FakeNode, shell: Shell) -> None:
    node.answers["send-net"] = received
    done = shell.process("send", "--contact", "bob", "-", "--name", "a.txt", "--json", stdin=b"hi")
    assert json.loads(done.stdout)["data"] == "hi"
    assert node.params["stream"]["name"] == "a.txt"


@pytest.mark.slow
def test_refused_stream_does_not_wait_for_stdin(node: FakeNode, shell: Shell) -> None:
    node.answers["send-net"] = NotFoundError("no contact named 'bob'")
    read_end, write_end = os.pipe()
    os.write(write_end, b"\xff" * 61441)
    process = subprocess.Popen(
        [sys.executable, "-m", "peerpost.cli", "--home", str(shell.home), "send", "-c", "bob", "-"],
        stdin=read_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(read_end)
    assert process.wait(20) == 67
    os.close(write_end)


@pytest.mark.slow
def test_send_through_a_fifo(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    node.answers["send-net"] = received
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(["sh", "-c", f"printf streamed > {tmp_path}/fifo"]):
        ran = shell("send", "--contact", "bob", "--file", str(tmp_path / "fifo"), "--json")
    assert json.loads(ran.out)["data"] == "streamed"


def test_bytes_that_are_no_text_in_an_argument(node: FakeNode, shell: Shell) -> None:
    ran = shell("send", "--contact", "bob", b"\xff".decode(errors="surrogateescape"))
    assert ran.code == 65
    assert "UTF-8" in ran.err


def test_quiet_prints_nothing_where_all_is_well(node: FakeNode, shell: Shell) -> None:
    node.answers["send-net"] = ENTRY
    ran = shell("send", "-q", "--contact", "bob", "hi")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert json.loads(shell("send", "-q", "--json", "--contact", "bob", "hi").out)["id"] == "7hq2m"
    node.answers["doctor"] = [{"check": "clock", "ok": True, "found": "right", "hint": None}]
    ran = shell("doctor", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    node.answers["doctor"].append({"check": "disk", "ok": False, "found": "full", "hint": "room"})
    ran = shell("doctor", "--quiet")
    assert ran.code == 1
    assert [line.split()[0] for line in ran.out.splitlines()] == ["CHECK", "disk"]

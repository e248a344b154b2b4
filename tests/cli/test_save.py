"""`inbox save`: what is written is whole or not there, and replaces nothing unasked."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peerpost.cli.output import target
from peerpost.client.rpc import Request
from peerpost.errors import StoreFullError
from peerpost.store import disk

from .conftest import FakeNode, Shell


def saver(data: bytes, error: Exception | None = None) -> Any:
    def save(request: Request) -> Any:
        os.write(request.fd(0), data)
        return error or {"id": "k3f9", "name": "a.pdf", "size": len(data), "blake2b": None}

    return save


def test_save(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "a.pdf"
    node.answers["inbox.save"] = saver(b"\x1bPDF")
    ran = shell("inbox", "save", "k3", "--out", str(out), "--json")
    assert dict(node.asked)["inbox.save"] == {"id": "k3", "mark": False}
    # Once it lies there.
    assert node.asked[-1] == ("inbox.mark", {"ids": ["k3f9"], "unread": False})
    assert out.read_bytes() == b"\x1bPDF"
    assert json.loads(ran.out)["path"] == str(out)
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["a.pdf"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~mask


def test_save_replaces_only_by_force(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "a.pdf"
    out.write_text("precious")
    node.answers["inbox.save"] = saver(b"new")
    ran = shell("inbox", "save", "k3", "--out", str(out))
    assert ran.code == 73
    assert "--force" in ran.err
    assert "inbox.save" not in dict(node.asked)
    assert out.read_text() == "precious"
    assert shell("inbox", "save", "k3", "--out", str(out), "--force").code == 0
    assert out.read_text() == "new"


def test_save_goes_through_no_link(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    out, precious = tmp_path / "a.pdf", tmp_path / "precious"
    node.answers["inbox.save"] = saver(b"new")
    for goal in (precious, tmp_path / "not there"):
        precious.write_text("precious")
        out.symlink_to(goal)
        assert shell("inbox", "save", "k3", "--out", str(out)).code == 73
        assert shell("inbox", "save", "k3", "--out", str(out), "--force").code == 0
        assert not out.is_symlink()
        assert out.read_text() == "new"
        assert precious.read_text() == "precious"
        out.unlink()
    assert not (tmp_path / "not there").exists()


def read_by(fifo: Path, *arguments: str, shell: Shell) -> tuple[int, bytes]:
    """Save while somebody reads a named pipe; return the exit code and what was read."""
    with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE) as reader:
        ran = shell("inbox", "save", "k3", *arguments)
        if ran.code:
            reader.terminate()
        return ran.code, reader.communicate(timeout=20)[0]


@pytest.mark.slow
@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("directory", [False, True])
def test_what_is_no_file_is_written_to_and_stays(
    node: FakeNode, shell: Shell, tmp_path: Path, force: tuple[str, ...], directory: bool
) -> None:
    node.answers["inbox.save"] = saver(b"new")
    node.answers["inbox.peek"] = {"id": "k3f9", "directory": directory}
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert read_by(fifo, "--out", str(fifo), *force, shell=shell) == (0, b"new")
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    assert shell("inbox", "save", "k3", "--out", "/dev/null", *force).code == 0
    assert stat.S_ISCHR(Path("/dev/null").lstat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fifo", "home"]


@pytest.mark.slow
def test_a_link_to_what_is_no_file_is_written_through_by_force_alone(
    node: FakeNode, shell: Shell, tmp_path: Path
) -> None:
    node.answers["inbox.save"] = saver(b"new")
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    (tmp_path / "null").symlink_to("/dev/null")
    link.symlink_to("fifo")
    for out in (link, tmp_path / "null"):
        ran = shell("inbox", "save", "k3", "--out", str(out))
        assert ran.code == 73
        assert str(out.readlink()) in ran.err
    assert "inbox.save" not in dict(node.asked)
    assert read_by(fifo, "--out", str(link), "--force", shell=shell) == (0, b"new")
    assert shell("inbox", "save", "k3", "--out", str(tmp_path / "null"), "--force").code == 0
    assert link.is_symlink()
    assert (tmp_path / "null").is_symlink()


@pytest.mark.slow
@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("out", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/fd/7"])
@pytest.mark.parametrize("kind", ["pipe", "file"])
def test_a_descriptor_of_the_caller_is_written_to(
    node: FakeNode, shell: Shell, tmp_path: Path, kind: str, out: str, force: tuple[str, ...]
) -> None:
    node.answers["inbox.save"] = saver(b"new")
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(shell.home), "inbox", "save"]
    to = "| cat" if kind == "pipe" else ">> file; cat file"
    line = f'{{ printf "before " ; "$@" 7>&1 {">/dev/null" if out.endswith("7") else ""}; }} {to}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command, "k3", "--out", out, *force],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (b"before new", b"")


def test_a_pipe_that_came_meanwhile_is_not_replaced(
    node: FakeNode, shell: Shell, tmp_path: Path
) -> None:
    out = tmp_path / "a"

    def save(_: Request) -> Any:
        os.mkfifo(out)
        return {"id": "k3f9"}

    node.answers["inbox.save"] = save
    assert shell("inbox", "save", "k3", "--out", str(out), "--force").code == 73
    assert stat.S_ISFIFO(out.lstat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "home"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="it is not there")
def test_a_link_in_a_folder_that_all_write_to_is_not_the_systems(
    node: FakeNode, shell: Shell
) -> None:
    link = Path(f"/dev/shm/peerpost-test-{os.getpid()}")
    link.symlink_to("/dev/null")
    try:
        assert shell("inbox", "save", "k3", "--out", str(link)).code == 73
    finally:
        link.unlink()
    assert "inbox.save" not in dict(node.asked)


def test_a_descriptor_that_is_not_open(node: FakeNode, shell: Shell) -> None:
    for number in (99, "01", "x", 10**9):
        assert shell("inbox", "save", "k3", "--out", f"/dev/fd/{number}").code == 73
    assert "inbox.save" not in dict(node.asked)


def test_a_socket_is_not_replaced(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        for force in ((), ("--force",)):
            assert shell("inbox", "save", "k3", "--out", str(tmp_path / "s"), *force).code == 73
    assert stat.S_ISSOCK((tmp_path / "s").lstat().st_mode)
    assert "inbox.save" not in dict(node.asked)


def test_save_under_a_name_that_is_no_text(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    out = os.fsdecode(os.fsencode(tmp_path) + b"/a\xff\xfe.pdf")
    node.answers["inbox.save"] = saver(b"new")
    ran = shell("inbox", "save", "k3", "--out", out, "--json")
    assert Path(out).read_bytes() == b"new"
    assert json.loads(ran.out)["path"] == f"{tmp_path}/a\\xff\\xfe.pdf"
    ran = shell("inbox", "save", "k3", "--out", out)
    assert ran.code == 73
    assert "/a\\xff\\xfe.pdf exists" in ran.err
    ran = shell("inbox", "save", "k3", "--out", out, "--json")
    assert json.loads(ran.err)["error"]["message"] == f"{tmp_path}/a\\xff\\xfe.pdf exists"


def test_save_that_loses_a_race(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    out = tmp_path / "a.pdf"

    def save(request: Request) -> Any:
        out.write_text("came first")
        return {"id": "k3f9"}

    node.answers["inbox.save"] = save
    assert shell("inbox", "save", "k3", "--out", str(out)).code == 73
    assert out.read_text() == "came first"
    assert "inbox.mark" not in dict(node.asked)


def test_save_that_fails_leaves_nothing(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    node.answers["inbox.save"] = saver(b"half", StoreFullError("no space left"))
    assert shell("inbox", "save", "k3", "--out", str(tmp_path / "a")).code == 74
    assert shell("inbox", "save", "k3", "--out", str(tmp_path / "no" / "a")).code == 73
    assert shell("inbox", "save", "k3", "--out", str(tmp_path)).code == 74
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.slow
def test_save_that_is_terminated_leaves_nothing(
    node: FakeNode, shell: Shell, tmp_path: Path
) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def save(request: Request) -> Any:
        os.write(request.fd(0), b"half")
        processes[0].terminate()
        processes[0].wait(20)
        return None

    node.answers["inbox.save"] = save
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(shell.home)]
    processes.append(
        subprocess.Popen([*command, "inbox", "save", "k3", "--out", str(tmp_path / "a")])
    )
    assert processes[0].wait(20) == 143
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.slow
def test_save_to_stdout(node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    node.answers["inbox.save"] = saver(b"\x00\x1b raw")
    assert shell.process("inbox", "save", "k3", "--out", "-").stdout == b"\x00\x1b raw"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = shell("inbox", "save", "k3", "--out", "-")
    assert ran.code == 2
    assert "terminal" in ran.err


def test_a_limit_on_the_size_of_files_is_no_full_disk(tmp_path: Path) -> None:
    was = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, was[1]))
    try:
        with pytest.raises(StoreFullError) as found, target(str(tmp_path / "x"), force=False) as fd:
            os.pwrite(fd, b"x", 4096)
        fd = os.open(tmp_path / "y", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(StoreFullError) as deeper, disk.errors("cannot write a sealed file"):
            os.pwrite(fd, b"x", 4096)
        os.close(fd)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, was)
    for error in (found.value, deeper.value):
        assert "ulimit -f" in str(error.hint)
        assert "space" not in error.message

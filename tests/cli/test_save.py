"""`inbox save`: what is written is whole or not there, and replaces nothing unasked."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import StoreFullError
from peerpost.node.rpc import Request

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


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_save_replaces_no_device(
    node: FakeNode, shell: Shell, tmp_path: Path, force: tuple[str, ...]
) -> None:
    node.answers["inbox.save"] = saver(b"new")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "null").symlink_to("/dev/null")
    for out in (
        tmp_path / "fifo",
        tmp_path / "link",
        tmp_path / "null",
        "/dev/null",
        "/dev/stdout",
    ):
        ran = shell("inbox", "save", "k3", "--out", str(out), *force)
        assert ran.code == 73, out
        assert "--out -" in ran.err
    assert "inbox.save" not in dict(node.asked)
    assert stat.S_ISFIFO((tmp_path / "fifo").lstat().st_mode)


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


def test_save_to_stdout(node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    node.answers["inbox.save"] = saver(b"\x00\x1b raw")
    assert shell.process("inbox", "save", "k3", "--out", "-").stdout == b"\x00\x1b raw"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    ran = shell("inbox", "save", "k3", "--out", "-")
    assert ran.code == 2
    assert "terminal" in ran.err

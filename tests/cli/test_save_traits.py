"""`inbox save`: a file is what it was where it was sent from, as far as that widens nobody's rights."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Request
from tests.support.archives import file, folder, packed

from .conftest import FakeNode, Shell

PEEK = {"id": "k3f9", "name": "key", "kind": "file", "directory": False}


def saver(data: bytes, **more: Any) -> Any:
    def save(request: Request) -> Any:
        os.write(request.fd(0), data)
        return {"id": "k3f9", "name": "key", "size": len(data), **more}

    return save


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("said", ["0600", "0755", "0777", "0400", "0000", "7777", None])
def test_rights_are_those_that_were_sent_and_never_wider(
    node: FakeNode, shell: Shell, tmp_path: Path, umask: int, said: str | None
) -> None:
    node.answers |= {"inbox.save": saver(b"secret"), "inbox.peek": {**PEEK, "mode": said}}
    before = os.umask(umask)
    try:
        assert shell("inbox", "save", "k3", "--out", str(tmp_path / "key")).code == 0
    finally:
        os.umask(before)
    sent = 0o666 if said is None else int(said, 8) & 0o777
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == sent & ~umask


def test_while_it_is_written_nobody_else_may_read_it(
    node: FakeNode, shell: Shell, tmp_path: Path
) -> None:
    seen = []

    def save(request: Request) -> Any:
        seen.append(stat.S_IMODE(os.fstat(request.fd(0)).st_mode))
        return {"id": "k3f9"}

    node.answers |= {"inbox.save": save, "inbox.peek": {**PEEK, "mode": "0600"}}
    assert shell("inbox", "save", "k3", "--out", str(tmp_path / "key")).code == 0
    assert seen == [0o600]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("2023-11-14T22:13:20.000Z", 1_700_000_000),
        ("1970-01-01T00:00:00.000Z", 0),
        ("9999-12-31T23:59:59.000Z", None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_its_time_is_kept(
    node: FakeNode, shell: Shell, tmp_path: Path, said: str | None, kept: int | None
) -> None:
    node.answers |= {"inbox.save": saver(b"data"), "inbox.peek": {**PEEK, "modified_at": said}}
    ran = shell("inbox", "save", "k3", "--out", str(tmp_path / "a"))
    assert ran.code == 0, ran.err
    if kept is not None:
        assert (tmp_path / "a").stat().st_mtime == kept


def test_a_folder_that_stays_packed_is_nobody_elses(
    node: FakeNode, shell: Shell, tmp_path: Path
) -> None:
    data = packed(folder(), file("top/key", mode=0o600))
    node.answers |= {"inbox.save": saver(data), "inbox.peek": {**PEEK, "directory": True}}
    out = tmp_path / "a.tar"
    assert shell("inbox", "save", "k3", "--out", str(out)).code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600

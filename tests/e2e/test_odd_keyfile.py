"""A keyfile that is no keyfile: nothing waits for it, and no home is called open for it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import Friend

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders"),
]
NEW = b"another one of these\n"


async def made(friend: MakeFriend) -> Friend:
    """Somebody with a passphrase and no node."""
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--passphrase-stdin", stdin=NEW)
    await alice.cli("node", "stop", code=None)
    return alice


def pipe_at(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "command",
    [
        ("identity", "passphrase", "change", "--passphrase-stdin"),
        ("identity", "passphrase", "set", "--passphrase-stdin"),
        ("identity", "keyring"),
        ("identity", "lock"),
        ("node", "run"),
        ("node", "start"),
        ("inbox", "list"),
    ],
    ids=" ".join,
)
async def test_a_named_pipe_in_place_of_the_keyfile_holds_nothing_up(
    friend: MakeFriend, command: tuple[str, ...]
) -> None:
    alice = await made(friend)
    pipe_at(alice.home / "keyfile")
    refused = await alice.cli(*command, code=None, stdin=NEW)
    assert refused.code != 0
    assert refused.error["message"]


@pytest.mark.parametrize("name", ["lock", "control.json", "config.toml", "keyfile.bak"])
async def test_a_named_pipe_in_place_of_another_file_holds_nothing_up(
    friend: MakeFriend, name: str
) -> None:
    alice = await made(friend)
    pipe_at(alice.home / name)
    await alice.cli("identity", "unlock", "--passphrase-stdin", code=None, stdin=NEW)
    await alice.cli("node", "stop", code=None)


@pytest.mark.parametrize("damage", ["cut", "zeros", "empty"])
async def test_a_damaged_keyfile_is_not_called_a_missing_passphrase(
    friend: MakeFriend, damage: str
) -> None:
    alice = await made(friend)
    keyfile = alice.home / "keyfile"
    whole = keyfile.read_bytes()
    keyfile.write_bytes({"cut": whole[:300], "zeros": bytes(1 << 20), "empty": b""}[damage])
    for command in (("passphrase", "change"), ("passphrase", "remove"), ("lock",), ("keyring",)):
        refused = await alice.cli("identity", *command, code=65)
        assert "damaged" in refused.error["message"], command
    rows = {row["check"]: row for row in (await alice.cli("doctor", code=1)).rows}
    assert not rows["node"]["ok"]
    assert "damaged" in rows["node"]["found"]
    assert rows["node"]["hint"]
    assert rows["home"]["ok"]


async def test_an_older_keyfile_is_noticed_if_the_home_was_open_at_the_change(
    friend: MakeFriend, tmp_path: Path
) -> None:
    alice = await made(friend)
    keyfile, new = alice.home / "keyfile", tmp_path / "new"
    await alice.cli("identity", "unlock", "--passphrase-stdin", stdin=NEW)
    older = keyfile.read_bytes()
    new.write_text("yet another of these\n")
    new.chmod(0o600)
    change = ("--passphrase-stdin", "--new-passphrase-file", str(new))
    await alice.cli("identity", "passphrase", "change", *change, stdin=NEW)
    assert not (await alice.cli("node", "status")).row["older_keyfile"]
    await alice.cli("node", "stop")
    keyfile.write_bytes(older)
    await alice.cli("identity", "unlock", "--passphrase-stdin", stdin=NEW)
    assert (await alice.cli("node", "status")).row["older_keyfile"]


ODD = ["a pipe", "a folder", "a full folder", "a link", "cut", "zeros", "empty", "open to all"]


def make_odd(keyfile: Path, how: str) -> None:
    whole = keyfile.read_bytes()
    match how:
        case "cut" | "zeros" | "empty":
            keyfile.write_bytes({"cut": whole[:300], "zeros": bytes(5000), "empty": b""}[how])
        case "open to all":
            keyfile.chmod(0o644)
        case "a pipe":
            pipe_at(keyfile)
        case "a link":
            keyfile.rename(keyfile.parent.parent / "elsewhere")
            keyfile.symlink_to(keyfile.parent.parent / "elsewhere")
        case _:
            keyfile.unlink()
            keyfile.mkdir()
            if how == "a full folder":
                (keyfile / "mine").write_text("something")


@pytest.mark.parametrize("how", ODD)
async def test_a_home_that_cannot_be_opened_is_deleted_as_far_as_it_is_there(
    friend: MakeFriend, how: str
) -> None:
    alice = await made(friend)
    keyfile = alice.home / "keyfile"
    make_odd(keyfile, how)
    done = await alice.cli("identity", "delete", "--yes")
    assert done.row["deleted"] is True
    names = {path.name for path in alice.home.iterdir()}
    assert not names & {"store.db", "store.db-wal", "store.db-shm", "blobs", "spool", "ballast"}
    if how in ("a folder", "a full folder"):
        assert keyfile.is_dir()
        assert "keyfile is a folder" in done.err
        assert "keyfile is a folder" in done.row["stays"][0]
        return
    assert "keyfile" not in names
    if how == "a link":
        assert (keyfile.parent.parent / "elsewhere").exists()
        assert "elsewhere" in done.row["stays"][0]
    else:
        assert done.row["stays"] == []
    await alice.cli("identity", "new", "--name", "again", "--no-passphrase")


async def test_a_home_whose_store_is_damaged_or_odd_is_deleted_too(friend: MakeFriend) -> None:
    alice = await made(friend)
    (alice.home / "store.db").write_bytes(bytes(8192))
    (alice.home / "blobs").rmdir()
    (alice.home.parent / "other disk").mkdir()
    (alice.home / "blobs").symlink_to(alice.home.parent / "other disk")
    os.link(alice.home / "keyfile", alice.home.parent / "second")
    done = await alice.cli("identity", "delete", "--yes")
    assert "hard link" in done.row["stays"][0]
    assert "other disk" in done.row["stays"][1]
    assert not {path.name for path in alice.home.iterdir()} & {"keyfile", "store.db", "blobs"}

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
        ("identity", "delete", "--yes"),
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

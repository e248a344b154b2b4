"""Backups made while the node runs, and homes put back from them: nothing lost or shown twice, both sides told."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import WAIT_S, Friend, content, digest, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

PASSPHRASE = "umber lattice quiver saddle topaz morning"


@pytest.fixture
def secret(folder: Path) -> str:
    """A file with the passphrase of a backup."""
    path = folder / "passphrase"
    path.write_text(PASSPHRASE + "\n")
    path.chmod(0o600)
    return str(path)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file of a folder with its rights and bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


async def send(one: Friend, to: str, *texts: str) -> None:
    for text in texts:
        await one.ask("send-net", {"contact": to, "text": text})


async def receives(one: Friend, *texts: str, timeout_s: float = WAIT_S) -> None:
    async def has() -> bool:
        return set(texts) <= set(await one.texts())

    await until(has, timeout_s=timeout_s)


async def quiet(one: Friend) -> None:
    async def empty() -> bool:
        return not await one.ask("queue.list", {})

    await until(empty)


async def put_back(one: Friend, file: Path, secret: str) -> dict[str, Any]:
    """Replace a home by what a backup has of it, and start its node."""
    await one.stop()
    shutil.rmtree(one.home)
    one.home.mkdir(mode=0o700)
    one.configure(idle_exit="60s")
    row = (await one.cli("backup", "restore", str(file), "--passphrase-file", secret)).row
    await one.start()
    return row


async def rows_of(one: Friend, check: str) -> list[dict[str, Any]]:
    return [row for row in await one.ask("doctor") if row["check"] == check]


async def test_what_went_both_ways_since_is_neither_lost_nor_shown_twice(
    pair: tuple[Friend, Friend], folder: Path, secret: str
) -> None:
    alice, bob = pair
    await send(alice, "bob", "a1", "a2")
    await send(bob, "alice", "b1", "b2")
    file = content(3_000_000)
    received = await bob.queue_file("alice", "photo.bin", file)
    await receives(alice, "b1", "b2")
    await bob.delivered(received)
    await bob.stop()
    await send(alice, "bob", "a3, queued in the backup")
    backup = folder / "alice.backup"
    made = (await alice.cli("backup", "create", str(backup), "--passphrase-file", secret)).row
    assert made["files"] is True
    assert backup.stat().st_mode & 0o777 == 0o600
    assert not (alice.home / "backup.new").exists()
    (row,) = await rows_of(alice, "backup")
    assert made["made"] in row["found"]
    await bob.start()
    await send(alice, "bob", "a4")
    await send(bob, "alice", "b3", "b4")
    await receives(alice, "b3", "b4")
    await receives(bob, "a3, queued in the backup", "a4")
    await asyncio.gather(quiet(alice), quiet(bob))
    back = await put_back(alice, backup, secret)
    assert back["made"] == made["made"]
    await send(alice, "bob", "a5")
    await send(bob, "alice", "b5")
    await receives(alice, "b1", "b2", "b3", "b4", "b5")
    await receives(bob, "a1", "a2", "a3, queued in the backup", "a4", "a5")
    await asyncio.gather(quiet(alice), quiet(bob))
    for one in pair:
        twice = {text: n for text, n in Counter(await one.texts()).items() if n > 1}
        assert not twice, (one.name, twice)
    for one, contact, side in ((alice, "bob", "ours"), (bob, "alice", "theirs")):
        shown = await one.ask("contacts.show", {"name": contact})
        assert (shown["restored"] is not None, shown["restored_side"]) == (True, side)
        assert shown["copied"] is None
        assert any("put back" in row["found"] for row in await rows_of(one, f"contact {contact}"))
    (row,) = await rows_of(alice, "backup")
    assert "this home was put back" in row["found"]
    (item,) = [one for one in await alice.ask("inbox.list", {"limit": 99}) if one["kind"] == "file"]
    assert await alice.saved(item["id"]) == file


async def test_both_are_told_though_nothing_was_sent_since(
    pair: tuple[Friend, Friend], folder: Path, secret: str
) -> None:
    alice, bob = pair
    backup = folder / "alice.backup"
    await alice.cli("backup", "create", str(backup), "--passphrase-file", secret)
    await put_back(alice, backup, secret)

    async def told() -> bool:
        shown = [
            (await alice.ask("contacts.show", {"name": "bob"}))["restored_side"],
            (await bob.ask("contacts.show", {"name": "alice"}))["restored_side"],
        ]
        return shown == ["ours", "theirs"]

    await until(told)


async def test_a_copy_that_runs_beside_it_is_told_to_all_three(
    pair: tuple[Friend, Friend], friend: MakeFriend, folder: Path, secret: str
) -> None:
    alice, bob = pair
    backup = folder / "alice.backup"
    await alice.cli("backup", "create", str(backup), "--passphrase-file", secret)
    other = friend("other")
    await other.cli("backup", "restore", str(backup), "--passphrase-file", secret)
    await other.start()

    async def told() -> bool:
        shown = [
            (await alice.ask("contacts.show", {"name": "bob"}))["copied_side"],
            (await other.ask("contacts.show", {"name": "bob"}))["copied_side"],
            (await bob.ask("contacts.show", {"name": "alice"}))["copied_side"],
        ]
        return shown == ["ours", "ours", "theirs"]

    await until(told)
    for one, contact, side in (
        (alice, "bob", "ours"),
        (other, "bob", "ours"),
        (bob, "alice", "theirs"),
    ):
        status = await one.ask("node.status")
        assert [(row["contact"], row["side"]) for row in status["copies"]] == [(contact, side)]
        rows = await rows_of(one, f"contact {contact}")
        assert any(not row["ok"] and "two copies of" in row["found"] for row in rows)
        (row,) = [row for row in rows if not row["ok"]]
        shown = await one.ask("contacts.show", {"name": contact})
        assert row["hint"] in shown["hint"]
        assert ("peerpost identity delete" in row["hint"]) == (side == "ours")
    # Once one of them is stopped for good, all goes on as before, at the latest when the other one may sign its next
    # key statement (`OVERTAKE_EVERY_S`).
    await other.stop()
    await send(bob, "alice", "still here")
    await receives(alice, "still here", timeout_s=WAIT_S + 15)
    await send(alice, "bob", "and here")
    await receives(bob, "and here")
    assert max(Counter(await bob.texts()).values()) == 1


async def test_a_home_that_was_copied_while_it_ran_is_told_too(
    pair: tuple[Friend, Friend], friend: MakeFriend
) -> None:
    """A copy of the folder knows the run that it was made of for one of its own."""
    alice, bob = pair
    other = friend("other")
    await send(alice, "bob", "one")
    await receives(bob, "one")
    await alice.kill()
    shutil.rmtree(other.home)
    shutil.copytree(alice.home, other.home, ignore=shutil.ignore_patterns("*.sock", "lock"))
    await asyncio.gather(alice.start(), other.start())

    async def told() -> bool:
        shown = [
            (await alice.ask("contacts.show", {"name": "bob"}))["copied_side"],
            (await other.ask("contacts.show", {"name": "bob"}))["copied_side"],
            (await bob.ask("contacts.show", {"name": "alice"}))["copied_side"],
        ]
        return shown == ["ours", "ours", "theirs"]

    # Each of the two overtakes the other's key statement once a minute, and may have to wait for that.
    await until(told, timeout_s=150)


async def test_a_file_that_is_there_is_not_replaced(
    friend: MakeFriend, folder: Path, secret: str
) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    there, create = folder / "there", ("backup", "create", "--passphrase-file", secret)
    there.write_text("something of value")
    assert (await alice.cli(*create, str(there), code=73)).error["code"] == "exists"
    assert there.read_text() == "something of value"
    link = folder / "link"
    link.symlink_to(there)
    assert (await alice.cli(*create, str(link), code=73)).error["code"] == "exists"
    await alice.cli(*create, str(folder / "no" / "x"), code=73)
    await alice.cli(*create, str(folder), code=73)
    # Nor is the home itself, by whatever name.
    (folder / "to home").symlink_to(alice.home)
    for inside in (alice.home / "store.db", alice.home / "new", folder / "to home" / "keyfile"):
        refused = await alice.cli(*create, "--force", str(inside), code=73)
        assert "lies in the home" in refused.error["message"]
    (folder / "to home").unlink()
    await alice.cli(*create, "--force", str(there))
    assert there.read_bytes().startswith(b"peerpost-backup")
    assert names_in(folder) == {"there", "link", "passphrase", "alice"}


async def test_it_goes_through_pipes(friend: MakeFriend, secret: str) -> None:
    alice, other = friend("alice"), friend("other")
    made = (await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")).row
    done = await alice.cli("backup", "create", "-", "--passphrase-file", secret)
    assert done.out.startswith(b"peerpost-backup")
    restore = ("backup", "restore", "-")
    refused = await other.cli(*restore, "--passphrase-stdin", stdin=done.out, code=2)
    assert "stdin is the backup" in refused.error["message"]
    await other.cli(*restore, "--passphrase-file", secret, stdin=done.out)
    assert (await other.cli("identity", "show")).row["id"] == made["id"]


@pytest.mark.parametrize(
    ("wrong", "code", "word"),
    [
        ("passphrase", 77, "wrong_passphrase"),
        ("cut", 65, "bad_input"),
        ("changed", 65, "bad_input"),
        ("other", 65, "bad_input"),
        ("empty", 65, "bad_input"),
        ("gone", 66, "no_input"),
        ("folder", 66, "no_input"),
    ],
)
async def test_what_is_wrong_with_a_backup_is_said_and_nothing_is_left(
    friend: MakeFriend, folder: Path, secret: str, wrong: str, code: int, word: str
) -> None:
    alice, other = friend("alice"), friend("other")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    backup = folder / "x"
    await alice.cli("backup", "create", str(backup), "--passphrase-file", secret)
    data = bytearray(backup.read_bytes())
    if wrong == "passphrase":
        (folder / "passphrase").write_text("anvil basket copper dolphin ember forest")
    elif wrong == "cut":
        backup.write_bytes(data[:-100_000])
    elif wrong == "changed":
        data[len(data) // 2] ^= 1
        backup.write_bytes(data)
    elif wrong == "other":
        backup.write_bytes(b"PK" + data)
    elif wrong == "empty":
        backup.write_bytes(b"")
    else:
        backup.unlink()
        if wrong == "folder":
            backup.mkdir()
    done = await other.cli("backup", "restore", str(backup), "--passphrase-file", secret, code=code)
    assert done.error["code"] == word
    assert done.error["hint"] or wrong == "gone"
    left = {path.name for path in other.home.iterdir()}
    assert left <= {"config.toml", "lock", "spawn.lock", "node.log", "control.sock"}, left
    # It is as empty as before: another try, or another identity, goes there.
    await other.cli("identity", "new", "--name", "other", "--no-passphrase")


async def test_a_home_that_is_not_empty_is_left_alone(
    friend: MakeFriend, folder: Path, secret: str
) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    backup, restore = str(folder / "x"), ("backup", "restore", "--passphrase-file", secret)
    await alice.cli("backup", "create", backup, "--passphrase-file", secret)
    await alice.cli("node", "stop")
    before = snapshot(alice.home)
    assert (await alice.cli(*restore, backup, code=73)).error["code"] == "exists"
    assert snapshot(alice.home) == before
    (alice.home / "keyfile").unlink()
    assert (await alice.cli(*restore, backup, code=73)).error["code"] == "exists"
    assert (alice.home / "store.db").read_bytes() == before["store.db"][1]


async def test_without_files_it_is_small_and_says_so(
    pair: tuple[Friend, Friend], folder: Path, secret: str
) -> None:
    alice, bob = pair
    sent = await bob.queue_file("alice", "photo.bin", content(2_000_000))
    await bob.delivered(sent)
    backup = folder / "small"
    create = ("backup", "create", "--without-files", "--passphrase-file", secret)
    assert (await alice.cli(*create, str(backup))).row["files"] is False
    assert backup.stat().st_size < 1_000_000
    assert (await put_back(alice, backup, secret))["files"] is False
    (item,) = await alice.ask("inbox.list", {"limit": 9})
    refused = await alice.cli("inbox", "save", item["id"], "--out", str(folder / "y"), code=None)
    assert refused.code == 67
    assert "made without files" in refused.error["message"]
    assert f"inbox delete {item['id']}" in refused.error["hint"]
    shown = await alice.cli("inbox", "show", item["id"], code=67)
    assert "made without files" in shown.error["message"]
    assert await bob.ask("inbox.list", {"limit": 9}) == []


async def test_a_backup_is_of_one_moment_while_files_come_and_go(
    pair: tuple[Friend, Friend], friend: MakeFriend, folder: Path, secret: str
) -> None:
    """Each file that its inbox names is in it, whatever was deleted while it was written."""
    alice, bob = pair
    files = {f"f{n}": content(600_000, n) for n in range(6)}
    for name, data in files.items():
        await bob.delivered(await bob.queue_file("alice", name, data))
    ids = [row["id"] for row in await alice.ask("inbox.list", {"limit": 99})]
    backup = folder / "x"
    reads, writes = os.pipe()
    making = asyncio.create_task(
        alice.ask("backup.create", {"passphrase": PASSPHRASE}, fds=(writes,))
    )
    # Its reader takes nothing yet, so that it is still being written when the files are deleted.
    first = await asyncio.to_thread(os.read, reads, 64 << 10)
    await alice.ask("inbox.delete", {"ids": ids})
    os.close(writes)
    with backup.open("wb") as out:
        out.write(first)
        while data := await asyncio.to_thread(os.read, reads, 1 << 20):
            out.write(data)
    os.close(reads)
    await making
    assert await alice.ask("inbox.list", {"limit": 99}) == []
    other = friend("other")
    await other.cli("backup", "restore", str(backup), "--passphrase-file", secret)
    await alice.stop()
    await other.start()
    found = {row["name"]: await other.saved(row["id"]) for row in await other.ask("inbox.list", {})}
    assert {name: digest(data) for name, data in found.items()} == {
        name: digest(data) for name, data in files.items()
    }


async def test_a_protected_home_comes_back_as_protected(
    friend: MakeFriend, folder: Path, secret: str
) -> None:
    alice, other = friend("alice"), friend("other")
    own = folder / "own"
    own.write_text("quartz ribbon siphon tundra velvet walnut")
    own.chmod(0o600)
    new = ("identity", "new", "--name", "alice", "--passphrase-file", str(own))
    made = (await alice.cli(*new)).row
    backup = str(folder / "x")
    await alice.cli("backup", "create", backup, "--passphrase-file", secret)
    await other.cli("backup", "restore", backup, "--passphrase-file", secret)
    await alice.cli("node", "stop")
    assert (await other.cli("identity", "show", code=77)).error["code"] == "locked"
    wrong = ("identity", "unlock", "--passphrase-file")
    assert (await other.cli(*wrong, secret, code=77)).error["code"] == "wrong_passphrase"
    await other.cli("identity", "unlock", "--passphrase-file", str(own))
    assert (await other.cli("identity", "show")).row["id"] == made["id"]
    # A locked home is backed up by nobody.
    await other.cli("identity", "lock")
    locked = ("backup", "create", "--passphrase-file", secret, str(folder / "y"))
    assert (await other.cli(*locked, code=77)).error["code"] == "locked"
    assert not (folder / "y").exists()
    # Before anything is said of a backup; and the passphrase that was given is the backup's.
    refused = await other.cli(*locked, code=77)
    assert "Making" not in refused.err
    assert "the passphrase of the backup, not the home's" in refused.error["message"]
    assert "PEERPOST_PASSPHRASE" in refused.error["hint"]
    assert (await other.cli("backup", "create", str(folder / "y"), code=77)).error[
        "code"
    ] == "locked"


@pytest.mark.parametrize("to", ["a file", "stdout", "a pipe"])
async def test_quiet_says_nothing_where_it_succeeds(
    friend: MakeFriend, folder: Path, secret: str, to: str
) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    made = folder / "made"
    out = {"a file": str(made), "stdout": "-", "a pipe": "/dev/stdout"}[to]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli", "--home", str(alice.home), "-q"),
        *("backup", "create", out, "--passphrase-file", secret),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, said = await process.communicate()
    assert process.returncode == 0, said
    assert said == b""
    if to == "a file":
        assert printed == b""
        printed = made.read_bytes()
    assert printed.startswith(b"peerpost-backup")
    (row,) = await rows_of(alice, "backup")
    assert "the last one was made" in row["found"]


async def test_an_identity_is_deleted_with_all_that_opens_it(
    pair: tuple[Friend, Friend], folder: Path, secret: str
) -> None:
    alice, bob = pair
    await bob.delivered(await bob.queue_file("alice", "x", content(100_000)))
    await bob.stop()
    await send(alice, "bob", "not delivered")
    before = (alice.home / "keyfile").read_bytes()
    held = (alice.home / "keyfile").open("rb")
    asked = await alice.cli("identity", "delete", code=2)
    assert "1 messages that are not delivered" in asked.error["message"]
    assert (alice.home / "keyfile").read_bytes() == before
    assert (await alice.cli("identity", "delete", "--yes")).row["deleted"] is True
    held.seek(0)
    assert len(held.read()) == len(before)
    held.seek(0)
    assert held.read() != before
    held.close()
    left = {path.name for path in alice.home.iterdir()}
    assert left <= {"config.toml", "node.log", "lock", "spawn.lock", "control.sock", "run.log"}, (
        left
    )
    assert (await alice.cli("identity", "show", code=78)).error["code"] == "no_identity"
    assert (await alice.cli("identity", "delete", "--yes", code=78)).error["code"] == "no_identity"
    await alice.cli("identity", "new", "--name", "anew", "--no-passphrase")

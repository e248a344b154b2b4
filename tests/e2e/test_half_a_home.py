"""A home of which a half is gone, or was never made: it is said which, and nothing is made over what is left."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import Friend

pytestmark = pytest.mark.asyncio


async def stopped(one: Friend) -> None:
    await one.cli("node", "stop", code=None)


async def made(friend: MakeFriend) -> Friend:
    """Somebody with an identity and no node."""
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    await stopped(alice)
    return alice


async def test_without_its_keyfile_a_home_is_not_taken_for_a_new_one(friend: MakeFriend) -> None:
    alice = await made(friend)
    keyfile = alice.home / "keyfile"
    kept = keyfile.rename(alice.home.parent / "kept")
    for command in (
        ("identity", "show"),
        ("inbox", "list"),
        ("identity", "new", "--name", "other", "--no-passphrase"),
        ("node", "start"),
    ):
        refused = await alice.cli(*command, code=78)
        assert "keyfile" in refused.error["message"], command
        assert "backup" in refused.error["hint"]
        assert not keyfile.exists()
    doctor = await alice.cli("doctor", code=1)
    (row,) = [row for row in doctor.rows if row["check"] == "identity"]
    assert "keyfile" in row["found"]
    assert "identity new" not in row["hint"]
    # A node that began without it is here now, and does not serve what it has not opened.
    kept.rename(keyfile)
    refused = await alice.cli("identity", "show", code=78)
    assert "node stop" in refused.error["hint"]
    await stopped(alice)
    assert (await alice.cli("identity", "show")).row["name"] == "alice"


async def test_without_its_store_nothing_new_takes_its_place(friend: MakeFriend) -> None:
    alice = await made(friend)
    kept = (alice.home / "store.db").rename(alice.home.parent / "kept")
    for command in (("identity", "show"), ("inbox", "list"), ("node", "start")):
        refused = await alice.cli(*command, code=74)
        assert "store.db" in refused.error["message"]
        assert "backup" in refused.error["hint"]
        assert not (alice.home / "store.db").exists()
    kept.rename(alice.home / "store.db")
    assert (await alice.cli("identity", "show")).row["name"] == "alice"


async def test_a_home_whose_making_was_cut_off_is_a_new_one(friend: MakeFriend) -> None:
    """As a kill -9 between the keyfile and the identity in the store leaves it."""
    alice = await made(friend)
    (alice.home / "store.db").rename(alice.home / "store.new")
    assert (await alice.cli("identity", "show", code=78)).error["code"] == "no_identity"
    await alice.cli("identity", "new", "--name", "again", "--no-passphrase")
    assert (await alice.cli("identity", "show")).row["name"] == "again"
    assert not (alice.home / "store.new").exists()

"""An identity is made whole or not at all, however little room there is."""

from __future__ import annotations

import pytest

from tests.e2e.test_full_disk import Small, bob

__all__ = ["bob"]

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("leave_kib", [0, 200, 400, 520, 600, 700, 760, 860, 1000])
async def test_a_failure_leaves_nothing_and_a_success_lasts(bob: Small, leave_kib: int) -> None:
    await bob.fill(leave_bytes=leave_kib << 10)
    new = ("identity", "new", "--name", "bob", "--no-passphrase")
    made = await bob.cli(*new, code=None)
    assert (made.code, made.error.get("code") if made.code else None) in [
        (0, None),
        (74, "disk_full"),
        (74, "io"),  # The node itself had no room to start.
        (69, "unavailable"),
    ]
    await bob.make_room()
    await bob.cli("node", "stop", code=None)
    if made.code == 74:
        left = await bob.shell(f"ls {bob.home}")
        assert "keyfile" not in left
        assert "store" not in left
        await bob.cli(*new)
    assert (await bob.cli("identity", "show")).row["name"] == "bob"
    assert (await bob.cli("contacts", "list")).rows == []


@pytest.mark.parametrize("command", [("node", "start"), ("inbox", "list")], ids=" ".join)
async def test_a_node_that_has_no_room_to_start_says_so_itself(
    bob: Small, command: tuple[str, ...]
) -> None:
    """Its log is on the same full disk, and has no room for the reason either."""
    await bob.cli("identity", "new", "--name", "bob", "--no-passphrase")
    await bob.cli("node", "stop")
    await bob.shell(f"rm {bob.home}/ballast {bob.home}/store.db-wal {bob.home}/lock || true")
    # Not even what is left of its last page takes a line.
    await bob.shell(f"truncate -s %4096 {bob.home}/node.log")
    await bob.fill(leave_bytes=0)
    refused = await bob.cli(*command, code=None)
    assert refused.code == 74, refused
    assert "exit code" not in refused.error["message"]
    assert "No space left" in refused.error["message"] or "full" in refused.error["message"]
    assert "free some space" in refused.error["hint"]
    await bob.make_room()
    assert (await bob.cli("identity", "show")).row["name"] == "bob"

"""Methods without parameters refuse one: what was meant by it cannot be known, and they delete, lock and stop."""

from __future__ import annotations

import pytest

from peerpost.errors import PeerpostError
from tests.e2e.conftest import MakeFriend

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize(
    "method", ["identity.delete", "identity.lock", "node.stop", "node.stay", "node.hand_over"]
)
async def test_a_parameter_that_is_not_known_does_nothing(friend: MakeFriend, method: str) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    with pytest.raises(PeerpostError, match="dry_run"):
        await alice.ask(method, {"dry_run": True})
    assert (await alice.cli("identity", "show")).row["name"] == "alice"


async def test_a_deletion_that_was_cut_off_is_named_how_to_end(friend: MakeFriend) -> None:
    alice = friend("alice")
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    await alice.cli("node", "stop", code=None)
    (alice.home / "keyfile").unlink()
    refused = await alice.cli("identity", "show", code=78)
    assert "identity delete --yes" in refused.error["hint"]
    await alice.cli("node", "stop", code=None)
    await alice.cli("identity", "delete", "--yes")
    assert not (alice.home / "store.db").exists()

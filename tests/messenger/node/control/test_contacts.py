"""What the user says of a contact."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerpost.errors import BadInputError
from peerpost.node.control.methods.contacts import edit
from tests.support.network_rig import acquainted

pytestmark = pytest.mark.asyncio


async def test_an_address_is_not_taken_that_says_somebody_else_is_there(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        before = alice.peer.contact.given_addresses
        there = f"/ip4/192.0.2.7/tcp/4001/p2p/{alice.transport.peer_id}"
        with pytest.raises(BadInputError, match=bob.transport.peer_id):
            await edit(alice.home, alice.request("contacts.edit", name="bob", addresses=[there]))
        assert alice.peer.contact.given_addresses == before
        there = f"/ip4/192.0.2.7/tcp/4001/p2p/{bob.transport.peer_id}"
        await edit(alice.home, alice.request("contacts.edit", name="bob", addresses=[there]))
        assert alice.peer.contact.given_addresses == ("/ip4/192.0.2.7/tcp/4001",)

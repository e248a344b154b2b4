"""A home that went back in time, as HELLO's watermarks show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.network_rig import acquainted, until

pytestmark = pytest.mark.asyncio


async def test_a_sender_behind_its_peer_sends_under_another_outbox_id(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        for n in range(5):
            entry = await alice.queue(str(n))
        await until(lambda: alice.delivered(entry))

        def forget(db: Any) -> None:
            """Have the store of before the last three."""
            db.execute("DELETE FROM outbox WHERE seq > 2")
            db.execute("UPDATE chains SET last_seq = 2")

        await alice.store.write(forget)
        session = alice.peer.session
        alice.peer.retry_now()
        await alice.peer.drop("to hear HELLO again")
        await until(lambda: alice.peer.session not in (None, session))
        again = await alice.queue("after the copy was put back")
        await until(lambda: alice.delivered(again))
        assert len(await bob.received()) == 6

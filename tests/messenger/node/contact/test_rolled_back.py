"""A home that went back in time, as HELLO's watermarks show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peerpost.store.tables import agreement
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time


@on_virtual_time
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
        alice.peer.cut("to hear HELLO again")
        await until(lambda: alice.peer.session not in (None, session))
        again = await alice.queue("after the copy was put back")
        await until(lambda: alice.delivered(again))
        assert len(await bob.received()) == 6


@on_virtual_time
async def test_who_doubts_our_numbers_again_and_again_is_told_so_and_served_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "RENEW_AGAIN_MS", 3000)

    async def fall_behind(alice: Somebody) -> None:
        def forget(db: Any) -> None:
            db.execute("DELETE FROM outbox")
            db.execute("UPDATE chains SET last_seq = 0")

        await alice.store.write(forget)
        alice.peer.cut("to hear HELLO again")
        alice.peer.retry_now()

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        entry = await alice.queue("first")
        await until(lambda: alice.delivered(entry))
        await fall_behind(alice)
        entry = await alice.queue("under another outbox id")
        await until(lambda: alice.delivered(entry))
        await fall_behind(alice)
        await until(lambda: "doubts our numbers" in str(bob.peer.last_error))
        entry = await alice.queue("under a third")

        async def delivered() -> bool:
            if not alice.peer.online:
                alice.peer.retry_now()
            return await alice.delivered(entry)

        await until(delivered, every_s=0.2)
        assert len(await bob.received()) == 3

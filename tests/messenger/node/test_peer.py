"""A contact, between two nodes that can both dial."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from peerpost.node.session import Session
from tests.support.network_rig import acquainted, until

pytestmark = pytest.mark.asyncio


async def test_sessions_that_end_at_once_are_waited_for_by_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = 0

    async def run(session: Session) -> None:
        nonlocal sessions
        sessions += 1
        session.abort("a session that does not last")

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        monkeypatch.setattr(Session, "run", run)
        await alice.peer.drop("to begin")
        await asyncio.sleep(2)
        await until(lambda: not (alice.peer.online or bob.peer.online))
    # Each has two ends. The shortest wait is 0.2 s: ten sessions from either side, were all of them so.
    assert 2 <= sessions <= 2 * 2 * 10, sessions

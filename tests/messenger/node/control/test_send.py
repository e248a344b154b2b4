"""What `send-net` answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peerpost.node.control.methods.send import send_net
from peerpost.store.tables import outbox
from tests.support.network_rig import acquainted

pytestmark = pytest.mark.asyncio


async def test_what_is_queued_is_answered_so_although_it_cannot_be_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):

        def queued(_entry: object) -> None:
            raise RuntimeError("a defect")

        monkeypatch.setattr(alice.home.network, "queued", queued)
        request = alice.request("send-net", contact="bob", text="hello")
        row: Any = await send_net(alice.home, request)
        assert row["state"] == "queued"
        assert f"{row['id']} is queued, and cannot be sent now" in caplog.text
        # Also where whoever asked has gone.
        caplog.clear()
        answer: Any = send_net(alice.home, request)
        answer.cancel()
        assert await alice.store.write(outbox.any_open)
        assert "is queued, and cannot be sent now" in caplog.text

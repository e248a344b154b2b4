"""A message can be read though nothing can be written: that it was read is the lesser thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from peerpost.errors import StoreFullError
from peerpost.node.control.methods import inbox as commands
from peerpost.store.tables import inbox
from tests.support.network_rig import acquainted, until

pytestmark = pytest.mark.asyncio


async def test_what_cannot_be_marked_as_read_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_kwargs: Any) -> None:
        raise StoreFullError("the disk is full")

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        entry = await alice.queue("read me")
        await until(lambda: alice.delivered(entry))
        ((id_,),) = await bob.received()
        monkeypatch.setattr(inbox, "mark", full)
        shown = await commands.show(bob.home, bob.request("inbox.show", id=id_))
        assert shown["body"] == "read me"
        monkeypatch.undo()
        (row,) = await commands.list_(bob.home, bob.request("inbox.list"))
        assert row["unread"]

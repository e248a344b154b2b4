"""Sources of unknown length wait for a place, and for their end to be confirmed, for as long as nothing ends them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from peerpost.errors import NotFoundError
from peerpost.node.control.methods import contacts
from peerpost.node.control.methods.read_stream import read_stream
from peerpost.node.files import pipes as module
from peerpost.store.tables import transfers
from peerpost.wire.inner import Lane
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio


def reading(
    somebody: Somebody, fd: int, name: str, *, confirm_end: bool = False
) -> AsyncGenerator[object, None]:
    """Send what comes out of a pipe."""
    return read_stream(
        somebody.home,
        fd,
        contact_id=somebody.peer.contact.id,
        name=name,
        lane=Lane.BULK,
        expires_ms=None,
        confirm_end=confirm_end,
    )


def short_pipe(data: bytes) -> int:
    """Return a pipe with this in it and its end behind."""
    reads, writes = os.pipe()
    os.write(writes, data)
    os.close(writes)
    return reads


async def to_the_end(told: AsyncGenerator[object, None]) -> list[object]:
    return [row async for row in told]


async def names(somebody: Somebody) -> set[str]:
    found = await somebody.store.read(transfers.list_transfers, 1000)
    return {row.name for row in found if not row.incoming}


async def test_a_stream_beyond_the_places_waits_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_STREAMS", 2)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        kept = [os.pipe() for _ in range(2)]
        held = [reading(alice, reads, f"endless-{reads}") for reads, _ in kept]
        for one in held:
            await anext(one)
        waits = asyncio.ensure_future(
            to_the_end(reading(alice, short_pipe(b"it waits"), "waiting"))
        )
        given_up = asyncio.ensure_future(
            to_the_end(reading(alice, short_pipe(b"it goes"), "given up"))
        )
        await asyncio.sleep(0)
        await bob.queue("a turn of the loop, and another one")
        await until(lambda: len(alice.home.transfers.pipes._open) == 2)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert await names(alice) == {f"endless-{reads}" for reads, _ in kept}
        os.close(kept[0][1])
        await to_the_end(held[0])
        await asyncio.wait_for(waits, 20)
        assert "waiting" in await names(alice)
        assert "given up" not in await names(alice)
        await held[1].aclose()
        os.close(kept[1][1])


async def test_a_removal_does_not_wait_for_an_end_to_be_confirmed(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        reads, writes = os.pipe()
        told = reading(alice, reads, "a", confirm_end=True)
        await anext(told)
        os.close(writes)
        rows = asyncio.ensure_future(to_the_end(told))
        (stream,) = alice.home.transfers.pipes._open.values()
        await until(stream.filled.is_set)
        await contacts.remove(alice.home, alice.request("contacts.remove", name="bob"))
        with pytest.raises(NotFoundError, match="the contact was removed"):
            await asyncio.wait_for(rows, 20)

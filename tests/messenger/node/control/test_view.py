"""What changes besides the inbox, as a stream: contacts and what was sent; and the whole of a text that was sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.looking import ENDLESS
from peerpost.client.rpc import InvalidParamsError
from peerpost.node.control.methods import METHODS, queue, view
from peerpost.node.events import LOOK
from peerpost.node.node import USES
from peerpost.store.tables import inbox as store_inbox
from tests.support.network_rig import Somebody, acquainted, until
from tests.support.virtual_time import on_virtual_time

WAIT_S = 5.0


@asynccontextmanager
async def watching(who: Somebody) -> AsyncIterator[AsyncIterator[Any]]:
    events = await view.watch(who.home, who.request("view.watch"))
    assert isinstance(events, AsyncIterator)
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]


async def take_until(events: AsyncIterator[Any], wanted: Any) -> list[Any]:
    """Return the events up to the first that is wanted."""
    found: list[Any] = []
    async with asyncio.timeout(WAIT_S):
        while not found or not wanted(found[-1]):
            found.append(await anext(events))
    return found


@on_virtual_time
async def test_first_the_contacts_then_each_state_of_what_is_sent(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        async with watching(alice) as events:
            first = await anext(events)
            assert [row["name"] for row in first["contacts"]] == ["bob"]
            entry = await alice.queue("hello")
            await until(lambda: alice.delivered(entry))
            told = await take_until(
                events, lambda event: event.get("sent", {}).get("state") == "delivered"
            )
            row = told[-1]["sent"]
            assert (row["id"], row["body"], row["contact"]) == (entry.id, "hello", "bob")
            listed = await queue.sent_list(alice.home, alice.request("sent.list"))
            assert listed[0]["cursor"] == row["cursor"]
            # Nothing more comes of it, however long nothing happens.
            coming = asyncio.ensure_future(anext(events))
            await asyncio.sleep(3600)
            assert not coming.done() or "contacts" in coming.result()
            coming.cancel()
            await asyncio.wait([coming])
        assert await bob.received()


@on_virtual_time
async def test_what_is_read_elsewhere_changes_the_contacts(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        entry = await alice.queue("hello")
        await until(lambda: alice.delivered(entry))
        async with watching(bob) as events:
            (row,) = (await anext(events))["contacts"]
            assert row["unread"] == 1
            (item,) = await bob.store.read(
                store_inbox.list_items, contact_id=None, unread=True, limit=5, since_ms=None
            )
            await bob.store.write(store_inbox.mark, [item.id], unread=False)
            told = await take_until(events, lambda event: "contacts" in event)
            assert told[-1]["contacts"][0]["unread"] == 0


@on_virtual_time
async def test_who_was_too_slow_is_told_to_look(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _), watching(alice) as events:
        await anext(events)
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(1)
        for listening in alice.home.events._subscriptions[None]:
            listening.push(LOOK)
        assert await coming == {"look": True}


@on_virtual_time
async def test_the_whole_of_a_text_that_was_sent(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        text = "line\n" * 5000
        entry = await alice.queue(text)
        shown = await queue.sent_show(alice.home, alice.request("sent.show", id=entry.id[:4]))
        assert shown["body"] == text
        assert len(shown["preview"]) < 1000
        await until(lambda: alice.delivered(entry))
        shown = await queue.sent_show(alice.home, alice.request("sent.show", id=entry.id))
        assert shown["body"] == text, "it is kept here once it is delivered"


@on_virtual_time
async def test_it_takes_no_parameters_and_keeps_no_home_unlocked(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        with pytest.raises(InvalidParamsError):
            await view.watch(alice.home, alice.request("view.watch", after="1"))
    assert set(METHODS) >= ENDLESS
    assert not ENDLESS & USES

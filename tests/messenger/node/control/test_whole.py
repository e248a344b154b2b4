"""Who asks for something and hangs up at once: what is recorded of it is carried out."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.client.rpc import InvalidParamsError, Request
from peerpost.node.control.methods import contacts, limits, queue, transfers, trust
from peerpost.node.control.methods.send import send_net
from peerpost.node.opened import Opened
from peerpost.store.tables import outbox
from peerpost.store.tables import transfers as rows
from tests.messenger.node.contact.test_removal import come_to_the_middle, lie_in
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio

Handler = Callable[[Opened, Request], Awaitable[Any]]


async def hang_up(somebody: Somebody, handler: Handler, **params: Any) -> None:
    """Ask, and be cancelled while the record is on its way to the disk."""
    held, begun, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()

    def hold(_db: apsw.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        held.wait()

    holding = asyncio.ensure_future(somebody.store.write(hold))
    await begun.wait()
    before = somebody.store._queue.qsize()
    asked = asyncio.ensure_future(handler(somebody.home, somebody.request("asked", **params)))
    await until(lambda: somebody.store._queue.qsize() > before)
    asked.cancel()
    await asyncio.wait([asked])
    assert asked.cancelled()
    held.set()
    await holding


@pytest.mark.parametrize("handler", [contacts.remove, trust.block])
async def test_a_contact_is_cut_off(tmp_path: Path, handler: Handler) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        peer = bob.peer
        await hang_up(bob, handler, name="alice")
        await until(lambda: not peer.online)
        if handler is contacts.remove:
            await until(lambda: not lie_in(bob) and not bob.home.network.peers)
            assert not bob.home.transfers._drivers.downloads


async def test_a_file_is_taken_back(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        (row,) = await queue.list_(alice.home, alice.request("queue.list"))
        await hang_up(alice, queue.cancel, id=row["id"])
        await until(lambda: not alice.home.transfers._drivers.uploads and not lie_in(alice))
        await until(lambda: not lie_in(bob))


async def test_a_file_is_paused(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        (row,) = await transfers.list_(bob.home, bob.request("transfers.list"))
        await hang_up(bob, transfers.pause, id=row["id"])
        (download,) = bob.home.transfers._drivers.downloads.values()
        await until(lambda: download.paused)


async def test_a_contact_is_called_as_was_said(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        await hang_up(alice, contacts.edit, name="bob", rename="robert")
        await until(lambda: alice.peer.contact.name == "robert")


async def test_a_limit_holds_as_was_said(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        await hang_up(alice, limits.set_, up_bytes_s=1_000_000)
        await until(lambda: alice.home.services.limits.everybody.up_bytes_s == 1_000_000)


async def test_parameters_that_do_not_fit_are_told_and_not_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, _):
        with pytest.raises(InvalidParamsError):
            await transfers.pause(alice.home, alice.request("transfers.pause"))
    assert "transfers.pause" not in caplog.text


async def leave_while_it_is_recorded(
    somebody: Somebody, monkeypatch: pytest.MonkeyPatch, kind: str, fd: int
) -> None:
    """Send what lies behind a descriptor, and hang up while its entry is on its way into the store."""
    held, begun, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()
    really = outbox.enqueue

    def enqueue(*args: Any, **kwargs: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        held.wait()
        return really(*args, **kwargs)

    async def ask() -> None:
        params = {"contact": "bob", kind: {"name": "given"}}
        told = await send_net(somebody.home, Request("send-net", params, fds=[fd]))
        if not isinstance(told, dict):
            async for _ in told:  # type: ignore[attr-defined]
                pass

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "enqueue", enqueue)
        asked = asyncio.ensure_future(ask())
        await begun.wait()
        asked.cancel()
        held.set()
        await asyncio.wait([asked])
        assert asked.cancelled()


async def test_a_file_that_was_recorded_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"small")
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await leave_while_it_is_recorded(alice, monkeypatch, "file", os.open(path, os.O_RDONLY))
        await until(bob.received)


async def test_a_stream_that_was_recorded_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, feed = os.pipe()
    os.write(feed, b"the beginning")
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await leave_while_it_is_recorded(alice, monkeypatch, "stream", source)
        await until(lambda: is_over(alice))
        await until(lambda: is_over(bob))
        assert not await bob.received()
    os.close(feed)


async def is_over(somebody: Somebody) -> bool:
    found = await somebody.store.read(rows.select, "1")
    return not any(row.state in rows.OPEN_STATES for row in found)

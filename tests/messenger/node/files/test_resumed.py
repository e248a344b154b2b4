"""Files go on in the session that there is, whichever one was there when somebody began to see to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from peerpost.node.control.methods import contacts
from peerpost.node.session.session import Session
from peerpost.store.tables import transfers as rows
from peerpost.wire import inner as wire
from tests.messenger.node.contact.test_removal import come_to_the_middle
from tests.messenger.node.files.test_deletion import send_file
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio


class Ended:
    """A session of which nothing goes any more."""

    segment_bytes = 4096

    def send(self, _lane: wire.Lane, _inner: bytes) -> None:
        """Take what goes nowhere."""


class Held:
    """Holds what the store reads by one function until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.begun = threading.Event()
        self._go = threading.Event()
        really: Callable[..., Any] = getattr(rows, name)

        def hold(db: apsw.Connection, *args: Any, **kwargs: Any) -> Any:
            self.begun.set()
            self._go.wait()
            return really(db, *args, **kwargs)

        monkeypatch.setattr(rows, name, hold)

    def let_go(self) -> None:
        self._go.set()


async def while_it_is_held(
    somebody: Somebody, held: Held, begin: Callable[[Session], Awaitable[object] | None]
) -> None:
    """Begin something in a session that ends, and is followed by that of now, before it comes to its end."""
    transfers, contact_id = somebody.home.transfers, somebody.peer.contact.id
    now = transfers._sessions[contact_id]
    ended = cast("Session", Ended())
    transfers._sessions[contact_id] = ended
    done = begin(ended)
    waiting = None if done is None else asyncio.ensure_future(done)
    await until(held.begun.is_set)
    transfers.session_down(contact_id, ended)
    transfers._sessions[contact_id] = now
    held.let_go()
    if waiting is not None:
        await waiting
    await until(lambda: not len(transfers._tasks))


async def test_what_was_resumed_for_a_session_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        transfers, contact_id = alice.home.transfers, alice.peer.contact.id
        held = Held(monkeypatch, "find")
        await while_it_is_held(
            alice, held, lambda session: transfers.session_up(contact_id, session)
        )
        (upload,) = transfers._drivers.uploads.values()
        assert upload._session in (None, alice.peer.session)


async def test_what_the_user_resumes_while_sessions_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        transfers = bob.home.transfers
        (download,) = transfers._drivers.downloads.values()
        await transfers.pause(download.row.id)
        held = Held(monkeypatch, "set_state")
        await while_it_is_held(bob, held, lambda _: transfers.resume(download.row.id))
        assert download._session in (None, bob.peer.session)


async def test_a_pause_before_anything_was_asked_for_is_told(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        request = bob.request("contacts.edit", name=bob.peer.contact.name, accept="ask")
        await contacts.edit(bob.home, request)
        await send_file(alice, tmp_path, bytes(100_000))
        await until(lambda: bob.store.read(rows.select, "state = 'asking'"))
        (row,) = await alice.store.read(rows.select, "incoming = 0")
        await alice.home.transfers.pause(row.id)
        await until(lambda: bob.store.read(rows.select, "peer_pause IS NOT NULL"))
        await alice.home.transfers.resume(row.id)
        await until(lambda: bob.store.read(rows.select, "peer_pause IS NULL"))


async def asked_about(alice: Somebody, bob: Somebody, folder: Path) -> rows.Transfer:
    """Have Bob asked about a file of Alice's, and her know of it; return her row."""
    request = bob.request("contacts.edit", name=bob.peer.contact.name, accept="ask")
    await contacts.edit(bob.home, request)
    await send_file(alice, folder, bytes(100_000))
    await until(lambda: alice.store.read(rows.select, "peer_pause IS NOT NULL"))
    (row,) = await alice.store.read(rows.select, "incoming = 0")
    return row


async def test_who_begins_to_send_knows_that_the_receiver_is_asked(tmp_path: Path) -> None:
    """As after a restart, where the Pause came before the file was looked at."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        row = await asked_about(alice, bob, tmp_path)
        transfers = alice.home.transfers
        await transfers._drivers.stop()
        upload = await transfers._upload(row)
        assert str(upload.peer_pause).startswith("asking:")


async def test_a_pause_reaches_who_begins_while_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        row = await asked_about(alice, bob, tmp_path)
        transfers = alice.home.transfers
        await transfers._drivers.stop()
        held = Held(monkeypatch, "set_peer_pause")
        pause = wire.Pause(file_id=row.file_id, paused=True, reason="another")
        telling = asyncio.ensure_future(transfers._peer_paused(row.contact_id, pause))
        await until(held.begun.is_set)
        upload = await transfers._drivers.upload(row)
        held.let_go()
        await telling
        assert upload.peer_pause == "another"

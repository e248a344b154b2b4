"""What is deleted goes from the disk too, whoever asked and left, and makes room for what waits."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import InvalidParamsError, Request
from peerpost.errors import NotFoundError
from peerpost.node.control.methods import inbox as commands
from peerpost.node.files import offers
from peerpost.store.files.sealed import SealedFile
from peerpost.store.tables import blobs, contacts, deletion, quota, transfers
from peerpost.wire import inner as wire
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio

SIZE = 3_000_000


async def send_file(who: Somebody, folder: Path, data: bytes, name: str = "a.bin") -> None:
    path = folder / name
    path.write_bytes(data)
    with path.open("rb") as file:
        entry = await who.home.transfers.queue.put(
            who.peer.contact.id,
            file.fileno(),
            name=name,
            path_hint=None,
            lane=wire.Lane.BULK,
            expires_ms=None,
        )
    who.home.network.queued(entry)


async def ask(who: Somebody, method: Any, **params: Any) -> Any:
    return await method(who.home, who.request("inbox", **params))


async def listed(who: Somebody, count: int = 1) -> list[dict[str, Any]]:
    async def so_many() -> bool:
        return len(await who.received()) == count

    await until(so_many)
    rows: list[dict[str, Any]] = await ask(who, commands.list_)
    return rows


def in_blobs(who: Somebody) -> list[str]:
    return sorted(path.name for path in (who.home.services.home / "blobs").iterdir())


async def test_a_file_goes_with_its_blob(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_file(alice, tmp_path, os.urandom(SIZE))
        (row,) = await listed(bob)
        assert len(in_blobs(bob)) == 2
        before = await bob.store.read(quota.usage, bob.peer.contact.id)
        assert await ask(bob, commands.delete, ids=[row["id"]]) == [
            {"id": row["id"], "contact": "alice", "kind": "file", "size": SIZE}
        ]
        assert in_blobs(bob) == []
        after = await bob.store.read(quota.usage, bob.peer.contact.id)
        assert before.bytes - after.bytes == SIZE + 2 * quota.ROW_BYTES
        with pytest.raises(NotFoundError):
            await ask(bob, commands.delete, ids=[row["id"]])
        assert "delete-messages failed" not in caplog.text


async def test_who_asks_and_leaves_before_the_commit_leaves_no_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    really = deletion.delete

    def delete(*args: Any) -> list[deletion.Deleted]:
        loop.call_soon_threadsafe(reached.set)
        assert go_on.wait(20)
        return really(*args)

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_file(alice, tmp_path, os.urandom(SIZE))
        (row,) = await listed(bob)
        monkeypatch.setattr(deletion, "delete", delete)
        asked = asyncio.ensure_future(ask(bob, commands.delete, ids=[row["id"]]))
        await reached.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        go_on.set()
        await until(lambda: not in_blobs(bob))
        assert await bob.received() == []


async def test_a_blob_that_cannot_be_removed_now_is_removed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def discard(*_: object) -> None:
        raise OSError("the disk says no")

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_file(alice, tmp_path, os.urandom(SIZE))
        (row,) = await listed(bob)
        with monkeypatch.context() as broken:
            broken.setattr(blobs, "discard", discard)
            assert len(await ask(bob, commands.delete, ids=[row["id"]])) == 1
        assert "left until the next start: the disk says no" in caplog.text
        assert len(in_blobs(bob)) == 2
        await bob.home.transfers.recover()
        assert in_blobs(bob) == []


async def test_what_waits_for_room_begins_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when its timer is up: that is set beyond this test."""
    monkeypatch.setattr(offers, "ROOM_RETRY_S", (600.0, 600.0))
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        contact_id = bob.peer.contact.id
        await bob.store.write(contacts.set_quota, contact_id, SIZE + 10 * quota.ROW_BYTES)
        await send_file(alice, tmp_path, os.urandom(SIZE), "first.bin")
        (first,) = await listed(bob)
        data = os.urandom(SIZE)
        await send_file(alice, tmp_path, data, "second.bin")
        await until(lambda: bob.home.transfers._offers.waiting)
        (waiting,) = await bob.store.read(transfers.of_contact, contact_id)
        assert waiting.state == "offered"
        with pytest.raises(NotFoundError, match="still on its way"):
            await ask(bob, commands.delete, ids=[waiting.id])
        await ask(bob, commands.delete, ids=[first["id"]])

        async def second() -> bool:
            return [row["name"] for row in await ask(bob, commands.list_)] == ["second.bin"]

        await until(second)


async def test_a_file_that_is_being_read_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is deleted when its first piece was read, and gone from its folder before the second."""
    data = os.urandom(SIZE)
    really = SealedFile.plain
    pieces = 0

    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_file(alice, tmp_path, data)
        (row,) = await listed(bob)
        blobs_folder = bob.home.services.home / "blobs"

        def plain(sealed: SealedFile, *args: Any) -> Any:
            nonlocal pieces
            for piece in really(sealed, *args):
                yield piece
                pieces += 1
                if pieces == 1:
                    # In this thread: the rig has one alone, and the discard would come after the whole file.
                    (gone,) = asyncio.run_coroutine_threadsafe(delete(), loop).result(20)
                    assert gone.file is not None
                    blobs.discard(blobs_folder, gone.file)

        async def delete() -> list[deletion.Deleted]:
            return await bob.store.write(deletion.delete, [row["id"]], None, 0)

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(SealedFile, "plain", plain)
        out = tmp_path / "saved"
        with out.open("wb") as file:
            request = Request("inbox.save", {"id": row["id"]}, fds=[os.dup(file.fileno())])
            saved = await commands.save(bob.home, request)
            request.close()
        assert pieces > 1
        assert (saved["size"], out.read_bytes()) == (SIZE, data)
        assert in_blobs(bob) == []


@pytest.mark.parametrize("when", ["before its row is read", "before its blob is open"])
async def test_what_is_deleted_before_it_is_open_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """And not a damaged disk, which is what a blob that is missing would be."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send_file(alice, tmp_path, os.urandom(SIZE))
        (row,) = await listed(bob)
        arrived = bob.home.transfers.arrived
        really = arrived._row

        async def deleted_meanwhile(item: Any) -> Any:
            if when == "before its row is read":
                # Its blob is still there for a moment, and its key is not.
                await bob.store.write(deletion.delete, [item.id], None, 0)
                return await really(item)
            found = await really(item)
            await arrived.delete([item.id], None)
            return found

        monkeypatch.setattr(arrived, "_row", deleted_meanwhile)
        out = tmp_path / "saved"
        with out.open("wb") as file:
            request = Request("inbox.save", {"id": row["id"]}, fds=[os.dup(file.fileno())])
            why = "not here any more" if when == "before its row is read" else "no message"
            with pytest.raises(NotFoundError, match=why):
                await commands.save(bob.home, request)
            request.close()
        assert out.stat().st_size == 0


async def test_by_age_and_of_one_contact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peerpost.node.files.arrived.DELETED_ROWS", 2)
    monkeypatch.setattr(deletion, "AT_ONCE_BYTES", 1)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        for number in range(7):
            await alice.queue(f"text {number}")
        await listed(bob, 7)
        await bob.store.write(
            lambda db: db.execute("UPDATE inbox SET received_ms = row_id * 1000 WHERE row_id < 7")
        )
        assert await ask(bob, commands.older, before=6000) == {"count": 5, "size": 30}
        assert len(await ask(bob, commands.delete, before=6000, contact="alice", limit=3)) == 3
        assert len(await ask(bob, commands.delete, before=6000)) == 2
        assert await ask(bob, commands.delete, before=6000) == []
        with pytest.raises(NotFoundError):
            await ask(bob, commands.delete, before=6000, contact="nobody")
        for params in ({}, {"ids": [], "before": 5}):
            with pytest.raises(InvalidParamsError):
                await ask(bob, commands.delete, **params)
        assert await ask(bob, commands.delete, ids=[]) == []
        assert len(await bob.received()) == 2

"""A long text is read in pieces, which nobody holds together, and only where all of it is right."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from peerpost.client.rpc import Final
from peerpost.errors import NotFoundError, StorageError
from peerpost.node.control.methods import inbox as commands
from peerpost.node.files import long_text
from peerpost.store.files.sealed import End, SealedFile
from peerpost.wire import inner as wire
from peerpost.wire import limits
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio


async def send(who: Somebody, data: bytes) -> None:
    entry = await who.home.transfers.queue.put_text(
        who.peer.contact.id, data, lane=wire.Lane.BULK, expires_ms=None
    )
    who.home.network.queued(entry)


async def arrived(who: Somebody) -> str:
    async def one() -> bool:
        return len(await who.received()) == 1

    await until(one)
    await until(lambda: not open_blobs())  # By who has received it.
    ((id_,),) = await who.received()
    return str(id_)


async def read(who: Somebody, id_: str) -> Any:
    return await commands.read(who.home, who.request("inbox.read", id=id_))


def open_blobs() -> list[str]:
    """Return what is open of what was received; the sender has files open too."""
    paths = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # Closed meanwhile.
            paths.append(str(one.readlink()))
    return [path for path in paths if "/blobs/" in path]


async def is_unread(who: Somebody) -> bool:
    (row,) = await commands.list_(who.home, who.request("inbox.list"))
    return bool(row["unread"])


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
async def test_it_is_told_in_pieces_that_are_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Cut within characters of each length, within what is no character, and at its end."""
    monkeypatch.setattr(long_text, "PIECE_BYTES", 1000 + seed)
    data = b"x" * seed + "aß€😀".encode() * 40_000 + b"\xff\xf0\x9f" + b"b" * 70_000 + b"\xe2\x82"
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, data)
        id_ = await arrived(bob)
        first, *events, last = [event async for event in await read(bob, id_)]
        assert first["item"]["id"] == id_
        assert "".join(event["text"] for event in events) == data.decode(errors="replace")
        assert max(len(event["text"]) for event in events) <= 1003
        assert isinstance(last, Final)
        assert last.value == first["item"]
        assert not await is_unread(bob)


async def test_the_longest_is_never_held_whole(tmp_path: Path) -> None:
    data = "ß".encode() * (limits.MAX_TEXT_BYTES // 2)
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, data)
        id_ = await arrived(bob)
        size = 0
        tracemalloc.start()
        try:
            async for event in await read(bob, id_):
                if isinstance(event, dict):
                    size += len(event.get("text", "").encode())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert size == limits.MAX_TEXT_BYTES
        assert peak < limits.MAX_TEXT_BYTES // 2


async def test_what_is_no_long_text_is_told_at_once(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await alice.queue("short")
        id_ = await arrived(bob)
        shown = await read(bob, id_)
        assert shown["body"] == "short"
        assert shown | {"unread": False} == await commands.show(
            bob.home, bob.request("inbox.show", id=id_)
        )


async def test_of_a_damaged_text_nothing_is_told(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, b"t" * 5_000_000)
        id_ = await arrived(bob)
        (blob,) = (bob.home.services.home / "blobs").glob("*.sealed")
        with blob.open("r+b") as file:
            file.seek(4_000_000)  # Far behind what is read first.
            file.write(b"damage")
        with pytest.raises(StorageError, match="chunk 15 of the stored file is damaged"):
            await anext(await read(bob, id_))
        assert await is_unread(bob)
        assert not open_blobs()


async def test_who_leaves_in_the_middle_leaves_no_file_open(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, b"t" * 1_000_000)
        id_ = await arrived(bob)
        events = await read(bob, id_)
        assert "item" in await anext(events)
        assert "text" in await anext(events)
        assert open_blobs()
        await events.aclose()
        assert not open_blobs()
        assert await is_unread(bob)

        async def all_of_it() -> None:
            async for _ in await read(bob, id_):
                pass

        # Wherever it is cut short, also while a thread opens the file or reads it.
        for turns in range(60):
            reading = asyncio.ensure_future(all_of_it())
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            assert not open_blobs(), turns


async def test_who_left_before_a_thread_began_has_nothing_opened() -> None:
    def open_file() -> SealedFile:
        raise AssertionError("opened")

    text = long_text.LongText(open_file, End(size=1, count=1, root=bytes(32)))
    text.close()
    text.check()
    assert text.next() is None


async def test_one_that_is_deleted_is_read_to_its_end_or_is_not_there(tmp_path: Path) -> None:
    data = b"t" * 1_000_000
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await send(alice, data)
        id_ = await arrived(bob)
        events, late = await read(bob, id_), await read(bob, id_)
        told = [await anext(events), await anext(events)]
        await commands.delete(bob.home, bob.request("inbox.delete", ids=[id_]))
        assert not list((bob.home.services.home / "blobs").iterdir())
        told += [event async for event in events]
        assert "".join(event["text"] for event in told[1:-1]) == data.decode()
        with pytest.raises(NotFoundError):
            await anext(late)

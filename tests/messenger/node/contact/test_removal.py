"""With a contact all goes that it has here: what is open, what lies on the disk, what the store would still write."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from pathlib import Path
from typing import Any

import apsw
import pytest

from peerpost.errors import NotFoundError
from peerpost.node.control.methods import contacts as commands
from peerpost.node.control.methods.read_stream import read_stream
from peerpost.store.tables import contacts, outbox, quota, transfers
from peerpost.store.tables.limits import RateLimit
from peerpost.wire.inner import Lane
from tests.support.network_rig import Somebody, acquainted, until

pytestmark = pytest.mark.asyncio

SIZE = 6_000_000
SLOW = RateLimit(contact_id=None, down_bytes_s=300_000)


def open_in(home: Path, *folders: str) -> list[str]:
    """Return what this process has open of the files in a home's folders."""
    found = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            path = str(fd.readlink())
        except OSError:
            continue  # The one of this very list.
        if any(path.startswith(str(home / folder)) for folder in folders):
            found.append(path)
    return found


def lie_in(somebody: Somebody) -> list[str]:
    """Return the files of transfers on the disk."""
    home = somebody.home.services.home
    return [path.name for folder in ("blobs", "spool") for path in (home / folder).iterdir()]


async def send(somebody: Somebody, folder: Path, size: int = SIZE) -> outbox.Entry:
    """Queue a file for the contact, sealed into the spool, and let it go."""
    path = folder / "source"
    path.write_bytes(os.urandom(size))
    with path.open("rb") as file:
        entry = await somebody.home.transfers.queue.put(
            somebody.peer.contact.id,
            file.fileno(),
            name="a",
            path_hint=None,
            lane=Lane.BULK,
            expires_ms=None,
        )
    somebody.home.network.queued(entry)
    return entry


async def come_to_the_middle(alice: Somebody, bob: Somebody, folder: Path) -> None:
    """Have a file of Alice's come to Bob, slowly, until some of it is here."""
    bob.home.services.limits.change(SLOW)
    await send(alice, folder)

    def some() -> bool:
        downloads = bob.home.transfers._drivers.downloads.values()
        return any(0 < one.progress_bytes < SIZE for one in downloads)

    await until(some)


async def remove(somebody: Somebody) -> None:
    name = somebody.peer.contact.name
    await commands.remove(somebody.home, somebody.request("contacts.remove", name=name))


async def rows_of(somebody: Somebody) -> int:
    return await somebody.store.read(lambda db: db.execute("SELECT count(*) FROM transfers").get)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
async def test_a_file_on_its_way_in_goes_with_its_contact(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        home, contact_id = bob.home.services.home, bob.peer.contact.id
        assert open_in(home, "blobs")
        assert lie_in(bob)
        await remove(bob)
        assert open_in(home, "blobs", "spool") == []
        assert lie_in(bob) == []
        assert await rows_of(bob) == 0
        usage = await bob.store.read(quota.usage, contact_id)
        assert (usage.bytes, usage.rows) == (0, 0)
        assert not bob.home.transfers.busy


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
async def test_a_file_on_its_way_out_goes_with_its_contact(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        home = alice.home.services.home
        assert open_in(home, "spool")
        await remove(alice)
        assert open_in(home, "blobs", "spool") == []
        assert lie_in(alice) == []
        assert await rows_of(alice) == 0
        assert not alice.home.transfers.busy


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
async def test_a_stream_that_is_read_goes_with_its_contact(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        reads, writes = os.pipe()
        try:
            os.write(writes, b"the beginning")
            send_net = read_from(alice, reads)
            await anext(send_net)
            assert await rows_of(alice) == 1
            removal = asyncio.ensure_future(remove(alice))
            with pytest.raises(NotFoundError, match="the contact was removed"):
                await read_out(send_net)
            await removal
            home = alice.home.services.home
            assert open_in(home, "blobs", "spool") == []
            assert lie_in(alice) == []
            assert await rows_of(alice) == 0
            assert alice.home.transfers.pipes._open == {}
            bob.peer.cut("over")
        finally:
            os.close(reads)
            os.close(writes)


async def read_out(told: Any) -> list[Any]:
    return [row async for row in told]


def read_from(somebody: Somebody, fd: int) -> Any:
    return read_stream(
        somebody.home,
        os.dup(fd),
        contact_id=somebody.peer.contact.id,
        name="pipe",
        lane=Lane.BULK,
        expires_ms=None,
        confirm_end=False,
    )


async def test_what_begins_while_its_contact_is_removed_is_let_go(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        for somebody in (alice, bob):
            (row,) = await somebody.store.read(transfers.list_open)
            await remove(somebody)
            drivers = somebody.home.transfers._drivers
            # Its row was read before, and nothing has looked since.
            if row.incoming:
                drivers.download(row)
            else:
                await drivers.upload(row)

            def let_go(somebody: Somebody = somebody) -> bool:
                drivers = somebody.home.transfers._drivers
                return not (drivers.downloads or drivers.uploads or lie_in(somebody))

            await until(let_go)


async def test_what_comes_while_the_removal_is_committed_is_not_kept(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        held, behind = threading.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(_db: apsw.Connection) -> None:
            loop.call_soon_threadsafe(behind.set)
            held.wait()

        def queued() -> int:
            return bob.store._queue.qsize()

        holding = asyncio.ensure_future(bob.store.write(hold))
        await behind.wait()
        removal = asyncio.ensure_future(remove(bob))
        await until(lambda: queued() == 1)
        await alice.queue("hello")
        await until(lambda: queued() == 2)
        held.set()
        await asyncio.gather(holding, removal)
        await bob.store.write(lambda _db: None)
        for table in ("inbox", "marks", "transfers", "contacts"):
            found = await bob.store.read(
                lambda db, table=table: db.execute(f"SELECT * FROM {table}").fetchall()
            )
            assert found == [], table


async def test_a_crash_after_the_removal_is_mended_by_the_next_start(tmp_path: Path) -> None:
    async with acquainted(tmp_path, "alice", "bob") as (alice, bob):
        await come_to_the_middle(alice, bob, tmp_path)
        for somebody in (alice, bob):
            # All that was recorded, and nothing that follows from it.
            await somebody.store.write(contacts.remove, somebody.peer.contact.id)
            await somebody.home.network.stop()
            await somebody.home.transfers.stop()
            assert lie_in(somebody)
            await somebody.home.transfers.recover()
            assert lie_in(somebody) == []

"""A file that has been accepted, with a real store and a real part, and a sender that answers each request."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from peerpost.node.files.download import Download
from peerpost.store.db.engine import Store
from peerpost.store.tables import inbox, transfers
from peerpost.wire import inner as wire
from tests.messenger.protocol.test_receiving import LOG2, Content
from tests.support.spool_writer import services_of
from tests.support.store_rig import KEY, NOW_MS, Rig, message

__all__ = ["CHUNKS", "Incoming", "Sender", "accepted", "incoming", "part_of"]

CHUNKS = 40


class Sender:
    """The session of a sender that answers each request at once, as long as it may."""

    def __init__(self, content: Content, *, withheld: int = 0) -> None:
        self.content, self.withheld = content, withheld
        self.download: Download | None = None
        self.told: list[wire.Inner] = []

    def send(self, _lane: wire.Lane, inner: bytes) -> None:
        said = wire.decode(inner)
        self.told.append(said)
        if isinstance(said, wire.Pull):
            asyncio.get_running_loop().call_soon(self.answer, said)

    def answer(self, pull: wire.Pull) -> None:
        download, content = self.download, self.content
        assert download is not None
        for first, count in pull.ranges:
            for index in range(first, first + count):
                if index < len(content.sealed) - self.withheld:
                    download.on_control(content.page(index))
                    download.on_segments(content.segments(index))
        if not pull.ranges and not pull.leaves_count:
            download.on_control(content.finish())

    def tells(self, what: type[wire.Inner]) -> bool:
        return any(isinstance(said, what) for said in self.told)


class Incoming:
    """A file that has been accepted, and what drives it."""

    def __init__(self, home: Path, store: Store, row: transfers.Transfer, sender: Sender) -> None:
        self.home, self.store, self.row, self.sender = home, store, row, sender
        self.services = services_of(home, store)
        self.download = Download(self.services, row, home / "blobs")
        self.ends = 0
        sender.download = self.download

    def start(self) -> None:
        self.download.start(self._ended)
        self.download.session_up(cast("Any", self.sender))

    def _ended(self) -> None:
        self.ends += 1

    async def now(self) -> transfers.Transfer:
        return await self.store.read(transfers.find, self.row.id)

    async def until(self, holds: Callable[[], bool | Awaitable[bool]]) -> None:
        async with asyncio.timeout(10):
            while True:
                held = holds()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def incoming(home: Path, sender: Sender) -> AsyncIterator[Incoming]:
    loop = asyncio.get_running_loop()
    store = await Store.open(home / "store.db", KEY, loop=loop, ballast_bytes=0)
    contact_id = (await store.read(lambda db: db.execute("SELECT id FROM contacts").fetchone()))[0]
    row = await store.read(transfers.get, contact_id, sender.content.file_id, incoming=True)
    assert row is not None
    made = Incoming(home, store, row, sender)
    try:
        yield made
    finally:
        await made.download.close()
        made.services.threads.shutdown()
        await store.close()


def part_of(home: Path) -> Path:
    """Return where the part of the file lies."""
    return home / "blobs" / f"{(home / 'transfer').read_text()}.part"


def accepted(tmp_path: Path, content: Content) -> Path:
    """Return a home with a contact whose file has been accepted."""
    (tmp_path / "blobs").mkdir()
    body = wire.encode_offer(
        wire.Offer(
            file_id=content.file_id,
            key=content.key,
            chunk_log2=LOG2,
            size=content.size,
            name="a",
            as_text=False,
        )
    )
    with Rig(tmp_path) as rig:
        rig.make_identity()
        bob = rig.make_contact("bob").id
        made = message(1, kind=wire.Kind.OFFER, body=body, outbox_id=bytes([3]) * 16, lane=1)
        rig.write(inbox.receive_many, bob, [made], NOW_MS)
        row = rig.read(transfers.get, bob, content.file_id, incoming=True)
        assert row is not None
        rig.write(transfers.set_state, row.id, "active")
        (tmp_path / "transfer").write_text(row.id)
    return tmp_path

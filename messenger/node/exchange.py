"""What goes back and forth with one contact over one session: the outbox out, the inbox in, receipts both ways.

Out: per lane a pump loads what is not settled, in order, and keeps a bounded window of it unacknowledged.
In: everything that arrived during one commit is committed by the next, and only then acknowledged, in one receipt
per lane (commit before receipt: what the sender believes delivered is on our disk).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from peerpost.errors import ProtocolError, StoreFullError
from peerpost.protocol.outgoing import OutgoingWindow
from peerpost.store import inbox, outbox
from peerpost.wire import inner as wire
from peerpost.wire.segment import Segment

from .clock import now_ms
from .session import Received, Session
from .tasks import Tasks

if TYPE_CHECKING:
    from .services import Services
    from .transfers import Transfers

__all__ = ["Exchange"]

log = logging.getLogger(__name__)

PENDING_MESSAGES = 2048
"""Messages waiting for the disk before reading stops: a few group commits."""
PENDING_BYTES = 8 << 20
"""The same in bytes."""
BUSY_RETRY_MS = 30_000
"""What a contact is asked to wait when our disk is full."""


class Exchange:
    """The traffic of one session."""

    def __init__(self, services: Services, contact_id: str, transfers: Transfers) -> None:
        self._services = services
        self._contact_id = contact_id
        self._transfers = transfers
        self._windows = {lane: OutgoingWindow() for lane in wire.Lane}
        self._pump_wake = {lane: asyncio.Event() for lane in wire.Lane}
        self._pending: list[tuple[wire.Message, bytes]] = []
        self._pending_bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._tasks = Tasks(lambda error: self._session.abort(f"internal error: {error}"))
        self._session: Session

    async def run(self, session: Session, have: Iterable[tuple[bytes, int, int]]) -> None:
        """Exchange with the contact until the session ends.

        `have` is what the peer's HELLO said it holds: (outbox id, lane, watermark) each.
        """
        self._session = session
        try:
            for outbox_id, lane, watermark in have:
                await self._acknowledge(outbox_id, lane, watermark, b"")
            for lane in wire.Lane:
                self._pump_wake[lane].set()
                self._tasks.spawn(self._pump(lane), name=f"pump-{lane.name.lower()}")
            self._tasks.spawn(self._commit_arrivals(), name="commit")
            self._transfers.session_up(self._contact_id, session)
            await session.run()
        finally:
            self._transfers.session_down(self._contact_id, session)
            await self._tasks.stop()

    def poke(self) -> None:
        """Look into the outbox again: something was queued, cancelled or freed."""
        for event in self._pump_wake.values():
            event.set()

    # -- out

    async def _pump(self, lane: wire.Lane) -> None:
        window, wake = self._windows[lane], self._pump_wake[lane]
        while True:
            await wake.wait()
            wake.clear()
            while window.room:
                room = window.room
                entries = await self._services.store.read(
                    outbox.unsettled, self._contact_id, int(lane), window.cursor, room
                )
                for entry in entries:
                    self._session.send(lane, entry.inner, messages=1)
                    window.sent(entry.row_id, len(entry.inner))
                fresh = [entry.row_id for entry in entries if entry.state == "queued"]
                if fresh:
                    self._tasks.spawn(self._mark_sent(fresh), name="mark-sent")
                if len(entries) < room:
                    break

    async def _mark_sent(self, row_ids: list[int]) -> None:
        changed = await self._services.store.write_lazily(outbox.mark_sent, row_ids)
        for entry in changed:
            self._services.events.publish("entry", entry.id, entry.state)

    async def _acknowledge(self, outbox_id: bytes, lane: int, watermark: int, sack: bytes) -> None:
        settled = await self._services.store.write(
            outbox.acknowledge, self._contact_id, outbox_id, lane, watermark, sack, now_ms()
        )
        for entry in settled:
            self._windows[wire.Lane(entry.lane)].settled(entry.row_id)
            self._services.events.publish("entry", entry.id, entry.state)
        if settled:
            self.poke()

    # -- in

    async def on_inner(self, session: Session, lane: wire.Lane, batch: list[Received]) -> None:
        """Take what one read brought (session.Receiver)."""
        for received in batch:
            message = received.message
            if isinstance(message, wire.Message):
                if message.lane != lane:
                    raise ProtocolError("a message on the wrong lane")
                self._pending.append((message, wire.link(received.raw, message)))
                self._pending_bytes += len(received.raw)
            elif isinstance(message, wire.Receipt):
                self._tasks.spawn(
                    self._acknowledge(
                        message.outbox_id, message.lane, message.watermark, message.sack
                    ),
                    name="acknowledge",
                )
            elif isinstance(message, wire.Busy):
                session.abort(f"the peer is busy: {message.reason}")
            else:
                await self._transfers.on_control(self._contact_id, session, message)
        if self._pending:
            self._arrived.set()
            if len(self._pending) >= PENDING_MESSAGES or self._pending_bytes >= PENDING_BYTES:
                self._room.clear()
                await self._room.wait()

    async def on_segments(self, session: Session, segments: list[Segment]) -> None:
        """Take chunk data (session.Receiver)."""
        await self._transfers.on_segments(self._contact_id, session, segments)

    async def _commit_arrivals(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._pending, self._pending_bytes = self._pending, [], 0
            self._room.set()
            try:
                received = await self._services.store.write(
                    inbox.receive_many,
                    self._contact_id,
                    batch,
                    now_ms(),
                )
            except StoreFullError as error:
                self._refuse_for_now(error)
                return
            self._send_receipts(received.marks)
            for item in received.items:
                self._services.events.publish("item", item.id)
            for file_id in received.offers:
                await self._transfers.offered(self._contact_id, self._session, file_id)

    def _send_receipts(self, marks: Iterable[inbox.Mark]) -> None:
        for mark in marks:
            receipt = wire.Receipt(
                outbox_id=mark.outbox_id, lane=mark.lane, watermark=mark.watermark, sack=mark.sack
            )
            self._session.send(wire.Lane.URGENT, wire.encode(receipt))

    def _refuse_for_now(self, error: StoreFullError) -> None:
        # Nothing of the batch was acknowledged, so the contact keeps it and asks again.
        log.warning("cannot store what %s sends: %s", self._contact_id, error.message)
        busy = wire.Busy(reason="the disk is full", retry_ms=BUSY_RETRY_MS)
        self._session.send(wire.Lane.URGENT, wire.encode(busy))
        self._tasks.spawn(self._abort_soon("our disk is full"), name="abort")

    async def _abort_soon(self, cause: str) -> None:
        await asyncio.sleep(0.5)
        self._session.abort(cause)

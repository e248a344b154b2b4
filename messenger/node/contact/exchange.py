"""The traffic with one contact over one session: the outbox goes out, the inbox comes in, receipts go both ways.

Out: for each lane a pump loads the entries that are not settled, in order, and keeps a bounded window of them
unacknowledged. An entry that is queued when everything before it was sent is sent without being read from the store.
In: everything that arrived during one commit is committed by the next, and only then acknowledged, in one receipt for
each lane. Because the commit comes before the receipt, what the sender believes delivered is on our disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import weakref
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from peerpost.errors import (
    NotFoundError,
    ProtocolError,
    QuotaError,
    StoreFullError,
    UntrustedError,
)
from peerpost.node.causes import cause_of
from peerpost.node.session.session import Later, Received, Session
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.protocol.message_window import OutgoingWindow
from peerpost.store.tables import inbox, outbox
from peerpost.wire import inner as wire
from peerpost.wire.life import Life
from peerpost.wire.segment import Segment

from .agreement import LaneMemory

if TYPE_CHECKING:
    import apsw

    from peerpost.node.files.transfers import Transfers
    from peerpost.node.services import Services

__all__ = ["Exchange"]

log = logging.getLogger(__name__)

T = TypeVar("T")

PENDING_MESSAGES = 2048
"""Messages waiting for the disk before reading stops: a few group commits."""
PENDING_BYTES = 8 << 20
"""The same in bytes."""
PENDING_RECEIPTS = 64
"""Receipts, one for each lane and outbox, that may wait to be processed before reading stops; an honest peer needs
two."""
MARK_SENT_S = 0.1
"""An entry that is acknowledged sooner goes straight from `queued` to `delivered`. Any other is marked `sent` after
this time, at the latest after twice this time."""
BUSY_RETRY_MS = 5_000
"""How long a contact is asked to wait when our disk is full. It then tries again by itself: nobody tells it when there
is room."""
QUOTA_RETRY_MS = 300_000
"""The same for a contact that has used up its quota: longer, because somebody has to make room first."""
FULL_RETRY_S = 5.0
"""How long we wait when our own disk is too full to record what became of our messages."""


class Exchange:
    """The traffic of one session."""

    def __init__(
        self,
        services: Services,
        contact_id: str,
        transfers: Transfers,
        *,
        on_busy: Callable[[float, str], None],
        on_copied: Callable[[str], object] = lambda _: None,
        busy_until_s: float = 0.0,
    ) -> None:
        """Prepare; nothing is sent before `busy_until_s` (monotonic).

        When the contact asks us to wait, `on_busy` is called at once with that time and the cause, because a newer
        session may begin before this one has ended. `on_copied` is that of LaneMemory.
        """
        self._on_copied = on_copied
        self._busy_until_s = busy_until_s
        self._on_busy = on_busy
        self._services = services
        self._contact_id = contact_id
        self._transfers = transfers
        self._windows = {lane: OutgoingWindow() for lane in wire.Lane}
        self._pump_wake = {lane: asyncio.Event() for lane in wire.Lane}
        self._unmarked: set[int] = set()
        self._just_left: set[int] = set()
        self._left = asyncio.Event()
        self._hurry = asyncio.Event()
        self._receipts: dict[tuple[bytes, int], wire.Receipt] = {}
        self._settling = 0
        self._pending: list[tuple[wire.Message, bytes]] = []
        self._pending_bytes = 0
        self._committing = False
        self._room = asyncio.Event()
        self._room.set()
        self._tasks = Tasks()
        self._fails = EndsOwner(functools.partial(_end_session, weakref.ref(self)))
        self._session: Session
        self._memory: LaneMemory

    async def run(
        self,
        session: Session,
        have: Iterable[tuple[bytes, int, int]],
        tops: bytes | None = None,
        life: Life | None = None,
    ) -> None:
        """Exchange with the contact until the session ends.

        `have` is what the peer's HELLO said it holds, as (outbox id, lane, watermark); `tops` is its entry of that
        name, and `life` what it said of the runs of both homes.
        """
        self._session = session
        self._memory = LaneMemory(self._services, self._contact_id, session, self._on_copied)
        try:
            self._spawn(self._begin(list(have), tops, life), "begin")
            self._spawn(self._mark_sent(), "mark-sent")
            self._transfers.session_up(self._contact_id, session)
            await session.run()
        except Exception as error:
            session.abort(cause_of(error))
            raise
        finally:
            session.abort("the exchange has ended")
            self._pending.clear()
            self._receipts.clear()
            try:
                self._transfers.session_down(self._contact_id, session)
            finally:
                await self._tasks.stop()
                session.let_go()

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.spawn(coroutine, name=name, on_failure=self._fails)

    async def _begin(
        self, have: list[tuple[bytes, int, int]], tops: bytes | None, life: Life | None
    ) -> None:
        """Send and process receipts once both homes agree on the past. Reading does not wait for that."""
        self._settling += 1
        try:
            self._settled(await self._memory.agree(have, tops, life, retry_s=FULL_RETRY_S), None)
        except ProtocolError as error:
            await self._session.part(error.message)
            self._session.abort(error.message)
            return
        except (NotFoundError, UntrustedError) as error:
            self._session.abort(error.message)
            return
        self._settling -= 1
        for lane in wire.Lane:
            self._pump_wake[lane].set()
            self._spawn(self._pump(lane), f"pump-{lane.name.lower()}")
        self._take_receipts()

    def poke(self) -> None:
        """Look into the outbox again: something was queued, cancelled or freed."""
        for event in self._pump_wake.values():
            event.set()

    def retry_now(self) -> None:
        """Send what waits, although the contact has asked us to wait."""
        self._busy_until_s = 0.0
        self._hurry.set()

    def queued(self, entry: outbox.Entry) -> None:
        """Send an entry that was queued just now, if all before it was sent; otherwise it is loaded in its turn."""
        lane = wire.Lane(entry.lane)
        window = self._windows[lane]
        if entry.file_id is None and window.follows(entry.outbox_id, entry.seq):
            self._send(lane, entry)
            window.end = (entry.outbox_id, entry.seq)
        else:
            self._pump_wake[lane].set()

    # -- out

    async def _pump(self, lane: wire.Lane) -> None:
        window, wake = self._windows[lane], self._pump_wake[lane]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(
                max(0.0, self._busy_until_s - self._services.clock.monotonic_s())
            ):
                await self._hurry.wait()
        while True:
            await wake.wait()
            wake.clear()
            # An entry that is queued from now on may or may not be among the loaded ones, so it causes another look.
            window.end = None
            while room := window.room:
                entries, end = await self._services.store.read(
                    outbox.load, self._contact_id, int(lane), window.cursor, room
                )
                for entry in entries:
                    self._send(lane, entry)
                if end is None or len(entries) < room:
                    window.end = end
                    break

    def _send(self, lane: wire.Lane, entry: outbox.Entry) -> None:
        if self._session.cause is not None:
            return  # The session has ended; the next one loads what is not settled.
        self._session.send(lane, entry.inner, messages=1)
        self._windows[lane].sent(entry.row_id, len(entry.inner))
        if entry.state == "queued":
            self._just_left.add(entry.row_id)
            self._left.set()

    async def _mark_sent(self) -> None:
        """Mark entries as sent that are not acknowledged soon."""
        while True:
            await self._left.wait()
            self._left.clear()
            await asyncio.sleep(MARK_SENT_S)
            row_ids = sorted(self._unmarked)
            self._unmarked, self._just_left = self._just_left, set()
            if self._unmarked:
                self._left.set()
            if not row_ids:
                continue
            await self._written(functools.partial(outbox.mark_sent, row_ids=row_ids))

    def _take_receipts(self) -> None:
        """Settle what receipts cover. Of receipts that arrive meanwhile, the last of each lane covers the others."""
        if self._settling:
            return
        receipts, self._receipts = self._receipts, {}
        for receipt in receipts.values():
            self._settling += 1
            acknowledged = functools.partial(self._acknowledged, receipt)
            self._services.store.submit(
                acknowledged, self._settle(receipt), on_failure=self._fail, lazy=True
            )

    def _settle(self, receipt: wire.Receipt) -> Callable[[apsw.Connection], list[outbox.Entry]]:
        return functools.partial(
            outbox.acknowledge,
            contact_id=self._contact_id,
            outbox_id=receipt.outbox_id,
            lane=receipt.lane,
            watermark=receipt.watermark,
            sack=receipt.sack,
            now_ms=self._services.clock.now_ms(),
        )

    def _acknowledged(
        self, receipt: wire.Receipt, settled: list[outbox.Entry], error: BaseException | None
    ) -> None:
        if isinstance(error, StoreFullError):
            self._settle_later(receipt, error)
            return
        self._settling -= 1
        self._settled(settled, error)
        self._take_receipts()
        self._make_room()

    def _settle_later(self, receipt: wire.Receipt, error: StoreFullError) -> None:
        # The contact does not repeat a receipt, so this one is written first; later ones wait.
        if self._session.cause is not None:
            return
        log.warning("cannot note what %s has received: %s", self._contact_id, error.message)
        self._spawn(self._settle_again(receipt), "settle-again")

    async def _settle_again(self, receipt: wire.Receipt) -> None:
        await asyncio.sleep(FULL_RETRY_S)
        self._acknowledged(receipt, await self._written(self._settle(receipt)), None)

    async def _written(self, work: Callable[[apsw.Connection], T]) -> T:
        """Write without an fsync of its own, once the disk has room for it."""
        while True:
            try:
                return await self._services.store.write_lazily(work)
            except StoreFullError:
                await asyncio.sleep(FULL_RETRY_S)

    def _settled(self, settled: list[outbox.Entry], error: BaseException | None) -> None:
        if error is not None:
            self._fail(error)
            return
        for entry in settled:
            self._windows[wire.Lane(entry.lane)].settled(entry.row_id)
            self._unmarked.discard(entry.row_id)
            self._just_left.discard(entry.row_id)
        for lane, window in self._windows.items():
            if settled and window.end is None:
                self._pump_wake[lane].set()

    def end_session(self, error: BaseException) -> None:
        """End the session because of a failure of ours."""
        self._session.abort(cause_of(error))

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, NotFoundError | UntrustedError):
            # The contact was removed or blocked; the session ends in any case.
            self._session.abort(error.message)
            return
        log.error("the exchange with %s failed: %r", self._contact_id, error, exc_info=error)
        self.end_session(error)

    # -- in

    def on_inner(self, session: Session, lane: wire.Lane, batch: list[Received]) -> Later | None:
        """Take the messages of one read (session.Receiver)."""
        control: list[wire.Inner] = []
        for received in batch:
            message = received.message
            if isinstance(message, wire.Message):
                if message.lane != lane:
                    raise ProtocolError("a message on the wrong lane")
                self._pending.append((message, wire.link(received.raw, message)))
                self._pending_bytes += len(received.raw)
            elif isinstance(message, wire.Receipt):
                if self._memory.heard(message):
                    continue
                self._receipts[message.outbox_id, message.lane] = message
            elif isinstance(message, wire.Busy):
                cause = f"the peer is busy: {message.reason}"
                self._on_busy(self._services.clock.monotonic_s() + message.retry_ms / 1000, cause)
                session.abort(cause)
            else:
                control.append(message)
        self._take_receipts()
        self._commit_arrivals()
        if self._is_full:
            self._room.clear()
        elif not control:
            return None
        return functools.partial(self._go_on, session, control)

    async def _go_on(self, session: Session, control: list[wire.Inner]) -> None:
        for message in control:
            await self._transfers.on_control(self._contact_id, session, message)
        await self._room.wait()

    @property
    def _is_full(self) -> bool:
        return (
            len(self._pending) >= PENDING_MESSAGES
            or self._pending_bytes >= PENDING_BYTES
            or len(self._receipts) >= PENDING_RECEIPTS
        )

    def _make_room(self) -> None:
        if not self._is_full:
            self._room.set()

    def on_segments(self, _session: Session, segments: list[Segment]) -> None:
        """Take chunk data (session.Receiver)."""
        self._transfers.on_segments(self._contact_id, segments)

    def _commit_arrivals(self) -> None:
        """Commit what has arrived. If a commit is running, another one follows it."""
        if self._committing or not self._pending:
            return
        self._committing = True
        batch, self._pending, self._pending_bytes = self._pending, [], 0
        receive = functools.partial(
            inbox.receive_many,
            contact_id=self._contact_id,
            messages=batch,
            now_ms=self._services.clock.now_ms(),
            quota_bytes=self._services.config.storage.quota,
        )
        self._services.store.submit(self._committed, receive, on_failure=self._fail)
        self._make_room()

    def _committed(self, received: inbox.ReceivedBatch, error: BaseException | None) -> None:
        if isinstance(error, StoreFullError):
            self._refuse_for_now(error)
            return
        if error is not None:
            self._fail(error)
            return
        self._committing = False
        self._memory.refuse(received.conflicts)
        self._send_receipts(received.marks)
        self._tell_again(received.ended)
        self._commit_arrivals()
        if received.held:
            # These are more at once than a sender may have open by the protocol.
            self._ask_to_wait("too many files are open", "too many open offers")
        if received.offers:
            self._transfers.offered(self._contact_id)

    def _send_receipts(self, marks: Iterable[inbox.Mark]) -> None:
        for mark in marks:
            if not self._memory.acknowledges(mark.outbox_id, mark.lane):
                continue
            receipt = wire.Receipt(
                outbox_id=mark.outbox_id, lane=mark.lane, watermark=mark.watermark, sack=mark.sack
            )
            self._session.send(wire.Lane.URGENT, wire.encode(receipt))

    def _tell_again(self, ended: Iterable[tuple[bytes, str]]) -> None:
        for file_id, state in ended:
            told: wire.Inner = wire.Complete(file_id=file_id)
            if state != "done":
                told = wire.Cancel(file_id=file_id, reason="the receiver had given it up")
            self._session.send(wire.Lane.URGENT, wire.encode(told))

    def _refuse_for_now(self, error: StoreFullError) -> None:
        # Nothing of the batch was acknowledged, so the contact keeps it and sends it again.
        log.warning("cannot store what %s sends: %s", self._contact_id, error.message)
        if isinstance(error, QuotaError):
            self._ask_to_wait(error.message, "its quota here is used up", QUOTA_RETRY_MS)
        else:
            self._ask_to_wait("the disk is full", "our disk is full")

    def _ask_to_wait(self, reason: str, cause: str, retry_ms: int = BUSY_RETRY_MS) -> None:
        busy = wire.Busy(reason=reason, retry_ms=retry_ms)
        self._session.send(wire.Lane.URGENT, wire.encode(busy))
        self._spawn(self._abort_soon(cause), "abort")

    async def _abort_soon(self, cause: str) -> None:
        await asyncio.sleep(0.5)
        self._session.abort(cause)


def _end_session(exchange: weakref.ref[Exchange], error: BaseException) -> None:
    # A weak reference: the exchange refers to its tasks, and these to this function. With a strong one only the
    # garbage collector would free them.
    if (failed := exchange()) is not None:
        failed.end_session(error)

"""One contact: dial it, keep one session, let the exchange run in it, dial it again.

Duplicate connections happen when both sides dial at once. If two connections begin within `TIE_S`, the one that was
dialled by the smaller peer id stays, because both sides can decide that alike. If the second one comes later, it stays,
because a peer that dials again has lost the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random  # noqa: TID251 - full jitter needs no secrecy
from typing import TYPE_CHECKING

from peerpost.errors import PeerpostError, RollbackError, StorageError, UntrustedError
from peerpost.node.causes import cause_of
from peerpost.node.session.session import Session
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.protocol.backoff import IDLE_CAP_S, Backoff
from peerpost.protocol.hello import HelloDeniedError, HelloRefusedError
from peerpost.store.tables import contacts, outbox
from peerpost.wire.hello import RefusalCode
from peerpost.wire.history import TOPS
from peerpost.wire.life import LIFE, decode_life

from .exchange import Exchange
from .handshake import Greeting, open_lanes
from .reach import closed_where_it_fails
from .tickets import NOT_TAKEN, expire, take_note

if TYPE_CHECKING:
    from peerpost.net.interface import Connection, Stream
    from peerpost.node.files.transfers import Transfers
    from peerpost.node.services import Services
    from peerpost.store.tables.contacts import Contact
    from peerpost.store.tables.outbox import Entry
    from peerpost.wire.inner import Lane

    from .meeting import Book
    from .reach import Reach

__all__ = ["Peer"]

log = logging.getLogger(__name__)

TIE_S = 3.0
"""Two connections that begin within this time were dialled at once by both sides. It is longer than a dial with HELLO
takes, and shorter than a restart."""

LOOK_AGAIN_DIALS = 16
"""When something waits for the contact, this many dials go by before that is checked again: the file that was waited
for may have been given up. (A message that was gives way to a tombstone, which waits as it did.)"""
WARN_EVERY_S = 60.0
"""The log names a contact that is not served at most once in this time."""
COMING_S = 5.0
"""Longest wait for the session of a contact who joins over a connection of its own: as long as HELLO may take."""
DIALLED = frozenset({"active", "pending", "removed"})
"""States in which a contact is dialled. One that has removed us may add us again, and only a dial would tell us."""
STEADY_S = 1.0
"""If a session ends sooner than this, the next one probably will too (for example on a full disk), so there is a wait
before it."""

QUIET_S = 3 * IDLE_CAP_S
"""How long a session lasts until it shows that no second copy of either home is there: one would have dialled by then,
and driven the first out."""


class Peer:
    """A contact with its session, if there is one."""

    def __init__(
        self,
        services: Services,
        transfers: Transfers,
        reach: Reach,
        book: Book,
        contact: Contact,
        *,
        hurry: bool = False,
        coming: bool = False,
    ) -> None:
        self.contact = contact
        self.session: Session | None = None
        self.last_error_ms: int | None = None
        """When `last_error` came up."""
        self._last_error: str | None = None
        self._dials_then: asyncio.TimerHandle | None = None
        self.next_dial_s: float | None = None
        """Monotonic time of the next dial, while one is waited for."""
        self.attempts = 0
        self.refused = False
        """Whether the peer answered the last dial, and said no for good."""
        self.copied: dict[str, int] = {}
        """When two copies of a home were last found since this node began: `ours` or `theirs`."""
        self.closed = False
        """Whether the contact was removed, or the node stops: no session may begin any more."""
        self._services = services
        self._transfers = transfers
        self._reach = reach
        self._book = book
        self._exchange: Exchange | None = None
        self._backoff = Backoff()
        self._unsteady: Backoff | None = None
        """The growing waits after sessions that were too short; None after one that lasted."""
        self._wake = asyncio.Event()
        """Ends a wait: somebody wants the contact now, or a session has begun."""
        self._over = asyncio.Event()
        """Set when a session is over, until the next one begins; it does not end a wait."""
        self._dialled = asyncio.Event()
        self._queued = False
        self._busy_until_s, self._busy_cause = 0.0, ""
        self._warn_after_s = 0.0
        self._hurry = hurry
        """Whether somebody waits for the next dial."""
        self._coming = coming
        """Whether a connection of the contact's own is about to become its first session."""
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin to dial the contact."""
        name = f"reach-{self.contact.id}"
        self._tasks.keep(name, self._keep_reaching, self._services.duties)

    async def stop(self, cause: str = "the node is stopping") -> None:
        """End the session and the dialling for good."""
        self.closed = True
        self.cut(cause)
        if self._dials_then is not None:
            self._dials_then.cancel()
        await self._tasks.stop()

    @property
    def last_error(self) -> str | None:
        """Why the last dial or session failed, if nothing has gone well since."""
        return self._last_error

    @last_error.setter
    def last_error(self, error: str | None) -> None:
        self._last_error = error
        self.last_error_ms = None if error is None else self._services.clock.now_ms()

    @property
    def is_busy(self) -> bool:
        """Whether it has asked to be sent nothing for now."""
        return self._services.clock.monotonic_s() < self._busy_until_s

    @property
    def online(self) -> bool:
        """Whether there is a session now."""
        return self.session is not None

    def is_quiet_since(self, at_ms: int) -> bool:
        """Return whether one session has lasted, since a moment, longer than two copies of a home would have let it."""
        if self.session is None:
            return False
        clock = self._services.clock
        lasted_s = min(clock.monotonic_s() - self.session.opened_s, (clock.now_ms() - at_ms) / 1000)
        return lasted_s >= QUIET_S

    def poke(self) -> None:
        """Look at the contact's outbox again; dial now if the current wait was long because nothing was queued."""
        if self._exchange is not None:
            self._exchange.poke()
        elif not self._queued:
            self._queued = True
            self.dial_now()

    def queued(self, entry: Entry) -> None:
        """Send what was queued just now, or dial for it."""
        if self._exchange is not None:
            self._exchange.queued(entry)
        else:
            self.poke()

    def retry_now(self) -> None:
        """Dial now, and send even if the contact has asked us to wait (Busy)."""
        self._busy_until_s = 0.0
        if self._exchange is not None:
            self._exchange.retry_now()
        self.dial_now()

    def dial_now(self) -> None:
        """Dial now, whatever the backoff says."""
        self._hurry = True
        self._reach.dials.hasten(self.contact.id)
        self._backoff.reset()
        self._wake.set()

    def _dial_at(self, wait_s: float) -> None:
        if self._dials_then is not None:
            self._dials_then.cancel()
        self._dials_then = asyncio.get_running_loop().call_later(wait_s, self.dial_now)

    def dial_anew(self) -> None:
        """End the session and dial with the ticket that the contact has now; `dialled` waits for that."""
        self._dialled.clear()
        self.refused = False
        self.cut("a new ticket renews it")
        self.dial_now()

    @property
    def can_be_dialled(self) -> bool:
        """Whether it is one of those that are dialled, and an address of it is known."""
        return self.contact.state in DIALLED and bool(self._reach.where(self.contact))

    async def dialled_again(self, timeout_s: float) -> None:
        """Dial now, if there is no session, and wait until that has come to something."""
        if self.session is None:
            self._dialled.clear()
            self.dial_now()
            await self.dialled(timeout_s)

    async def dialled(self, timeout_s: float) -> None:
        """Wait until the contact was dialled for the first time, or again, with or without success."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._dialled.wait()

    def cut(self, cause: str) -> None:
        """End the session in this turn of the loop, if there is one."""
        if self.session is not None:
            self.session.abort(cause)

    def turned_away(self, problem: UntrustedError) -> None:
        """Note why the contact, which has proved itself, is not served."""
        went_back = isinstance(problem, RollbackError)
        self.last_error = (
            f"{problem.message}: it was told, and goes on" if went_back else problem.message
        )
        now_s = self._services.clock.monotonic_s()
        if now_s >= self._warn_after_s:
            self._warn_after_s = now_s + WARN_EVERY_S
            log.warning("%s is not served: %s", self.contact.name, self.last_error)

    # -- reaching

    async def _keep_reaching(self) -> None:
        if self._coming:
            # Dialling now would make a second connection, and one of the two would have to be closed.
            self._coming = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMING_S):
                    await self._wake.wait()
        while True:
            if self.session is not None:
                await self._over.wait()
                if self.session is None and self._unsteady is not None:
                    await self._pause(self._unsteady, queued=True)
                continue
            if self.contact.state in DIALLED and self._reach.where(self.contact):
                await self._reach.dials.turn(self.contact.id, soon=self._hurry)
                self._hurry = False
                if self.session is None:
                    await self._dial_once()
                if self.session is not None:
                    continue
            # Asked only after the dial. Otherwise, when a node starts, a thousand contacts would ask the store at once.
            if not self._queued or not self.attempts % LOOK_AGAIN_DIALS:
                await self._look_for_work()
            await self._pause(self._backoff, queued=self._queued)

    async def _look_for_work(self) -> None:
        try:
            self._queued = await self._has_work()
        except StorageError as error:
            log.warning("cannot see what waits for %s: %s", self.contact.name, error.message)

    async def _has_work(self) -> bool:
        """Return whether something waits to be sent to this contact, or to be received from it."""
        waiting = await self._services.store.read(outbox.has_open, self.contact.id)
        pending = self.contact.state == "pending"
        return waiting or pending or self._transfers.wants(self.contact.id)

    async def _pause(self, backoff: Backoff, *, queued: bool) -> None:
        wait_s = backoff.next_wait_s(random.random(), queued=queued)  # noqa: S311
        self.next_dial_s = self._services.clock.monotonic_s() + wait_s
        try:
            async with asyncio.timeout(wait_s):
                await self._wake.wait()
        except TimeoutError:
            pass
        finally:
            self.next_dial_s = None
            self._wake.clear()

    async def _dial_once(self) -> None:
        self.attempts += 1
        self.refused = False
        ticket, asked_ms = self.contact.ticket_secret, self._services.clock.now_ms()
        try:
            connection, greeting = await self._reach.dial(self.contact)
            async with closed_where_it_fails(connection):
                await self.attach(connection, greeting)
        except HelloRefusedError as error:
            self.last_error = error.message
            log.info("%s refuses us: %s", self.contact.name, error.message)
            # If a new ticket came meanwhile, the refusal says nothing about that one.
            if ticket == self.contact.ticket_secret:
                self.refused = error.is_final
                await self._heed(error, asked_ms)
        except HelloDeniedError as error:
            log.debug("%s is not served: %s", self.contact.name, error.message)
        except PeerpostError as error:
            self.last_error = error.message
            level = logging.WARNING if isinstance(error, UntrustedError) else logging.DEBUG
            log.log(level, "cannot reach %s: %s", self.contact.name, error.message)
        except Exception as error:
            self.last_error = cause_of(error)
            raise
        finally:
            if ticket == self.contact.ticket_secret or self.contact.ticket_secret is None:
                self._dialled.set()

    async def left_at_the_door(self, error: HelloRefusedError) -> None:
        """Note that the contact connected, saw who we are, and does not go on."""
        log.info("%s does not go on: %s", self.contact.name, error.message)
        self.last_error = error.message
        await self._heed(error, self._services.clock.now_ms())

    async def _heed(self, error: HelloRefusedError, asked_ms: int) -> None:
        """Act on a refusal by the contact, and log it if the store cannot note it."""
        try:
            await self._act_upon(error, asked_ms)
        except StorageError as failure:
            log.warning("cannot note that %s refused: %s", self.contact.name, failure.message)

    async def _act_upon(self, error: HelloRefusedError, asked_ms: int) -> None:
        """Act on the refusal that the contact answered to a HELLO sent at `asked_ms`."""
        refusal = error.refusal
        if error.is_final and self.contact.state == "pending":
            said = (
                refusal.reason
                if refusal is not None and refusal.reason
                else "it was used, or is no longer good"
            )
            self.last_error = f"{NOT_TAKEN}: {said}"
            await expire(self._services, self._book, self.contact.id, self.last_error)
        if refusal is None:
            if self.contact.state == "active":
                await take_note(
                    self._services, self._book, contacts.refuses_us, self.contact.id, asked_ms
                )
        elif refusal.code == RefusalCode.ROLLBACK:
            log.info("%s has a newer key statement of ours", self.contact.name)
            if await self._reach.overtake(refusal):
                self.dial_now()
            elif (wait_s := self._reach.overtakes_in_s()) > 0:
                # Two copies of this home may run. Backoff alone could keep the one that is left away for minutes.
                self._dial_at(wait_s)
        elif refusal.code == RefusalCode.EQUIVOCATION:
            log.info("%s has to verify us: %s", self.contact.name, error.message)

    # -- sessions

    async def attach(self, connection: Connection, greeting: Greeting) -> bool:
        """Make a session of a connection whose HELLO is done; return False if another connection stays instead.

        Raises ProtocolError or ConnectionLostError if the lanes do not open, HelloDeniedError if the contact was
        removed, blocked or found changed since HELLO.
        """
        self._require_served()
        if self._prefers(connection):
            # If both sides have dialled, neither may wait here: each would wait until the other opens its lanes.
            streams = await open_lanes(connection, greeting)
            self._require_served()
            if self._prefers(connection):
                self._take(connection, streams, greeting)
                self._services.events.presence(self.contact.id, "online")
                return True
        await connection.close()
        return False

    def _require_served(self) -> None:
        """Raise HelloDeniedError if no session may begin. Asked again after each await, which may have changed it."""
        if self.closed or not self.contact.served:
            raise HelloDeniedError("the contact was removed, blocked or is to be verified")

    def _take(
        self, connection: Connection, streams: dict[Lane, Stream], greeting: Greeting
    ) -> None:
        old = self.session
        if old is not None:
            old.abort("a newer connection replaced it")
        exchange = Exchange(
            self._services,
            self.contact.id,
            self._transfers,
            on_busy=self._on_busy,
            on_copied=self._note_copied,
            busy_until_s=self._busy_until_s,
        )
        session = Session(
            connection=connection,
            streams=streams,
            keys=greeting.keys,
            buckets=self._services.buckets,
            receiver=exchange,
            traffic=self._services.limits.traffic(self.contact.id),
        )
        self.session, self._exchange = session, exchange
        self._over.clear()
        self._wake.set()
        self._dialled.set()
        # While the contact is busy, that is why nothing goes, whatever has ended its sessions meanwhile.
        self.last_error = self._busy_cause if self.is_busy else None
        self.attempts = 0
        self._queued = False
        self._backoff.reset()
        self._tasks.spawn(
            self._run(session, exchange, greeting),
            name=f"session-{self.contact.id}",
            on_failure=EndsOwner(lambda error: session.abort(cause_of(error))),
        )

    def _note_copied(self, side: str) -> None:
        self.copied[side] = self._services.clock.now_ms()

    def _on_busy(self, until_s: float, cause: str) -> None:
        self._busy_until_s = max(self._busy_until_s, until_s)
        self.last_error = self._busy_cause = cause

    def _prefers(self, connection: Connection) -> bool:
        current = self.session
        if current is None or current.connection.inbound == connection.inbound:
            return True
        if self._services.clock.monotonic_s() - current.opened_s > TIE_S:
            return True
        i_am_smaller = self._reach.peer_id < connection.peer_id
        return connection.inbound != i_am_smaller

    async def _run(self, session: Session, exchange: Exchange, greeting: Greeting) -> None:
        log.info("%s is online over %s", self.contact.name, session.connection.remote_address)
        try:
            ext = greeting.result.ext
            life = decode_life(ext.get(LIFE))
            await exchange.run(session, greeting.result.have, ext.get(TOPS), life)
        finally:
            lasted = self._services.clock.monotonic_s() - session.opened_s >= STEADY_S
            self._unsteady = None if lasted else self._unsteady or Backoff()
            if self.session is session:
                self.session, self._exchange = None, None
                # The session has served whoever wanted the contact until now.
                self._wake.clear()
                self._over.set()
                self.last_error = session.cause
                log.info("%s is offline: %s", self.contact.name, session.cause)
                await self._note_offline()

    async def _note_offline(self) -> None:
        try:
            await self._services.store.write_lazily(
                contacts.touch, self.contact.id, self._services.clock.now_ms()
            )
        except StorageError as error:
            log.warning("cannot note when %s was here: %s", self.contact.name, error.message)
        self._services.events.presence(self.contact.id, "offline")

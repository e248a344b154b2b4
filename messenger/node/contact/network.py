"""The node's side of the network: the gate, inbound connections, outbound dials, and a Peer for each contact."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from peerpost.errors import PeerpostError, RemoteError, StorageError, UnavailableError
from peerpost.net.interface import Admission, Connection, ConnectionLostError, DialError, Transport
from peerpost.node.clock import now_ms
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.protocol.hello import HelloDeniedError, HelloRefusedError
from peerpost.store.tables import contacts, inbox, invites, outbox
from peerpost.store.tables.transfers import Transfer, of_contact
from peerpost.wire.address import dialable
from peerpost.wire.hello import Refusal, RefusalCode
from peerpost.wire.statement import Signed

from .addresses import reachable
from .dialling import DialPace
from .doorway import CONNECTIONS_PER_CONTACT, GREETINGS_PER_CONTACT, Doorway
from .handshake import Greeting, greet
from .meeting import Acquaintances, Meeting
from .peer import Peer
from .roster import Roster, peer_ids

if TYPE_CHECKING:
    import apsw

    from peerpost.node.files.transfers import Transfers
    from peerpost.node.me import Me
    from peerpost.node.services import Services

__all__ = ["DIAL_TIMEOUT_S", "NOT_TAKEN", "Network"]

log = logging.getLogger(__name__)

T = TypeVar("T")

DIAL_TIMEOUT_S = 10.0
"""All addresses of one contact, tried in parallel."""
GREETING_LIMIT = 64
"""Inbound HELLOs in progress at once, contacts and strangers together; the antechamber bounds strangers at 8."""
NOT_TAKEN = "whoever made the ticket does not take it"
EXPIRY_CHECK_S = 5.0
"""How often a pending contact's ticket is looked at."""


class Network:
    """Everything that is reachable, and the way to it."""

    def __init__(self, services: Services, me: Me, transfers: Transfers) -> None:
        self.services = services
        self.transfers = transfers
        self.ready = asyncio.Event()
        """Set once the transport listens."""
        self.unreachable: str | None = None
        """Why the transport serves nobody, while it is to be begun again."""
        self.dials = DialPace()
        self._me = me
        self._roster = Roster()
        self._transport: Transport | None = None
        self._greetings = asyncio.Semaphore(GREETING_LIMIT)
        self._greeted, self._connected = Doorway(), Doorway()
        self._tasks = Tasks()
        transfers.on_ended = self.poke

    @property
    def peers(self) -> dict[str, Peer]:
        """The contacts by id."""
        return self._roster.peers

    @property
    def peer_id(self) -> str:
        """Our peer id."""
        return self._me.peer_id

    @property
    def bound(self) -> Sequence[str]:
        """Multiaddrs that the transport listens on."""
        return () if self._transport is None else self._transport.addresses

    def where(self, contact: contacts.Contact) -> tuple[str, ...]:
        """Return the addresses at which a contact is dialled.

        A node that listens on this machine alone dials here too: its user wants it.
        """
        bound = list(dialable(self.bound))
        return contact.where(local=bool(bound) and all(address.is_local for address in bound))

    def name_of(self, contact_id: str) -> str | None:
        """Return what a contact is called, or was before it was removed."""
        return self._roster.name_of(contact_id)

    # -- life

    async def load(self) -> None:
        """Make a Peer of each contact in the store."""
        for contact in await self.services.store.read(contacts.list_all):
            self._roster.put(Peer(self, contact), contact)
        self._roster.former |= await self.services.store.read(contacts.former_names)

    def start(self, transport: Transport) -> None:
        """Serve a transport that listens, and begin to reach the contacts."""
        self._transport = transport
        self.ready.set()
        self._keep("accept", lambda: self._accept(transport))
        self._keep("expire-tickets", self._expire_tickets)
        self._keep("expire-messages", self._expire_messages)
        # Who was here last is the likeliest to be here now.
        seen = sorted(self.peers.values(), key=lambda peer: -(peer.contact.last_seen_ms or 0))
        for peer in seen:
            peer.start()

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.keep(name, work, self.services.duties)

    async def to_its_end(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Return what `work` comes to; it goes on where the caller is cancelled."""
        return await self._tasks.to_its_end(work, name=name)

    async def wait_ready(self, timeout_s: float) -> None:
        """Wait until the transport listens. Raises UnavailableError after timeout_s."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.ready.wait()
        except TimeoutError:
            raise UnavailableError("the node does not listen", hint="peerpost doctor") from None

    async def stop(self) -> None:
        """End every session and stop listening."""
        self.ready.clear()
        await self._tasks.stop()
        await asyncio.gather(*(peer.stop() for peer in self.peers.values()))
        if self._transport is not None:
            await self._transport.stop()

    def gate(self, peer_id: str) -> Admission:
        """Judge a peer id inside the Noise handshake."""
        claimants = list(self._roster.claimants(peer_id))
        if not claimants:
            return Admission.STRANGER
        welcome = [c for c in claimants if self.peers[c].contact.state != "blocked"]
        if not self._connected.has_room(welcome, CONNECTIONS_PER_CONTACT):
            return Admission.REFUSED
        return Admission.KNOWN

    # -- contacts

    def named(self, name: str) -> contacts.Contact | None:
        """Return the contact of exactly this name, or None."""
        return self._roster.named(name)

    async def find(self, text: str) -> contacts.Contact:
        """Return a contact by its exact name or id. Raises NotFoundError naming the near miss."""
        if (contact := self.named(text)) is not None:
            return contact
        return await self.services.store.read(contacts.find, text)

    def add(self, contact: contacts.Contact, *, coming: bool = False) -> Peer:
        """Begin to live with a contact that was stored just now, or take what has changed about one.

        One that is `coming`, over a connection of its own, is dialled only where that comes to nothing.
        """
        peer = self.update(contact)
        if peer is None:
            peer = Peer(self, contact, hurry=not coming, coming=coming)
            self._roster.put(peer, contact)
            if self._transport is not None:
                peer.start()
        return peer

    def update(self, contact: contacts.Contact) -> Peer | None:
        """Take what has changed about a contact; None where it was removed meanwhile, and stays so."""
        peer = self.peers.get(contact.id)
        if peer is not None:
            self._roster.put(peer, contact)
            if not contact.served:
                peer.cut(f"the contact is {contact.state}")
        return peer

    async def remove(self, contact_id: str) -> None:
        """Forget a contact, and end all that goes on with it before this returns.

        The store forgets it first: from then on no HELLO finds it, whatever is half open, and nothing is written of it
        any more. Then it is gone here, before anything else has a turn, and its session and its files with it.
        """
        files = await self.services.store.write(_remove, contact_id)
        peer = self._roster.pop(contact_id)
        if peer is not None:
            await peer.stop("the contact was removed")
        await self.transfers.forget(contact_id, files)

    def poke(self, contact_id: str) -> None:
        """Tell a contact's peer that its outbox changed."""
        peer = self.peers.get(contact_id)
        if peer is not None:
            peer.poke()

    def poke_soon(self, contact_id: str) -> None:
        """Tell a contact's peer, once what is queued for the store is in it, that its outbox may have changed."""

        async def later() -> None:
            await self.services.store.behind_what_is_queued()
            self.poke(contact_id)

        self._keep(f"poke-{contact_id}", later)

    def queued(self, entry: outbox.Entry) -> None:
        """Tell a contact's peer what was queued for it just now."""
        peer = self.peers.get(entry.contact_id)
        if peer is not None:
            peer.queued(entry)

    async def has_work(self, contact_id: str) -> bool:
        """Tell whether something waits for this contact, or from it."""
        waiting = await self.services.store.read(outbox.has_open, contact_id)
        return waiting or self.transfers.wants(contact_id) or self._is_pending(contact_id)

    def _is_pending(self, contact_id: str) -> bool:
        peer = self.peers.get(contact_id)
        return peer is not None and peer.contact.state == "pending"

    async def session_ended(self, peer: Peer) -> None:
        """Note when a contact was last here."""
        try:
            await self.services.store.write_lazily(contacts.touch, peer.contact.id, now_ms())
        except StorageError as error:
            log.warning("cannot note when %s was here: %s", peer.contact.name, error.message)
        self.services.events.publish("contact", peer.contact.id, "offline")

    async def _expire_tickets(self) -> None:
        while True:
            for peer in list(self.peers.values()):
                expires_s = peer.contact.ticket_expires_s
                if (
                    peer.contact.state == "pending"
                    and expires_s is not None
                    and expires_s * 1000 <= now_ms()
                ):
                    why = "the ticket expired before its maker could be reached"
                    await self.expire(peer.contact.id, why, now_ms())
            await asyncio.sleep(EXPIRY_CHECK_S)

    async def expire(self, contact_id: str, why: str, at_ms: int | None = None) -> None:
        """End the wait of a contact whose ticket came to nothing, if it still waits."""
        changed = await self.services.store.write(contacts.expire, contact_id, why, at_ms)
        if changed is not None and self.update(changed) is not None:
            self.services.events.publish("contact", changed.id, changed.state)

    async def _expire_messages(self) -> None:
        while True:
            for entry in await self.services.store.write(outbox.expire, now_ms()):
                self.services.events.publish("entry", entry.id, entry.state)
                self.poke(entry.contact_id)
                if entry.file_id is not None:
                    await self.transfers.cancel_outgoing(
                        entry.contact_id, entry.file_id, "not delivered in time"
                    )
            await asyncio.sleep(EXPIRY_CHECK_S)

    # -- outbound

    async def dial(self, peer: Peer) -> None:
        """Reach a contact and attach the session. Raises PeerpostError with the cause."""
        transport = self._transport
        if transport is None:
            raise DialError("the node is not listening yet")
        contact = peer.contact
        connection = await self._dial_any(transport, contact)
        try:
            await self._announce(transport)
            meeting = Meeting(self, await self._whom(contact))
            greeting = await self._prove(connection, meeting)
            await self._attach(connection, greeting, meeting.peer)
        except (HelloDeniedError, StorageError):
            # Not dropped: why is still on its way.
            await connection.close()
            raise
        except BaseException:
            connection.abort()
            raise

    async def refused(self, peer: Peer, error: HelloRefusedError) -> None:
        """Do what can be done about a contact that does not serve us."""
        refusal = error.refusal
        if error.is_final and peer.contact.state == "pending":
            said = (
                refusal.reason
                if refusal is not None and refusal.reason
                else "it was used, or is no longer good"
            )
            peer.last_error = f"{NOT_TAKEN}: {said}"
            await self.expire(peer.contact.id, peer.last_error)
        elif refusal is not None and refusal.code == RefusalCode.ROLLBACK:
            log.info("%s has a newer key statement of ours", peer.contact.name)
            if await self._overtake(refusal):
                peer.dial_now()
        elif refusal is not None and refusal.code == RefusalCode.EQUIVOCATION:
            log.info("%s has to verify us: %s", peer.contact.name, error.message)

    async def _overtake(self, refusal: Refusal) -> bool:
        if refusal.statement is None or refusal.statement_sig is None:
            return False
        kept = Signed(body=refusal.statement, sig=refusal.statement_sig)
        return await self._me.overtake(self.services.store, kept)

    async def _dial_any(self, transport: Transport, contact: contacts.Contact) -> Connection:
        errors: list[str] = []
        for peer_id in peer_ids(contact):
            try:
                return await transport.dial(peer_id, self.where(contact), timeout_s=DIAL_TIMEOUT_S)
            except (DialError, ConnectionLostError) as error:
                errors.append(error.message)
        raise DialError("; ".join(errors) or f"no transport key of {contact.name} is known")

    # -- inbound

    async def _announce(self, transport: Transport) -> None:
        # A laptop answers elsewhere once its network is another one.
        where = reachable(transport.addresses, self.services.config.network.announce)
        await self._me.announce(self.services.store, where)

    async def _accept(self, transport: Transport) -> None:
        try:
            # Before anybody is answered: of two HELLOs at once one would show an older statement than the other.
            await self._announce(transport)
        except StorageError as error:
            log.warning("cannot keep a key statement: %s", error.message)
        while True:
            try:
                connection = await transport.accept()
            except ConnectionLostError as error:
                # A listener that has failed answers nobody any more: listen anew, and have the failure shown.
                self.unreachable = self.unreachable or error.message
                await transport.stop()
                await transport.start()
                self.unreachable = None
                for peer in list(self.peers.values()):
                    peer.dial_now()  # The session with each ended with it, for no fault of theirs.
                raise
            self._tasks.spawn(
                self._receive(connection),
                name="receive",
                on_failure=EndsOwner(functools.partial(_drop, connection)),
            )

    async def _receive(self, connection: Connection) -> None:
        claimants = list(self._roster.claimants(connection.peer_id))
        with self._connected.counted(claimants):
            if claimants and not self._greeted.has_room(claimants, GREETINGS_PER_CONTACT):
                log.info("turned away %s: too many connections at once", connection.remote_address)
                connection.abort()
                return
            await self._greet(connection, claimants)
            await connection.wait_closed()

    async def _greet(self, connection: Connection, claimants: Sequence[str]) -> None:
        meeting = Meeting(self, await self._anybody())
        try:
            with self._greeted.counted(claimants):
                async with self._greetings:
                    greeting = await self._prove(connection, meeting)
                    connection.admit()
                    await self._attach(connection, greeting, meeting.peer)
        except HelloRefusedError as error:
            peer = meeting.peer
            log.info("%s does not go on: %s", peer.contact.name, error.message)
            peer.last_error = error.message
            connection.abort()
            await self._heed_refusal(peer, error)
        except (RemoteError, ConnectionLostError) as error:
            log.info("turned away %s: %s", connection.remote_address, error.message)
            # Not dropped: the refusal is still on its way, and a guest should hear it.
            await connection.close()
        except PeerpostError as error:
            log.warning("cannot serve %s: %s", connection.remote_address, error.message)
            await connection.close()
        except BaseException:
            connection.abort()
            raise

    async def _prove(self, connection: Connection, meeting: Meeting) -> Greeting:
        return await greet(
            connection,
            me=self._me.party,
            my_encryption=self._me.encryption,
            policy=meeting.policy,
            decide=meeting.decide,
        )

    async def _heed_refusal(self, peer: Peer, error: HelloRefusedError) -> None:
        try:
            await self.refused(peer, error)
        except StorageError as failure:
            log.warning("cannot note that %s refused: %s", peer.contact.name, failure.message)

    async def _attach(self, connection: Connection, greeting: Greeting, peer: Peer) -> None:
        if await peer.attach(connection, greeting):
            self.services.events.publish("contact", peer.contact.id, "online")

    # -- whom HELLO may serve

    async def _anybody(self) -> Acquaintances:
        invitations = await self.services.store.read(invites.secrets, now_ms())
        return Acquaintances(knows=self._roster.knows, invitations=invitations)

    async def _whom(self, contact: contacts.Contact) -> Acquaintances:
        marks = await self.services.store.read(inbox.watermarks, contact.id)
        return Acquaintances(
            knows=self._roster.knows, invitations={}, marks=marks, expected=contact
        )


def _drop(connection: Connection, _error: BaseException) -> None:
    connection.abort()


def _remove(db: apsw.Connection, contact_id: str) -> list[Transfer]:
    files = of_contact(db, contact_id)
    contacts.remove(db, contact_id)
    return files

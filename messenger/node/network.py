"""The node's side of the network: the gate, inbound connections, outbound dials, and a Peer for each contact."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from peerpost.crypto import keys as crypto_keys
from peerpost.errors import (
    PeerpostError,
    RemoteError,
    StorageError,
    TicketError,
    UnavailableError,
    UntrustedError,
)
from peerpost.net.interface import Admission, Connection, ConnectionLostError, DialError, Transport
from peerpost.protocol.hello import HelloResult, Watermark
from peerpost.store import contacts, inbox, invites, outbox

from .addresses import reachable
from .clock import now_ms
from .dialling import DialPace
from .handshake import Greeting, greet
from .meeting import Acquaintances
from .peer import Peer
from .tasks import Tasks

if TYPE_CHECKING:
    from .me import Me
    from .services import Services
    from .transfers import Transfers

__all__ = ["DIAL_TIMEOUT_S", "Network"]

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S = 10.0
"""All addresses of one contact, tried in parallel."""
GREETING_LIMIT = 64
"""Inbound HELLOs in progress at once, contacts and strangers together; the antechamber bounds strangers at 8."""
EXPIRY_CHECK_S = 5.0
"""How often a pending contact's ticket is looked at."""


class Network:
    """Everything that is reachable, and the way to it."""

    def __init__(self, services: Services, me: Me, transfers: Transfers) -> None:
        self.services = services
        self.transfers = transfers
        self.peers: dict[str, Peer] = {}
        self.ready = asyncio.Event()
        """Set once the transport listens."""
        self.dials = DialPace()
        self._me = me
        self._by_peer_id: dict[str, str] = {}
        self._transport: Transport | None = None
        self._greetings = asyncio.Semaphore(GREETING_LIMIT)
        self._tasks = Tasks()
        transfers.on_ended = self.poke

    @property
    def peer_id(self) -> str:
        """Our peer id."""
        return self._me.peer_id

    @property
    def bound(self) -> Sequence[str]:
        """Multiaddrs that the transport listens on."""
        return () if self._transport is None else self._transport.addresses

    # -- life

    async def load(self) -> None:
        """Make a Peer of each contact in the store."""
        for contact in await self.services.store.read(contacts.list_all):
            self._index(Peer(self, contact))

    def start(self, transport: Transport) -> None:
        """Serve a transport that listens, and begin to reach the contacts."""
        self._transport = transport
        self.ready.set()
        self._tasks.spawn(self._accept(transport), name="accept")
        self._tasks.spawn(self._expire_tickets(), name="expire-tickets")
        self._tasks.spawn(self._expire_messages(), name="expire-messages")
        # Who was here last is the likeliest to be here now.
        seen = sorted(self.peers.values(), key=lambda peer: -(peer.contact.last_seen_ms or 0))
        for peer in seen:
            peer.start()

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
        contact_id = self._by_peer_id.get(peer_id)
        if contact_id is None:
            return Admission.STRANGER
        if self.peers[contact_id].contact.state == "blocked":
            return Admission.REFUSED
        return Admission.KNOWN

    # -- contacts

    def _index(self, peer: Peer) -> None:
        self.peers[peer.contact.id] = peer
        for peer_id in self._peer_ids(peer.contact):
            self._by_peer_id[peer_id] = peer.contact.id

    @staticmethod
    def _peer_ids(contact: contacts.Contact) -> list[str]:
        return [crypto_keys.peer_id(public) for public in contact.transport_publics]

    def named(self, name: str) -> contacts.Contact | None:
        """Return the contact of exactly this name, or None."""
        for peer in self.peers.values():
            if peer.contact.name == name:
                return peer.contact
        return None

    async def find(self, text: str) -> contacts.Contact:
        """Return a contact by its exact name or id. Raises NotFoundError naming the near miss."""
        if (contact := self.named(text)) is not None:
            return contact
        return await self.services.store.read(contacts.find, text)

    def add(self, contact: contacts.Contact) -> Peer:
        """Begin to live with a new contact, or with a changed one."""
        peer = self.peers.get(contact.id)
        if peer is None:
            peer = Peer(self, contact, hurry=True)
            self._index(peer)
            if self._transport is not None:
                peer.start()
        else:
            peer.contact = contact
            self._index(peer)
        return peer

    async def remove(self, contact_id: str) -> None:
        """Forget a contact: its session ends, its keys open nothing any more."""
        peer = self.peers.pop(contact_id, None)
        if peer is not None:
            for peer_id in [p for p, c in self._by_peer_id.items() if c == contact_id]:
                del self._by_peer_id[peer_id]
            await peer.stop()

    def poke(self, contact_id: str) -> None:
        """Tell a contact's peer that its outbox changed."""
        peer = self.peers.get(contact_id)
        if peer is not None:
            peer.poke()

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
                    changed = await self.services.store.write(
                        contacts.set_state, peer.contact.id, "expired"
                    )
                    self.add(changed)
                    peer.last_error = "the ticket expired before its maker could be reached"
                    self.services.events.publish("contact", changed.id, "expired")
            await asyncio.sleep(EXPIRY_CHECK_S)

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
            # A laptop answers elsewhere once its network is another one.
            where = reachable(transport.addresses, self.services.config.network.announce)
            await self._me.announce(self.services.store, where)
            policy = await self._policy(contact, dialling=True)
            greeting = await greet(
                connection, me=self._me.party, my_encryption=self._me.encryption, policy=policy
            )
            await self._welcome(connection, greeting, peer)
        except BaseException:
            connection.abort()
            raise

    async def _dial_any(self, transport: Transport, contact: contacts.Contact) -> Connection:
        errors: list[str] = []
        for peer_id in self._peer_ids(contact):
            try:
                return await transport.dial(peer_id, contact.addresses, timeout_s=DIAL_TIMEOUT_S)
            except (DialError, ConnectionLostError) as error:
                errors.append(error.message)
        raise DialError("; ".join(errors) or f"no transport key of {contact.name} is known")

    # -- inbound

    async def _accept(self, transport: Transport) -> None:
        while True:
            connection = await transport.accept()
            self._tasks.spawn(self._receive(connection), name="receive")

    async def _receive(self, connection: Connection) -> None:
        try:
            async with self._greetings:
                contact_id = self._by_peer_id.get(connection.peer_id)
                guest = self.peers[contact_id].contact if contact_id is not None else None
                policy = await self._policy(guest, dialling=False)
                greeting = await greet(
                    connection, me=self._me.party, my_encryption=self._me.encryption, policy=policy
                )
                peer = await self._resolve(greeting.result)
                connection.admit()
                await self._welcome(connection, greeting, peer)
        except (RemoteError, ConnectionLostError, TicketError) as error:
            log.info("turned away %s: %s", connection.remote_address, error.message)
            # Not dropped: the refusal is still on its way, and a guest should hear it.
            await connection.close()
        except PeerpostError as error:
            log.warning("cannot serve %s: %s", connection.remote_address, error.message)
            connection.abort()
        except BaseException:
            connection.abort()
            raise

    async def _resolve(self, result: HelloResult) -> Peer:
        """Find the contact who proved itself, or make the one whose invitation was redeemed."""
        if result.invite_id is not None:
            contact = await self.services.store.write(
                invites.redeem, result.invite_id, result.id_public, now_ms()
            )
            log.info("%s accepted the invitation", contact.name)
            self.services.events.publish("contact", contact.id, contact.state)
            return self.add(contact)
        known = await self.services.store.read(contacts.by_public, result.id_public)
        if known is None:
            raise UntrustedError("an unknown identity")
        return self.peers.get(known.id) or self.add(known)

    # -- both

    async def _policy(self, contact: contacts.Contact | None, *, dialling: bool) -> Acquaintances:
        """Look up all that HELLO may ask. `contact` is who the other end should be."""
        store = self.services.store
        have: dict[bytes, list[Watermark]] = {}
        tops: dict[bytes, list[tuple[int, bytes]]] = {}
        if contact is not None:
            marks = await store.read(inbox.watermarks, contact.id)
            have[contact.id_public] = [(m.outbox_id, m.lane, m.watermark) for m in marks]
            tops[contact.id_public] = [(m.top, m.top_link) for m in marks]
        known = frozenset(
            peer.contact.id_public
            for peer in self.peers.values()
            if peer.contact.state != "blocked"
        )
        if not dialling or contact is None:
            invitations = await store.read(invites.secrets, now_ms())
            return Acquaintances(known=known, invitations=invitations, have=have, tops=tops)
        return Acquaintances(
            known=known,
            invitations={},
            have=have,
            tops=tops,
            expected_id=contact.id_public,
            ticket_secret=contact.ticket_secret if contact.state == "pending" else None,
            ticket_transport=contact.transport_publics[0] if contact.transport_publics else None,
        )

    async def _welcome(self, connection: Connection, greeting: Greeting, peer: Peer) -> None:
        contact = await self.services.store.write(
            contacts.met, peer.contact.id, greeting.result.signed, now_ms()
        )
        if contact.state == "blocked":
            raise UntrustedError("a blocked contact")
        first_time = peer.contact.state != contact.state
        self.add(contact)
        if await peer.attach(connection, greeting):
            self.services.events.publish("contact", contact.id, "online")
        if first_time:
            self.services.events.publish("contact", contact.id, contact.state)

"""The node's side of the network: the gate, inbound connections, outbound dials, and a Peer for each contact."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from peerpost.errors import PeerpostError, RemoteError, StorageError, UnavailableError
from peerpost.net.interface import Admission, Connection, ConnectionLostError, Transport
from peerpost.node.logs import Reason
from peerpost.node.tasks import EndsOwner, Tasks
from peerpost.protocol.hello import HelloRefusedError
from peerpost.store.tables import contacts, forgetting, former, invites, outbox
from peerpost.store.tables.transfers import Transfer, of_contact

from .doorway import CONNECTIONS_PER_CONTACT, GREETINGS_PER_CONTACT, Doorway
from .meeting import Acquaintances
from .peer import Peer
from .reach import Reach
from .roster import Roster
from .tickets import EXPIRY_CHECK_S, expire_tickets

if TYPE_CHECKING:
    import apsw

    from peerpost.node.files.transfers import Transfers
    from peerpost.node.me import Me
    from peerpost.node.services import Services

__all__ = ["Network"]

log = logging.getLogger(__name__)

T = TypeVar("T")

GREETING_LIMIT = 64
"""Inbound HELLOs in progress at once, contacts and strangers together; the antechamber bounds strangers at 8."""


class Network:
    """The contacts, and the connections to them."""

    def __init__(self, services: Services, me: Me, transfers: Transfers) -> None:
        self.services = services
        self.transfers = transfers
        self.ready = asyncio.Event()
        """Set once the transport listens."""
        self.unreachable: str | None = None
        """Why the transport serves nobody, while it is to be begun again."""
        self._roster = Roster()
        self.reach = Reach(services, me, self, knows=self._roster.knows)
        self._greetings = asyncio.Semaphore(GREETING_LIMIT)
        self._greeted, self._connected = Doorway(), Doorway()
        self._tasks = Tasks()
        transfers.on_ended = self.poke

    @property
    def peers(self) -> dict[str, Peer]:
        """The contacts by id."""
        return self._roster.peers

    def name_of(self, contact_id: str) -> str | None:
        """Return the name of a contact, or the name that it had before it was removed."""
        return self._roster.name_of(contact_id)

    def remember_former(self, names: dict[str, str]) -> None:
        """Take the names of those who are no contacts and whose messages were imported, by id."""
        self._roster.former |= names

    # -- life

    async def load(self) -> None:
        """Make a Peer of each contact in the store."""
        for contact in await self.services.store.read(contacts.list_all):
            self._roster.put(self._peer(contact), contact)
        self._roster.former |= await self.services.store.read(former.names)

    def _peer(
        self, contact: contacts.Contact, *, coming: bool = False, hurry: bool = False
    ) -> Peer:
        return Peer(
            self.services,
            self.transfers,
            self.reach,
            self,
            contact,
            hurry=hurry,
            coming=coming,
        )

    def start(self, transport: Transport) -> None:
        """Serve a transport that listens, and begin to reach the contacts."""
        self.reach.transport = transport
        self.ready.set()
        self._keep("accept", lambda: self._accept(transport))
        self._keep("expire-tickets", lambda: expire_tickets(self.services, self, self.peers))
        self._keep("expire-messages", self._expire_messages)
        # The contact that was online last is the most likely to be online now.
        seen = sorted(self.peers.values(), key=lambda peer: -(peer.contact.last_seen_ms or 0))
        for peer in seen:
            peer.start()

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks.keep(name, work, self.services.duties)

    async def to_its_end(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Return the result of `work`, which goes on even if the caller is cancelled."""
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
        if self.reach.transport is not None:
            await self.reach.transport.stop()

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

    def kept(self, contact_id: str) -> Peer | None:
        """Return the contact with this id, or None."""
        return self.peers.get(contact_id)

    async def find(self, text: str) -> contacts.Contact:
        """Return a contact by its exact name or id. Raises NotFoundError naming the near miss."""
        if (contact := self.named(text)) is not None:
            return contact
        return await self.services.store.read(contacts.find, text)

    def add(self, contact: contacts.Contact, *, coming: bool = False) -> Peer:
        """Begin to serve a contact that was stored just now, or take what has changed about one.

        A contact that is `coming` over a connection of its own is dialled only if that connection fails.
        """
        peer = self.update(contact)
        if peer is None:
            peer = self._peer(contact, hurry=not coming, coming=coming)
            self._roster.put(peer, contact)
            if self.reach.transport is not None:
                peer.start()
        return peer

    def update(self, contact: contacts.Contact) -> Peer | None:
        """Take what has changed about a contact; return None if it was removed meanwhile, and leave it so."""
        peer = self.peers.get(contact.id)
        if peer is not None:
            self._roster.put(peer, contact)
            if not contact.served:
                peer.cut(f"the contact is {contact.state}")
        return peer

    async def remove(self, contact_id: str) -> None:
        """Forget a contact, and end everything that runs for it before this returns.

        The store forgets it first: from then on no HELLO finds it, even one that is half done, and nothing more is
        written about it. Then it is removed here, with its session and its files, in the same turn of the loop.
        """
        files = await self.services.store.write(_remove, contact_id)
        peer = self._roster.pop(contact_id)
        if peer is not None:
            await peer.stop("the contact was removed")
        await self.transfers.forget(contact_id, files)

    async def forget(self, contact_id: str) -> None:
        """Forget the history with a contact that was removed, with all that it sent until now. Raises ExistsError."""
        await self.transfers.arrived.delete_older(
            self.services.clock.now_ms() + 1, contact_id, None
        )
        begun = False
        while await self.services.store.write(forgetting.forget, contact_id, begun=begun):
            begun = True
        self._roster.forget(contact_id)

    def poke(self, contact_id: str) -> None:
        """Tell a contact's peer that its outbox changed."""
        peer = self.peers.get(contact_id)
        if peer is not None:
            peer.poke()

    def poke_soon(self, contact_id: str) -> None:
        """Tell a contact's peer that its outbox may have changed, after the pending writes of the store."""

        async def later() -> None:
            await self.services.store.behind_what_is_queued()
            self.poke(contact_id)

        self._keep(f"poke-{contact_id}", later)

    def queued(self, entry: outbox.Entry) -> None:
        """Tell a contact's peer what was queued for it just now."""
        peer = self.peers.get(entry.contact_id)
        if peer is not None:
            peer.queued(entry)

    async def _expire_messages(self) -> None:
        while True:
            for entry in await self.services.store.write(
                outbox.expire, self.services.clock.now_ms()
            ):
                self.poke(entry.contact_id)
                if entry.file_id is not None:
                    await self.transfers.cancel_outgoing(
                        entry.contact_id, entry.file_id, "not delivered in time"
                    )
            await asyncio.sleep(EXPIRY_CHECK_S)

    # -- inbound

    async def _accept(self, transport: Transport) -> None:
        try:
            # Before anybody is answered: of two HELLOs at once one would show an older statement than the other.
            await self.reach.announce()
        except StorageError as error:
            log.warning("cannot keep a key statement: %s", error.message)
        while True:
            try:
                connection = await transport.accept()
            except ConnectionLostError as error:
                # After a failure the listener answers nobody any more. Raise, so that it is shown and listening begins
                # again.
                self.unreachable = self.unreachable or error.message
                await transport.stop()
                await transport.start()
                self.unreachable = None
                for peer in list(self.peers.values()):
                    peer.dial_now()  # All sessions ended with the transport; the contacts themselves are well.
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
        meeting = self.reach.meeting(await self._anybody())
        try:
            with self._greeted.counted(claimants):
                async with self._greetings:
                    greeting = await self.reach.prove(connection, meeting)
                    connection.admit()
                    await meeting.peer.attach(connection, greeting)
        except HelloRefusedError as error:
            connection.abort()
            await meeting.peer.left_at_the_door(error)
        except (RemoteError, ConnectionLostError) as error:
            # The kind of the error names nobody, so that a log in a protected home may have it.
            kind = Reason(type(error).code)
            log.info("turned away %s (%s): %s", connection.remote_address, kind, error.message)
            # The connection is closed, not aborted: the refusal is still being sent, and a guest should get it.
            await connection.close()
        except PeerpostError as error:
            log.warning("cannot serve %s: %s", connection.remote_address, error.message)
            await connection.close()
        except BaseException:
            connection.abort()
            raise

    # -- whom HELLO may serve

    async def _anybody(self) -> Acquaintances:
        invitations = await self.services.store.read(invites.secrets, self.services.clock.now_ms())
        return Acquaintances(knows=self._roster.knows, invitations=invitations)


def _drop(connection: Connection, _error: BaseException) -> None:
    connection.abort()


def _remove(db: apsw.Connection, contact_id: str) -> list[Transfer]:
    files = of_contact(db, contact_id)
    contacts.remove(db, contact_id)
    return files

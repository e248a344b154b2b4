"""How a contact is reached: where it is dialled, and the HELLO that proves who is who, on either side.

`Reach` takes a contact and returns a connection with the result of HELLO. The caller decides what to do with it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from peerpost.crypto import keys as crypto_keys
from peerpost.errors import StorageError
from peerpost.net.interface import Connection, ConnectionLostError, DialError, Transport
from peerpost.protocol.hello import HelloDeniedError
from peerpost.wire.address import dialable
from peerpost.wire.statement import Signed

from .addresses import reachable
from .dialling import DialPace
from .handshake import Greeting, greet
from .meeting import Acquaintances, Book, Meeting, known_of

if TYPE_CHECKING:
    from peerpost.node.me import Me
    from peerpost.node.services import Services
    from peerpost.store.tables.contacts import Contact
    from peerpost.wire.hello import Refusal

__all__ = ["DIAL_TIMEOUT_S", "Reach", "closed_where_it_fails", "peer_ids"]

log = logging.getLogger(__name__)

DIAL_TIMEOUT_S = 10.0
"""All addresses of one contact, tried in parallel."""


def peer_ids(contact: Contact) -> list[str]:
    """Return the peer ids under which a contact may answer now, the current one first; former ones are not valid."""
    return [crypto_keys.peer_id(public) for public in contact.transport_publics]


class Reach:
    """Dials contacts over the current transport, if there is one."""

    def __init__(
        self, services: Services, me: Me, book: Book, *, knows: Callable[[bytes], bool]
    ) -> None:
        """Take our identity, the book of contacts, and a check which identities HELLO may serve."""
        self.transport: Transport | None = None
        """The transport, once it listens."""
        self.dials = DialPace(clock=services.clock)
        self._services = services
        self._me = me
        self._book = book
        self._knows = knows

    @property
    def peer_id(self) -> str:
        """Our peer id."""
        return self._me.peer_id

    @property
    def bound(self) -> Sequence[str]:
        """Multiaddrs that the transport listens on."""
        return () if self.transport is None else self.transport.addresses

    def where(self, contact: Contact) -> tuple[str, ...]:
        """Return the addresses at which a contact is dialled.

        A node that listens only on this machine also dials contacts on this machine, because its user wants that.
        """
        bound = list(dialable(self.bound))
        return contact.where(local=bool(bound) and all(address.is_local for address in bound))

    async def announce(self) -> None:
        """Sign a new key statement if we listen at other addresses than the last one says. Raises StorageError."""
        # A laptop has another address after it has changed its network.
        where = reachable(self.bound, self._services.config.network.announce)
        await self._me.announce(self._services.store, where)

    async def overtake(self, refusal: Refusal) -> bool:
        """Sign a statement newer than one of ours that a refusal shows; return whether there is a new one to show."""
        if refusal.statement is None or refusal.statement_sig is None:
            return False
        kept = Signed(body=refusal.statement, sig=refusal.statement_sig)
        return await self._me.overtake(self._services.store, kept)

    def overtakes_in_s(self) -> float:
        """Return how long it takes until a statement of ours may be overtaken again, in seconds."""
        return self._me.overtakes_in_s()

    async def dial(self, contact: Contact) -> tuple[Connection, Greeting]:
        """Dial a contact; return the connection and the result of HELLO. Raises PeerpostError with the cause."""
        transport = self.transport
        if transport is None:
            raise DialError("the node is not listening yet")
        connection = await self._dial_any(transport, contact)
        async with closed_where_it_fails(connection):
            await self.announce()
            meeting = self.meeting(await self.whom(contact))
            return connection, await self.prove(connection, meeting)

    async def _dial_any(self, transport: Transport, contact: Contact) -> Connection:
        errors: list[str] = []
        for peer_id in peer_ids(contact):
            try:
                return await transport.dial(peer_id, self.where(contact), timeout_s=DIAL_TIMEOUT_S)
            except (DialError, ConnectionLostError) as error:
                errors.append(error.message)
        raise DialError("; ".join(errors) or f"no transport key of {contact.name} is known")

    def meeting(self, policy: Acquaintances) -> Meeting:
        """Return the Meeting that decides, under a policy, about whoever is at the other end."""
        return Meeting(self._services, self._book, policy, self._me.run)

    async def prove(self, connection: Connection, meeting: Meeting) -> Greeting:
        """Run HELLO on a connection. Raises what `greet` raises."""
        return await greet(
            connection,
            me=self._me.party,
            my_encryption=self._me.encryption,
            policy=meeting.policy,
            decide=meeting.decide,
        )

    async def whom(self, contact: Contact) -> Acquaintances:
        """Return the policy of a dialer's HELLO: it serves only the contact that it dials."""
        known = await self._services.store.read(known_of, contact.id)
        policy = Acquaintances(knows=self._knows, invitations={}, expected=contact)
        policy.look_up(known, self._me.run)
        return policy


@asynccontextmanager
async def closed_where_it_fails(connection: Connection) -> AsyncIterator[None]:
    """End a connection if the body of the with block fails."""
    try:
        yield
    except (HelloDeniedError, StorageError):
        # Closed, not aborted, because the reason is still being sent.
        await connection.close()
        raise
    except BaseException:
        connection.abort()
        raise

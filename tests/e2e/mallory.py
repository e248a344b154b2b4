"""Mallory: a contact with keys of its own and no node, who proves herself as she should and then
says whatever a test wants."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import Any, Self

from peerpost.crypto import statement as statements
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair, peer_id
from peerpost.net.interface import Admission, Connection, Stream
from peerpost.net.tcp.transport import LibP2PTransport
from peerpost.node.contact.handshake import Greeting, greet, open_lanes
from peerpost.node.listening import PROTOCOLS
from peerpost.node.session.rates import RateLimits
from peerpost.node.session.session import Session
from peerpost.protocol.hello import HelloPolicy, HelloResult, LocalParty, Watermark
from peerpost.wire import inner as wire
from peerpost.wire.statement import KeyStatement, TransportKey, encode_statement
from peerpost.wire.ticket import Ticket
from tests.support.hostile_sender import HostilePeer, HostileSender

__all__ = ["Mallory"]


class Mallory:
    """Joins by a ticket, and comes back as often as she likes."""

    def __init__(self, ticket: str) -> None:
        self._ticket = Ticket.decode(ticket)
        self._encryption = X25519KeyPair.from_seed(secrets.token_bytes(32))
        seed = secrets.token_bytes(32)
        self._transport = LibP2PTransport(seed, [], lambda _: Admission.REFUSED, PROTOCOLS)
        identity = Ed25519KeyPair.from_seed(secrets.token_bytes(32))
        transport = TransportKey(
            public=Ed25519KeyPair.from_seed(seed).public, not_after_s=0, addresses=()
        )
        statement = KeyStatement(
            id_public=identity.public,
            seq=1,
            prev=bytes(32),
            ik=self._encryption.public,
            tk=(transport,),
            created_s=int(time.time()),
        )
        self._party = LocalParty(
            identity=identity,
            statement=statements.sign(encode_statement(statement), identity),
            transport_public=transport.public,
        )
        self._outbox_id = secrets.token_bytes(16)
        self._link = wire.FIRST_LINK
        self._seq = 0
        self._joined = False

    async def __aenter__(self) -> Self:
        await self._transport.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._transport.stop()

    async def hello(self) -> tuple[Connection, Greeting]:
        """Dial and prove herself."""
        ticket = self._ticket
        connection = await self._transport.dial(
            peer_id(ticket.transport_public), ticket.addresses, timeout_s=30
        )
        policy = HelloPolicy()
        policy.expected_id = ticket.id_public
        policy.ticket_secret = None if self._joined else ticket.secret
        policy.ticket_transport = ticket.transport_public

        async def decide(_result: HelloResult) -> Sequence[Watermark]:
            return ()

        greeting = await greet(
            connection,
            me=self._party,
            my_encryption=self._encryption,
            policy=policy,
            decide=decide,
        )
        self._joined = True
        return connection, greeting

    async def lanes(self) -> tuple[Connection, dict[wire.Lane, Stream]]:
        """Get as far as the two lanes."""
        connection, greeting = await self.hello()
        return connection, await open_lanes(connection, greeting)

    async def session(self, peer: HostilePeer) -> tuple[Session, asyncio.Task[None]]:
        """Begin a session in which `peer` answers; the task runs it."""
        connection, greeting = await self.hello()
        session = Session(
            connection=connection,
            streams=await open_lanes(connection, greeting),
            keys=greeting.keys,
            buckets=None,
            receiver=peer,
            traffic=RateLimits().traffic("bob"),
        )
        return session, asyncio.get_running_loop().create_task(session.run())

    def offer(self, sender: HostileSender, name: str) -> bytes:
        """Return the next message of her outbox, which offers a file."""
        self._seq += 1
        message = wire.Message(
            kind=wire.Kind.OFFER,
            outbox_id=self._outbox_id,
            lane=wire.Lane.BULK,
            seq=self._seq,
            prev=self._link,
            sent_at_ms=0,
            body=wire.encode_offer(sender.offer(name)),
        )
        raw: Any = wire.encode(message)
        self._link = wire.link(raw, message)
        return bytes(raw)

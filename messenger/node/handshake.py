"""Turn a connection into a session: HELLO on its own stream, then the lanes.

The dialer opens the streams and proves itself first; what each side may learn of the other before that is
protocol.hello's business. This file moves the bytes and keeps the time.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from peerpost.crypto import keys as crypto_keys
from peerpost.errors import ProtocolError, RemoteError
from peerpost.net.interface import Connection, Stream
from peerpost.protocol.hello import Hello, HelloResult, LocalParty, Policy, Role
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.frame import FrameReader, frame

from .keys import Keys
from .session import BULK_PROTOCOL, HELLO_PROTOCOL, LANE_PROTOCOLS, URGENT_PROTOCOL

__all__ = ["HELLO_TIMEOUT_S", "Greeting", "greet", "open_lanes"]

HELLO_TIMEOUT_S = 5.0
"""Both flights: a stranger may hold a place of the antechamber no longer (DESIGN section 3)."""
LANES_TIMEOUT_S = 10.0
"""From HELLO to the two lane streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A HELLO that succeeded."""

    result: HelloResult
    keys: Keys


async def greet(
    connection: Connection,
    *,
    me: LocalParty,
    my_encryption: crypto_keys.X25519KeyPair,
    policy: Policy,
) -> Greeting:
    """Run HELLO over a fresh connection, in the role its direction gives.

    Raises ProtocolError, UntrustedError (the peer's fault), ConnectionLostError, or ProtocolError
    when the peer takes longer than `HELLO_TIMEOUT_S`.
    """
    epk = crypto_keys.X25519KeyPair.from_seed(secrets.token_bytes(32))
    hello = Hello(
        role=Role.RESPONDER if connection.inbound else Role.DIALER,
        me=me,
        peer_transport_public=crypto_keys.transport_public(connection.peer_id),
        nonce=secrets.token_bytes(32),
        epk=epk,
        policy=policy,
    )
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            stream = await _hello_stream(connection)
            result = await _flights(stream, hello)
    except TimeoutError:
        raise ProtocolError("the peer did not finish HELLO in time") from None
    await stream.close()
    keys = Keys(
        my_id=me.id_public,
        my_encryption=my_encryption,
        my_epk=epk,
        my_epk_id=crypto_keys.prekey_id(epk.public),
        peer_id_public=result.id_public,
        peer_encryption_public=result.statement.ik,
        peer_epk_id=result.epk_id,
        peer_epk_public=result.epk,
    )
    return Greeting(result=result, keys=keys)


async def _hello_stream(connection: Connection) -> Stream:
    if not connection.inbound:
        return await connection.open_stream(HELLO_PROTOCOL, timeout_s=HELLO_TIMEOUT_S)
    stream = await connection.accept_stream()
    if stream.protocol != HELLO_PROTOCOL:
        raise ProtocolError("the first stream is not HELLO")
    return stream


async def _flights(stream: Stream, hello: Hello) -> HelloResult:
    frames = FrameReader(limits.MAX_HELLO_BYTES)
    opening = hello.start()
    if opening:
        await stream.write(frame(opening))
    while hello.done is None:
        data = await stream.read(limits.MAX_HELLO_BYTES)
        if not data:
            raise ProtocolError("the peer ended HELLO early")
        for payload in frames.feed(data):
            await _answer(stream, hello, bytes(payload))
    return hello.done


async def _answer(stream: Stream, hello: Hello, payload: bytes) -> None:
    try:
        reply = hello.receive(payload)
    except RemoteError:
        if hello.farewell:
            await stream.write(frame(hello.farewell))
            await stream.close()
        raise
    if reply:
        await stream.write(frame(reply))


async def open_lanes(connection: Connection) -> dict[wire.Lane, Stream]:
    """Open the lane streams as the dialer, or accept them as the responder.

    Raises ProtocolError, ConnectionLostError.
    """
    try:
        async with asyncio.timeout(LANES_TIMEOUT_S):
            if not connection.inbound:
                return {
                    lane: await connection.open_stream(protocol, timeout_s=LANES_TIMEOUT_S)
                    for lane, protocol in LANE_PROTOCOLS.items()
                }
            streams: dict[str, Stream] = {}
            while len(streams) < len(LANE_PROTOCOLS):
                stream = await connection.accept_stream()
                if stream.protocol in streams or stream.protocol == HELLO_PROTOCOL:
                    raise ProtocolError("a lane was opened twice")
                streams[stream.protocol] = stream
            return {
                wire.Lane.URGENT: streams[URGENT_PROTOCOL],
                wire.Lane.BULK: streams[BULK_PROTOCOL],
            }
    except TimeoutError:
        raise ProtocolError("the peer did not open its lanes in time") from None

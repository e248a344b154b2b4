"""Turn a connection into a session: HELLO on its own stream, then the lanes.

The dialer opens the streams and proves itself first. protocol.hello decides what each side may learn before that, and
the caller decides whom to serve; this module moves the bytes and keeps the time.

The dialer ends HELLO's stream when it goes on, or refuses on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from peerpost.crypto import keys as crypto_keys
from peerpost.errors import ProtocolError, RemoteError, StorageError
from peerpost.net.interface import Connection, Stream, StreamResetError
from peerpost.node.machine_trace import traced
from peerpost.node.session.keys import Keys
from peerpost.node.session.session import (
    BULK_PROTOCOL,
    HELLO_PROTOCOL,
    LANE_PROTOCOLS,
    URGENT_PROTOCOL,
)
from peerpost.node.session.together import unless_fails
from peerpost.protocol.hello import (
    Hello,
    HelloDeniedError,
    HelloPolicy,
    HelloResult,
    LocalParty,
    Role,
    Watermark,
)
from peerpost.wire import inner as wire
from peerpost.wire import limits
from peerpost.wire.frame import FrameReader, frame
from peerpost.wire.hello import Refusal, RefusalCode

__all__ = ["HELLO_TIMEOUT_S", "Decide", "Greeting", "greet", "open_lanes"]

HELLO_TIMEOUT_S = 5.0
"""For both flights. A stranger holds a place of the antechamber no longer than this (docs/design.md, "Strangers")."""
LANES_TIMEOUT_S = 10.0
"""How long the two lane streams may take after HELLO."""


Decide: TypeAlias = Callable[[HelloResult], Awaitable[Sequence[Watermark]]]
"""Decides whether to serve a peer that has proved itself, and stores that; returns how far we have got in what it sent.

Raises HelloDeniedError if we do not serve it, StorageError if nothing can be stored now.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A HELLO that succeeded."""

    result: HelloResult
    keys: Keys
    hello: Hello
    stream: Stream
    """HELLO's stream, on which a dialer may still refuse."""
    frames: FrameReader


async def greet(
    connection: Connection,
    *,
    me: LocalParty,
    my_encryption: crypto_keys.X25519KeyPair,
    policy: HelloPolicy,
    decide: Decide,
) -> Greeting:
    """Run HELLO over a fresh connection, in the role its direction gives.

    The other end is told of success only after `decide` has stored it. Raises ProtocolError (also when HELLO takes
    longer than `HELLO_TIMEOUT_S`), UntrustedError, ConnectionLostError, and what `decide` raises.
    """
    epk = crypto_keys.X25519KeyPair.from_seed(secrets.token_bytes(32))
    role = Role.RESPONDER if connection.inbound else Role.DIALER
    hello = Hello(
        role=role,
        me=me,
        peer_transport_public=crypto_keys.transport_public(connection.peer_id),
        nonce=secrets.token_bytes(32),
        epk=epk,
        policy=policy,
    )
    hello = traced(f"hello-{role.name.lower()}", connection.peer_id, hello)
    frames = FrameReader(limits.MAX_HELLO_BYTES)
    try:
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            stream = await _hello_stream(connection)
            result = await _flights(stream, hello, frames, decide)
    except TimeoutError:
        raise ProtocolError("the greeting was not finished in time") from None
    if connection.inbound:
        await stream.close_write()
    else:
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
    return Greeting(result=result, keys=keys, hello=hello, stream=stream, frames=frames)


async def _hello_stream(connection: Connection) -> Stream:
    if not connection.inbound:
        return await connection.open_stream(HELLO_PROTOCOL, timeout_s=HELLO_TIMEOUT_S)
    stream = await connection.accept_stream()
    if stream.protocol != HELLO_PROTOCOL:
        raise ProtocolError("the first stream is not the greeting")
    return stream


async def _flights(
    stream: Stream, hello: Hello, frames: FrameReader, decide: Decide
) -> HelloResult:
    opening = hello.start()
    if opening:
        await stream.write(frame(opening))
    while hello.done is None:
        data = await stream.read(limits.MAX_HELLO_BYTES)
        if not data:
            raise ProtocolError("the peer ended the greeting early")
        for payload in frames.feed(data):
            await _answer(stream, hello, bytes(payload))
            if hello.asked is not None:
                have = await _decided(stream, hello, decide, hello.asked)
                await stream.write(frame(hello.answer(have)))
            elif hello.done is not None:
                await _decided(stream, hello, decide, hello.done)
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


async def _decided(
    stream: Stream, hello: Hello, decide: Decide, result: HelloResult
) -> Sequence[Watermark]:
    """Return what `decide` returns; if it refuses, tell the peer."""
    try:
        return await decide(result)
    except HelloDeniedError as error:
        refusal = error.refusal
        await stream.write(frame(hello.refuse(refusal)))
        await stream.close()
        raise
    except StorageError:
        refusal = Refusal(code=RefusalCode.NOT_NOW, reason="it cannot be kept now, try again later")
        await stream.write(frame(hello.refuse(refusal)))
        await stream.close()
        raise


async def _heed(greeting: Greeting) -> None:
    """Read HELLO's stream to its end. Raises HelloRefusedError if the dialer does not serve us after all."""
    with contextlib.suppress(StreamResetError):
        while data := await greeting.stream.read(limits.MAX_HELLO_BYTES):
            for payload in greeting.frames.feed(data):
                greeting.hello.receive(bytes(payload))


async def open_lanes(connection: Connection, greeting: Greeting) -> dict[wire.Lane, Stream]:
    """Open the lane streams as the dialer, or accept them as the responder.

    Raises ProtocolError, HelloRefusedError, ConnectionLostError.
    """
    try:
        async with asyncio.timeout(LANES_TIMEOUT_S):
            if not connection.inbound:
                return {
                    lane: await connection.open_stream(protocol, timeout_s=LANES_TIMEOUT_S)
                    for lane, protocol in LANE_PROTOCOLS.items()
                }
            streams = await unless_fails(_heed(greeting), _accept_lanes(connection))
    except TimeoutError:
        raise ProtocolError("the peer did not open its lanes in time") from None
    await greeting.stream.close()
    return streams


async def _accept_lanes(connection: Connection) -> dict[wire.Lane, Stream]:
    streams: dict[str, Stream] = {}
    while len(streams) < len(LANE_PROTOCOLS):
        stream = await connection.accept_stream()
        if stream.protocol in streams or stream.protocol == HELLO_PROTOCOL:
            # A second stream for a lane is refused without ending the connection: the dialer has what it needs.
            stream.reset()
            continue
        streams[stream.protocol] = stream
    return {
        wire.Lane.URGENT: streams[URGENT_PROTOCOL],
        wire.Lane.BULK: streams[BULK_PROTOCOL],
    }

"""From a TCP socket to a secured one: multistream-select, Noise XX by py-libp2p and nothing else, `/yamux/1.0.0`.

py-libp2p's own host is not used, because it cannot be made safe (a plaintext fallback that allows impersonation, five
bytes that stop the node, slots that are never released, auto-dialling). Its Noise transport is used, with a gate inside
and a byte budget. After the handshake, only the two keys and the socket are kept.
"""

from __future__ import annotations

import importlib.metadata
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import trio
from libp2p.abc import IRawConnection, ISecureConn
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.crypto.keys import KeyPair
from libp2p.crypto.x25519 import create_new_key_pair
from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.security.exceptions import HandshakeFailure
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as NoiseTransport

from peerpost.errors import ProtocolError, UntrustedError
from peerpost.net.mux import multistream

__all__ = ["Secured", "Upgrade"]

VERSION = "0.8.1"
"""The release whose private names are used here."""
YAMUX = "/yamux/1.0.0"
HANDSHAKE_BYTES = 8 * 1024
"""More than any honest handshake takes: about 1 KiB."""

# The library logs warnings and tracebacks about what peers do wrong; the node itself logs one line about it.
logging.getLogger("libp2p").addHandler(logging.NullHandler())
logging.getLogger("libp2p").propagate = False


@dataclass(frozen=True, slots=True)
class Secured:
    """A socket whose peer is authenticated, with its keys and the bytes read so far."""

    sock: socket.socket
    peer_id: str
    send_key: bytes
    send_counter: int
    receive_key: bytes
    receive_counter: int
    early: bytes
    """Plaintext that came in the same record as the end of the negotiation."""

    def close(self) -> None:
        """Close the socket: nobody wants it any more."""
        self.sock.close()


class _Bounded(TrioTCPStream):
    """A socket that gives a handshake at most `HANDSHAKE_BYTES`, whatever length the peer claims."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._left = HANDSHAKE_BYTES

    async def read(self, n: int | None = None) -> bytes:
        """Read n bytes. Raises ProtocolError beyond the budget, or at the end.

        The library's readers ask for exactly what they need, but give up when it arrives in more than a hundred pieces.
        """
        if n is None or n > self._left:
            raise ProtocolError("the handshake is too long")
        data = bytearray()
        while len(data) < n:
            piece = await super().read(n - len(data))
            if not piece:
                raise ProtocolError("the connection ended within the handshake")
            data += piece
        self._left -= n
        return bytes(data)


class _GatedNoise(NoiseTransport):
    """Noise that turns unwanted peers away before there is a muxer or a stream."""

    def __init__(self, keys: KeyPair, wanted: Callable[[str], bool]) -> None:
        # Noise gets a static key of its own, which the identity key signs: that is how libp2p specifies it.
        super().__init__(keys, noise_privkey=create_new_key_pair().private_key)
        self._wanted = wanted

    async def secure_inbound(self, conn: IRawConnection) -> ISecureConn:
        """Authenticate whoever dialled. Raises HandshakeFailure if the gate refuses it."""
        secure = await super().secure_inbound(conn)
        if not self._wanted(str(secure.get_remote_peer())):
            raise HandshakeFailure("the gate refuses the peer")
        return secure


class Upgrade:
    """Secures sockets for one transport key.

    `seed` is its 32-byte Ed25519 seed; `wanted` says of an inbound peer id whether to go on.
    """

    def __init__(self, seed: bytes, wanted: Callable[[str], bool]) -> None:
        installed = importlib.metadata.version("libp2p")
        if installed != VERSION:
            raise RuntimeError(f"libp2p {installed} is installed; this is written for {VERSION}")
        private = Ed25519PrivateKey.from_bytes(seed)
        keys = KeyPair(private, private.get_public_key())
        self.peer_id = str(ID.from_pubkey(keys.public_key))
        self._noise = _GatedNoise(keys, wanted)

    async def inbound(self, stream: trio.SocketStream) -> Secured:
        """Secure a socket that was accepted."""
        return await self._run(stream, None)

    async def outbound(self, stream: trio.SocketStream, peer_id: str) -> Secured:
        """Secure a socket that was dialled to reach peer_id."""
        try:
            expected = ID.from_string(peer_id)
        except ValueError:
            raise UntrustedError(f"{peer_id} is no peer id") from None
        return await self._run(stream, expected)

    async def _run(self, stream: trio.SocketStream, expected: ID | None) -> Secured:
        """Secure a socket. Raises ProtocolError or UntrustedError, and nothing else except for cancellation."""
        try:
            bounded = _Bounded(stream)
            raw = RawConnection(bounded, expected is not None)
            if expected is None:
                await multistream.answer(bounded.read, bounded.write, [NOISE])
                secure = await self._noise.secure_inbound(raw)
                await multistream.answer(secure.read, secure.write, [YAMUX])
            else:
                await multistream.propose(bounded.read, bounded.write, NOISE)
                secure = await self._noise.secure_outbound(raw, expected)
                await multistream.propose(secure.read, secure.write, YAMUX)
            return _take_over(stream, secure)
        except ProtocolError:
            raise
        except Exception as error:
            raise _explain(error) from error


def _explain(error: Exception) -> ProtocolError | UntrustedError:
    """Put the library's error, however it is wrapped, in one line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ProtocolError):
        return cause
    if type(cause).__name__ == "PeerIDMismatchesPubkey":
        return UntrustedError("another peer answers")
    if isinstance(cause, HandshakeFailure) and str(cause):
        return UntrustedError(str(cause))
    return ProtocolError(f"the handshake failed: {type(cause).__name__}")


def _take_over(stream: trio.SocketStream, secure: ISecureConn) -> Secured:
    """Detach the socket and its keys from trio and from the library."""
    session = cast("Any", secure)
    noise = session.conn.noise_state.noise_protocol
    send, receive = noise.cipher_state_encrypt, noise.cipher_state_decrypt
    family = stream.socket.family
    sock = socket.socket(family, socket.SOCK_STREAM, fileno=stream.socket.detach())
    sock.setblocking(False)
    secured = Secured(
        sock=sock,
        peer_id=str(secure.get_remote_peer()),
        send_key=bytes(send.k),
        send_counter=int(send.n),
        receive_key=bytes(receive.k),
        receive_counter=int(receive.n),
        early=session._drain(None),  # noqa: SLF001 - all that the session has read ahead
    )
    # The session refers to itself, so only the garbage collector would free it, and the keys in it.
    session.conn.noise_state.__dict__.clear()
    return secured

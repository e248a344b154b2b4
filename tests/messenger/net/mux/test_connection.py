"""A secured socket on its way to the loop's own transport."""

from __future__ import annotations

import asyncio
import socket

import pytest

from peerpost.net.interface import Admission, ConnectionLostError, Priority
from peerpost.net.mux.yamux import HEADER
from peerpost.net.tcp.transport import LibP2PTransport
from peerpost.net.tcp.upgrade import Secured
from tests.support.net_rig import LOOPBACK, PROTOCOLS, everybody, on_loop, seed


def secured(sock: socket.socket) -> Secured:
    return Secured(
        sock=sock,
        peer_id="bob",
        send_key=bytes(32),
        send_counter=0,
        receive_key=bytes(32),
        receive_counter=0,
        early=b"",
    )


def joined() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a TCP connection; neither blocks."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


@pytest.mark.parametrize("turns", range(1, 6))
@on_loop
async def test_who_gives_up_while_the_loop_takes_the_socket_leaves_nothing_behind(
    turns: int,
) -> None:
    alice = LibP2PTransport(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    near, far = joined()
    adopting = asyncio.ensure_future(alice._adopt(secured(near), Admission.KNOWN, inbound=False))
    for _ in range(turns):
        await asyncio.sleep(0)
    held = list(alice._connections)
    adopting.cancel()
    [outcome] = await asyncio.gather(adopting, return_exceptions=True)
    if isinstance(outcome, BaseException):
        assert all(connection._lost is not None for connection in held)
    else:
        outcome.abort()
        await outcome.wait_closed()
    await asyncio.sleep(
        0.05
    )  # Whatever was to come in the next turns: `on_loop` hears of errors in them.
    assert not alice._connections
    far.close()


@on_loop
async def test_what_is_urgent_leaves_in_the_turn_of_the_loop_that_wrote_it() -> None:
    alice = LibP2PTransport(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    near, far = joined()
    connection = await alice._adopt(secured(near), Admission.KNOWN, inbound=False)
    urgent, bulk = (
        connection._add(connection._yamux.open(priority, 0.0))
        for priority in (Priority.URGENT, Priority.BULK)
    )
    connection._flush_soon()
    await asyncio.sleep(0.05)
    far.recv(1 << 16)  # The opening of the streams, and the first ping.
    try:
        bulk.put(bytes(1000))
        urgent.put(b"first")
        assert len(opened(far)) == HEADER.size + len(b"first")
        urgent.put(b"second")
        urgent.put(b"third")
        with pytest.raises(BlockingIOError):
            far.recv(1)
        await asyncio.sleep(0.05)
        # All else leaves at the end of the turn, in one record: a frame of each stream, and a mark.
        said = len(b"second") + len(b"third") + 1000
        assert len(opened(far)) == 3 * HEADER.size + said
    finally:
        connection.abort()
        await connection.wait_closed()
        far.close()


@on_loop
async def test_what_comes_is_taken_in_the_turn_of_the_loop_that_brought_it() -> None:
    alice = LibP2PTransport(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    near, far = joined()
    connection = await alice._adopt(secured(near), Admission.KNOWN, inbound=False)
    stream = connection._add(connection._yamux.open(Priority.URGENT, 0.0))
    taken: list[bytes] = []

    def take(pieces: list[memoryview]) -> str | None:
        taken.extend(map(bytes, pieces))
        return "enough" if taken[-1] == b"last" else None

    try:
        receiving = asyncio.ensure_future(stream.receive(take))
        await asyncio.sleep(0)
        for said in (b"first", b"last", b"for the next"):
            stream.feed(memoryview(said))
            stream.deliver()
        assert taken == [b"first", b"last"]
        assert await receiving == "enough"
        assert await stream.read() == b"for the next"
        receiving = asyncio.ensure_future(stream.receive(take))
        await asyncio.sleep(0)
        connection.abort()
        with pytest.raises(ConnectionLostError):
            await receiving
    finally:
        connection.abort()
        await connection.wait_closed()
        far.close()


def opened(far: socket.socket) -> bytes:
    """Return the plaintext of the one record that has come."""
    wire = far.recv(1 << 16)
    size = int.from_bytes(wire[:2], "big")
    assert len(wire) == 2 + size
    return wire[2:-16]

"""A secured socket on its way to the loop's own transport."""

from __future__ import annotations

import asyncio
import socket

import pytest

from peerpost.net.interface import Admission
from peerpost.net.libp2p import LibP2PTransport
from peerpost.net.upgrade import Secured
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


@pytest.mark.parametrize("turns", range(1, 6))
@on_loop
async def test_who_gives_up_while_the_loop_takes_the_socket_leaves_nothing_behind(
    turns: int,
) -> None:
    alice = LibP2PTransport(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    near.setblocking(False)
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

"""A process that is told to leave while trio runs in it as a guest: it sends what it has taken, and says goodbye."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from peerpost.net.interface import ConnectionLostError
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.link import Link
from tests.support.net_peer import GREETING_BYTES, process
from tests.support.net_rig import (
    HELLO,
    LOOPBACK,
    PROTOCOLS,
    everybody,
    on_loop,
    pattern,
    read_exactly,
    running,
    seed,
)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@on_loop
async def test_what_was_taken_is_sent_and_the_end_is_told(number: signal.Signals) -> None:
    alice = LibP2PTransport(seed("alice"), [LOOPBACK], everybody, PROTOCOLS)
    async with (
        process("bob") as (bob, peer_id, [address]),
        Link(address).running() as link,
        running(alice),
    ):
        connection = await alice.dial(peer_id, [link.address])
        link.bytes_per_s, link.pieces_bytes = 400_000, [4000, 4000]
        stream = await connection.open_stream(HELLO)
        first = await read_exactly(stream, 1)
        bob.send_signal(number)
        rest = await read_exactly(stream, GREETING_BYTES - 1)
        assert first + rest == pattern(GREETING_BYTES)
        with pytest.raises(ConnectionLostError, match="the peer closed"):
            await stream.read()
        await connection.wait_closed()
        assert await asyncio.wait_for(bob.wait(), 10) == 0

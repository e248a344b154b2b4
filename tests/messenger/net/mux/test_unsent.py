"""What the kernel keeps and does not send: asked for before bulk is added, and looked at again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from peerpost.net import sockets
from peerpost.net.mux.unsent import SEGMENT_BYTES, Unsent

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(sys.platform != "linux", reason="the system does not say what is unsent"),
]

KEPT_BYTES = 4096


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    """Connect a transport to a socket that nobody reads yet."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        # Set before the window is told, so that a little fills it.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, *server.getsockname())
        far, _ = server.accept()
    with far:
        far.setblocking(False)
        yield transport, far
        transport.abort()
        await asyncio.sleep(0)


def fill(transport: asyncio.Transport) -> None:
    while not transport.get_write_buffer_size():
        transport.write(bytes(1024))


async def test_linux_keeps_more_than_it_was_told_and_says_so() -> None:
    async with connected() as (transport, _far):
        sockets.keep_unsent(transport, KEPT_BYTES)
        assert sockets.unsent_bytes(transport) == 0
        fill(transport)
        assert sockets.unsent_bytes(transport) > KEPT_BYTES


async def test_nothing_is_added_to_what_does_not_leave_until_it_does() -> None:
    async with connected() as (transport, far):
        again = asyncio.Event()
        unsent = Unsent(transport, again.set)
        unsent.keep(KEPT_BYTES)
        assert unsent.has_room()
        written = 0
        while unsent.has_room():
            transport.write(bytes(1024))
            written += 1024
        assert sockets.unsent_bytes(transport) <= KEPT_BYTES
        async with asyncio.timeout(10):
            await again.wait()
            assert not unsent.has_room()
            loop, left = asyncio.get_running_loop(), written
            while left:
                left -= len(await loop.sock_recv(far, left))
            while not unsent.has_room():
                again.clear()
                await again.wait()


async def test_where_a_segment_may_wait_it_is_not_asked() -> None:
    async with connected() as (transport, _far):
        unsent = Unsent(transport, lambda: None)
        unsent.keep(SEGMENT_BYTES)
        fill(transport)
        assert sockets.unsent_bytes(transport) > 0
        assert unsent.has_room()


async def test_a_socket_that_is_gone_has_room() -> None:
    async with connected() as (transport, _far):
        unsent = Unsent(transport, lambda: None)
        unsent.keep(KEPT_BYTES)
        transport.abort()
        await asyncio.sleep(0.01)
        assert unsent.has_room()
